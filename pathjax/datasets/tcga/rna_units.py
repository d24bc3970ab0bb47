"""The scale of a matrix of expression: determined from evidence, never assumed.

    values as read, file name -> recognise -> units -> convert -> X (and counts)

Evidence, in this order: negative values and the smallest of them; whether values (or
2^value - 1) are whole; whether samples sum to a million, which is what TPM means; then
the file's name, among the scales that the values allow. Otherwise the user has to say
`--units`, which is checked against the values too.

`X` is log2(TPM + 1) where TPM can be had exactly (FPKM is TPM up to a factor per
sample), log1p of counts per 10,000 for counts, log2(norm_count + 1) for legacy RSEM.
z-scores and mean-normalised values are passed on as they are.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int32

from pathjax.data.expression_check import apparent_scale
from pathjax.datasets.tcga.genes import Genes
from pathjax.datasets.tcga.tables import TcgaError

TOIL_PSEUDOCOUNT = 0.001
# Xena prints four decimals: log2(0.001) = -9.96578 is -9.9658 there.
TOIL_ZERO = float(np.log2(TOIL_PSEUDOCOUNT))
PRINTED = 1e-3
# No measured value exceeds 2^30; linear scales always do, within one sample or a few.
LARGEST_LOG2 = 30.0
MILLION, MILLION_WITHIN = 1e6, 0.03
PER = 10_000.0  # counts per, as in the other sources (docs/study.md)
LOOKED_AT = 64  # samples, spread evenly
FEWEST_FOR_SPREAD = 20  # samples, for means and deviations per gene to mean anything
BLOCK = 64  # samples converted at a time
TPM_X, COUNT_X = "log2(TPM+1)", "log1p(counts per 10,000)"


@dataclasses.dataclass(frozen=True)
class Units:
    """One scale.

    Attributes:
      title: As people write it.
      x: What `X` becomes.
      kind: "tpm", "fpkm", "count" or "norm_count"; "" without a way to linear values.
      pseudocount: Values are log2(linear + pseudocount); None for linear values.
    """

    title: str
    x: str
    kind: str = ""
    pseudocount: float | None = None

    def linear(self, values: np.ndarray) -> np.ndarray:
        """Linear values, 0 or more."""
        if self.pseudocount is None:
            return values
        # Clipped, for a printed zero is off by rounding: 2^-9.9658 - 0.001 = -1e-8.
        linear = np.maximum(np.exp2(values) - self.pseudocount, 0.0)
        return np.rint(linear) if self.kind == "count" else linear


UNITS = {
    "tpm": Units("TPM", TPM_X, "tpm"),
    "fpkm": Units("FPKM", TPM_X, "fpkm"),
    "count": Units("counts", COUNT_X, "count"),
    "log2-tpm-1": Units("log2(TPM+1)", TPM_X, "tpm", 1.0),
    "log2-tpm-0.001": Units("log2(TPM+0.001)", TPM_X, "tpm", TOIL_PSEUDOCOUNT),
    "log2-fpkm-1": Units("log2(FPKM+1)", TPM_X, "fpkm", 1.0),
    "log2-fpkm-0.001": Units("log2(FPKM+0.001)", TPM_X, "fpkm", TOIL_PSEUDOCOUNT),
    "log2-count-1": Units("log2(count+1)", COUNT_X, "count", 1.0),
    "log2-norm-count-1": Units(
        "log2(norm_count+1)", "log2(norm_count+1)", "norm_count", 1.0
    ),
    "z-score": Units("z-scores", "z-scores, as read"),
    "mean-normalised": Units(
        "mean-normalised log2(norm_count+1)",
        "log2(norm_count+1) less the gene's mean, as read",
    ),
}


def recognise(values: Float32[np.ndarray, "n G"], name: str) -> tuple[str, list[str]]:
    """The scale of `values`, a key of UNITS, and the evidence in words.

    Args:
      values: Finite, as read; all genes of the file, because TPM sum over all.
      name: The file's name.

    Raises:
      TcgaError: The evidence allows several scales or none.
    """
    some = np.unique(np.linspace(0, len(values) - 1, LOOKED_AT).astype(int))
    seen = values[some].astype(np.float64)
    low, high = float(seen.min()), float(seen.max())
    evidence = [f"values from {low:.5g} to {high:.5g} in {len(some)} samples"]
    if low < 0:
        unit = _negative(values, seen, name.lower(), evidence)
    else:
        unit = _positive(seen, name.lower(), evidence)
        scale = apparent_scale(seen) if unit is None else None
        evidence += [f"they look like {scale}"] if scale else []
    if unit is None:
        raise TcgaError(
            f"{name}: cannot determine the units ({'; '.join(evidence)}): give --units, "
            f"one of {', '.join(UNITS)}"
        )
    return unit, evidence


def _negative(
    values: np.ndarray, seen: np.ndarray, name: str, evidence: list[str]
) -> str | None:
    low = float(seen.min())
    if abs(low - TOIL_ZERO) < PRINTED:
        share = float((np.abs(seen - low) < PRINTED).mean())
        evidence.append(f"the smallest is log2(0.001), {share:.0%} of values")
        if _sums_to_a_million(np.exp2(seen) - TOIL_PSEUDOCOUNT, "2^x-0.001", evidence):
            return "log2-tpm-0.001"
        return _by_name(name, evidence, tpm="log2-tpm-0.001", fpkm="log2-fpkm-0.001")
    if unit := _by_name(name, evidence, pancan="mean-normalised"):
        return unit
    if len(values) < FEWEST_FOR_SPREAD:
        evidence.append(f"{len(values)} samples are too few to recognise z-scores")
        return None
    # Medians, because a few genes have outliers of a thousand deviations.
    mean = np.median(np.abs(values.mean(axis=0, dtype=np.float64)))
    spread = values.std(axis=0, dtype=np.float64)
    near_one = float(((spread > 0.75) & (spread < 1.33)).mean())
    evidence.append(
        f"a gene's mean is {mean:.2g} from 0 (median), its standard deviation is near "
        f"1 for {near_one:.0%} of genes"
    )
    if mean > 0.5:
        return None
    return "z-score" if near_one > 0.5 else "mean-normalised"


def _positive(seen: np.ndarray, name: str, evidence: list[str]) -> str | None:
    high = seen.max()
    if high == 0:
        evidence.append("all values are 0")
        return None
    logged = high <= LARGEST_LOG2
    linear = np.exp2(seen) - 1.0 if logged else seen
    what, prefix, suffix = ("2^x-1", "log2-", "-1") if logged else ("x", "", "")
    # Four printed decimals of a logarithm leave 3.5e-5 of the value open.
    small = linear[(linear > 0.5) & (linear < 500)]
    if small.size and (np.abs(small - np.rint(small)) < 0.05).mean() > 0.999:
        evidence.append(f"{what} is whole")
        return f"{prefix}count{suffix}"
    if _sums_to_a_million(linear, what, evidence):
        return f"{prefix}tpm{suffix}"
    words = {kind: f"{prefix}{kind}{suffix}" for kind in ("fpkm", "tpm")}
    if logged:
        words |= dict.fromkeys(("hiseqv2", "norm_count"), "log2-norm-count-1")
    return _by_name(name, evidence, **words)


def _sums_to_a_million(linear: np.ndarray, what: str, evidence: list[str]) -> bool:
    sums = linear.sum(axis=1)
    evidence.append(f"a sample's {what} sums to {np.median(sums):,.0f} (median)")
    return bool((np.abs(sums / MILLION - 1) < MILLION_WITHIN).mean() > 0.9)


def _by_name(name: str, evidence: list[str], **units: str) -> str | None:
    """The scale that the file's name mentions, if it mentions only one."""
    mentioned = {unit for word, unit in units.items() if word in name}
    if len(mentioned) != 1:
        return None
    evidence.append("the file's name says so")
    return mentioned.pop()


