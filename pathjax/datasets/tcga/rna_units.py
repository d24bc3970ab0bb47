"""On which scale the values of a matrix are: found from evidence, never assumed.

    values as read, file name -> recognise -> Units -> convert -> X (and counts)

Evidence, in this order: negative values and the smallest of them; whether values (or
2^value - 1) are whole; whether samples sum to a million, which is what TPM means; then
the file's name, but only among the scales that the values allow. Anything else is
refused with what was seen, and the user says `--units`. A scale that a user names is
checked against the values too.

`X` is log2(TPM + 1) where TPM can be had exactly, for FPKM is TPM up to a factor per
sample; log1p of counts per 10,000 where there are counts only; log2(norm_count + 1) for
legacy RSEM. z-scores and mean-normalised values are handed on as they are.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int32

from pathjax.datasets.tcga.genes import Genes
from pathjax.datasets.tcga.tables import TcgaError

TOIL_PSEUDOCOUNT = 0.001
# Xena prints four decimals: log2(0.001) = -9.96578 stands there as -9.9658.
TOIL_ZERO = float(np.log2(TOIL_PSEUDOCOUNT))
PRINTED = 1e-3
# Nothing measured exceeds 2^30; linear scales always do, within one sample or a few.
LARGEST_LOG2 = 30.0
MILLION, MILLION_WITHIN = 1e6, 0.03
PER = 10_000.0  # counts per, as in the other sources (docs/study.md)
LOOKED_AT = 64  # samples, spread evenly
FEWEST_FOR_SPREAD = 20  # samples, for means and deviations per gene to mean anything
BLOCK = 64  # samples converted at a time


@dataclasses.dataclass(frozen=True)
class Units:
    """One scale.

    Attributes:
      title: as people write it.
      x: what `X` becomes.
      linear: values to linear ones, of which 0 is none; None where there is no way.
      kind: "tpm", "fpkm", "count", "norm_count"; "" where `linear` is None.
    """

    title: str
    x: str
    kind: str = ""
    linear: Callable[[np.ndarray], np.ndarray] | None = None


def _log2_plus(pseudocount: float) -> Callable[[np.ndarray], np.ndarray]:
    # Clipped, for a printed zero is off by the rounding: 2^-9.9658 - 0.001 = -1e-8.
    return lambda values: np.maximum(np.exp2(values) - pseudocount, 0.0)


def _identity(values: np.ndarray) -> np.ndarray:
    return values


def _log2_count(values: np.ndarray) -> np.ndarray:
    return np.rint(np.exp2(values) - 1.0)


TPM_X = "log2(TPM+1)"
COUNT_X = "log1p(counts per 10,000)"
UNITS = {
    "tpm": Units("TPM", TPM_X, "tpm", _identity),
    "fpkm": Units("FPKM", TPM_X, "fpkm", _identity),
    "count": Units("counts", COUNT_X, "count", _identity),
    "log2-tpm-1": Units("log2(TPM+1)", TPM_X, "tpm", _log2_plus(1.0)),
    "log2-tpm-0.001": Units(
        "log2(TPM+0.001)", TPM_X, "tpm", _log2_plus(TOIL_PSEUDOCOUNT)
    ),
    "log2-fpkm-1": Units("log2(FPKM+1)", TPM_X, "fpkm", _log2_plus(1.0)),
    "log2-fpkm-0.001": Units(
        "log2(FPKM+0.001)", TPM_X, "fpkm", _log2_plus(TOIL_PSEUDOCOUNT)
    ),
    "log2-count-1": Units("log2(count+1)", COUNT_X, "count", _log2_count),
    "log2-norm-count-1": Units(
        "log2(norm_count+1)", "log2(norm_count+1)", "norm_count", _log2_plus(1.0)
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
      values: finite, as read; all genes of the file, because TPM sum over all.
      name: the file's name.

    Raises:
      TcgaError: the evidence allows several scales or none.
    """
    some = np.unique(np.linspace(0, len(values) - 1, LOOKED_AT).astype(int))
    seen = values[some].astype(np.float64)
    low, high = float(seen.min()), float(seen.max())
    words = name.lower()
    evidence = [f"values from {low:.5g} to {high:.5g} in {len(some)} samples"]
    if low < 0:
        unit = _negative(values, seen, low, words, evidence)
    else:
        unit = _positive(seen, high, words, evidence)
    if unit is None:
        raise TcgaError(
            f"{name}: the units cannot be told ({'; '.join(evidence)}): give --units, "
            f"one of {', '.join(UNITS)}"
        )
    return unit, evidence


def _negative(
    values: np.ndarray, seen: np.ndarray, low: float, name: str, evidence: list[str]
) -> str | None:
    if abs(low - TOIL_ZERO) < PRINTED:
        evidence.append(f"the smallest is log2(0.001), {_share(seen, low)} of values")
        if _sums_to_a_million(np.exp2(seen) - TOIL_PSEUDOCOUNT, "2^x-0.001", evidence):
            return "log2-tpm-0.001"
        return _named(name, evidence, tpm="log2-tpm-0.001", fpkm="log2-fpkm-0.001")
    if named := _named(name, evidence, pancan="mean-normalised"):
        return named
    if len(values) < FEWEST_FOR_SPREAD:
        evidence.append(f"{len(values)} samples are too few to tell z-scores")
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


def _positive(
    seen: np.ndarray, high: float, name: str, evidence: list[str]
) -> str | None:
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
    legacy = {"hiseqv2": "log2-norm-count-1", "norm_count": "log2-norm-count-1"}
    kinds = {kind: f"{prefix}{kind}{suffix}" for kind in ("fpkm", "tpm")}
    return _named(name, evidence, **(legacy if logged else {}), **kinds)


def _share(seen: np.ndarray, low: float) -> str:
    return f"{float((np.abs(seen - low) < PRINTED).mean()):.0%}"


def _sums_to_a_million(linear: np.ndarray, what: str, evidence: list[str]) -> bool:
    sums = linear.sum(axis=1)
    evidence.append(f"a sample's {what} sums to {np.median(sums):,.0f} (median)")
    return bool((np.abs(sums / MILLION - 1) < MILLION_WITHIN).mean() > 0.9)


def _named(name: str, evidence: list[str], **units: str) -> str | None:
    """The scale that the file's name speaks of, when it speaks of one only."""
    found = {unit for word, unit in units.items() if word in name}
    if len(found) != 1:
        return None
    evidence.append("the file's name says so")
    return found.pop()


def contradiction(unit: str, values: Float32[np.ndarray, "n G"]) -> str | None:
    """Why these values cannot be on that scale; None where they can."""
    low, high = float(values.min()), float(values.max())
    kind = UNITS[unit].kind
    if not kind:
        return None if low < 0 else f"no value is negative (smallest {low:.5g})"
    least = TOIL_ZERO - PRINTED if unit.endswith("0.001") else 0.0
    if low < least:
        return f"the smallest value is {low:.5g}, expected {least:.5g} or more"
    if unit.startswith("log2-") and high > LARGEST_LOG2:
        return f"the largest value is {high:.5g}, too large for a log2"
    if unit == "count" and (values != np.rint(values)).any():
        return "there are values that are not whole"
    return None


def convert(
    unit: str, values: Float32[np.ndarray, "n rows"], genes: Genes
) -> tuple[Float32[np.ndarray, "n G"], Int32[np.ndarray, "n G"] | None]:
    """`X` and, where the values are counts, the counts.

    Sums over a sample are over all rows of the file, also of genes that are dropped.
    Arithmetic is float64. Counts from float32 logarithms are whole and exact up to about
    250,000; above they may be off by two in a million.

    Raises:
      TcgaError: genes occur twice on a scale whose values cannot be added, or a sample
        has nothing but zeros where a sum is divided by.
    """
    units = UNITS[unit]
    if units.linear is None and genes.more:
        twice = sorted({genes.var.index[gene] for gene, _ in genes.more})
        raise TcgaError(
            f"{len(twice)} genes occur more than once, first {', '.join(twice[:5])}: "
            f"{units.title} cannot be added; leave one row of each"
        )
    x = np.empty((len(values), len(genes.var)), np.float32)
    counts = np.empty(x.shape, np.int32) if units.kind == "count" else None
    for begin in range(0, len(values), BLOCK):
        part = slice(begin, begin + BLOCK)
        if units.linear is None:
            x[part] = values[part][:, genes.first]
            continue
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