def contradiction(unit: str, values: Float32[np.ndarray, "n G"]) -> str | None:
    """Why these values cannot be on that scale; None if they can."""
    low, high = float(values.min()), float(values.max())
    units = UNITS[unit]
    if not units.kind:
        return None if low < 0 else f"no value is negative (smallest {low:.5g})"
    least = TOIL_ZERO - PRINTED if units.pseudocount == TOIL_PSEUDOCOUNT else 0.0
    if low < least:
        return f"the smallest value is {low:.5g}, expected {least:.5g} or more"
    if units.pseudocount is not None and high > LARGEST_LOG2:
        return f"the largest value is {high:.5g}, too large for a log2"
    if unit == "count" and (values != np.rint(values)).any():
        return "there are values that are not whole"
    some = np.unique(np.linspace(0, len(values) - 1, LOOKED_AT).astype(int))
    scale = None if low < 0 or unit == "count" else apparent_scale(values[some])
    log = "" if units.pseudocount is None else "log2(x+1)"
    if scale is not None and scale.rpartition(" of ")[0] != log:
        return f"they look like {scale}"
    return None


def convert(
    unit: str, values: Float32[np.ndarray, "n rows"], genes: Genes
) -> tuple[Float32[np.ndarray, "n G"], Int32[np.ndarray, "n G"] | None]:
    """`X` and, where the values are counts, the counts.

    Sums over a sample are over all rows of the file, also of genes that are dropped.
    Arithmetic is float64. Counts from float32 logarithms are exact up to about 250,000;
    above they may be off by two in a million.

    Raises:
      TcgaError: Genes occur twice on a scale whose values cannot be added, or a sample
        is all zeros where its sum is divided by.
    """
    units = UNITS[unit]
    if not units.kind:
        if genes.more:
            twice = sorted({genes.var.index[gene] for gene, _ in genes.more})
            raise TcgaError(
                f"{len(twice)} genes occur more than once, first "
                f"{', '.join(twice[:5])}: {units.title} cannot be added; leave one row "
                "of each"
            )
        return np.ascontiguousarray(values[:, genes.first], np.float32), None
    x = np.empty((len(values), len(genes.var)), np.float32)
    counts = np.empty(x.shape, np.int32) if units.kind == "count" else None
    for begin in range(0, len(values), BLOCK):
        part = slice(begin, begin + BLOCK)
        linear = units.linear(values[part].astype(np.float64))
        total = linear.sum(axis=1, keepdims=True)
        kept = genes.gather(linear)
        if units.kind in ("count", "fpkm") and (total == 0).any():
            row = begin + int(np.flatnonzero(total == 0)[0])
            raise TcgaError(
                f"sample number {row + 1} is zero for all genes: leave it out"
            )
        if counts is not None:
            counts[part] = kept
            x[part] = np.log1p(kept * (PER / total))
        elif units.kind == "fpkm":
            x[part] = np.log2(kept * (MILLION / total) + 1.0)
        else:
            x[part] = np.log2(kept + 1.0)
    return x, counts
