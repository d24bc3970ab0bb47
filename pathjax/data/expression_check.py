"""Whether expression is on the scale that it says, and has its genes' names.

Values are compared with the scale in `uns["pathjax"]["x"]`: their signs, whether they
are whole, and what a sample's linear values sum to. Changes nothing, reads no file.
"""

import re
from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse
from jaxtyping import Float

from pathjax.data.expression import UNIT
from pathjax.data.normalisation import COUNTS, LOG_COUNTS, SHARED_UNIT

LOOKED_AT = 256  # samples, spread evenly
WITHIN = 0.03  # of a sum that a scale fixes
INVERSES: dict[str, Callable] = {
    "log1p": np.expm1,
    "log2(x+1)": lambda x: np.exp2(x) - 1,
    "log10(x+1)": lambda x: 10**x - 1,
}
TOTALS = {"counts per 10,000": 1e4, "TPM or counts per million": 1e6}
# Scale -> logarithm, and the most that a sample's linear values can sum to.
KNOWN = {
    UNIT: ("log1p", 1e4),
    SHARED_UNIT: ("log1p", np.inf),
    LOG_COUNTS: ("log1p", np.inf),
    "log2(TPM+1)": ("log2(x+1)", 1e6),
    "log2(norm_count+1)": ("log2(x+1)", np.inf),
}

# Scales of which X is the counts of a sample times a factor, but for the logarithm.
OF_COUNTS = (UNIT, SHARED_UNIT, LOG_COUNTS, COUNTS)

_MONTH = "jan|feb|mar|mrz|mär|apr|may|mai|jun|jul|aug|sept?|oct|okt|nov|dec|dez"
# What spreadsheets make of MARCH1, SEPT9, DEC1 and 2310009E13Rik.
_SPREADSHEET = re.compile(
    rf"\d{{1,2}}[-./ ]+({_MONTH})([-./ ]+\d{{2,4}})?|({_MONTH})[-./ ]+\d{{1,4}}"
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ][\d:.]+)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d([.,]\d+)?E\+\d+",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[345]\d{4}(\.0)?")  # days since 1900, of 1982 to 2064


def plausibility_problems(expression) -> list[str]:
    """Why an AnnData of finite values cannot be what it says; empty when it can be."""
    if not expression.n_obs or not expression.n_vars:
        return []
    problems = []
    rows = np.unique(np.linspace(0, expression.n_obs - 1, LOOKED_AT).astype(int))
    scale = str(expression.uns.get("pathjax", {}).get("x", UNIT))
    fault = scale_fault(_dense(expression.X[rows]), scale)
    if fault:
        problems.append(
            f"expression: expected {scale} in X, but {fault}. Put log-normalised values "
            'into X and counts into layers["counts"], or name the scale in '
            'uns["pathjax"]["x"]'
        )
    if "counts" in expression.layers:
        counts = _dense(expression.layers["counts"][rows])
        if counts.min() < 0 or not _whole(counts):
            problems.append(
                'expression: expected raw counts in layers["counts"], got values that '
                "are negative or not whole"
            )
        elif not fault and scale in OF_COUNTS:
            problems += _unlike_counts(
                _dense(expression.X[rows]), counts, scale, expression.obs_names[rows]
            )
    dates = spreadsheet_names(expression.var_names)
    if dates:
        problems.append(
            f"{len(dates)} gene names were changed into dates or numbers by a "
            f"spreadsheet, first {dates[:3]}: restore them (1-Mar was MARCH1 or MARC1) "
            "or drop these genes"
        )
    return problems


def scale_fault(values: Float[np.ndarray, "n G"], scale: str) -> str | None:
    """Why finite `values` cannot be on `scale`; None if they can, or it is not known.

    Genes may have been left out: sums over a sample have an upper bound only.
    """
    low = float(values.min())
    if scale == COUNTS:
        if low < 0 or not _whole(values):
            return f"values are negative or not whole (smallest {low:.4g})"
        return None
    if scale.startswith("z-scores") or "less the gene's mean" in scale:
        return None if low < 0 else f"no value is negative (smallest {low:.4g})"
    if scale not in KNOWN:
        return None
    if low < 0:
        return f"there are negative values, the smallest is {low:.4g}"
    if _whole(values) and values.max() >= 2:
        return f"all values are whole, up to {values.max():,.0f}, as raw counts are"
    if scale == LOG_COUNTS and not _whole_after(np.expm1(values.astype(np.float64))):
        return "undoing log1p gives values that are not whole"
    log, total = KNOWN[scale]
    with np.errstate(over="ignore"):
        sums = INVERSES[log](values.astype(np.float64)).sum(axis=1)
    real = apparent_scale(values)
    if sums.max() > total * (1 + WITHIN) or not np.isfinite(sums).all():
        what = f"undoing {log}, a sample sums to {sums.max():,.0f}, not {total:,.0f}"
        return f"{what}; they look like {real}" if real else what
    if real and real.count("log") > 1:
        return f"a logarithm was taken twice: they look like {real}"
    return None


def apparent_scale(values: Float[np.ndarray, "n G"]) -> str | None:
    """The scale on which samples sum to 10,000 or a million; None if there is none.

    Found only where all genes are there: 90 % of the samples have to be within 3 %.
    """
    values = values.astype(np.float64)
    ways: dict[str, tuple[Callable, ...]] = {"": ()}
    for log, inverse in INVERSES.items():
        ways[log] = (inverse,)
        ways[f"{log} of {log}"] = (inverse, inverse)
    for name, inverses in ways.items():
        linear = values
        with np.errstate(over="ignore", invalid="ignore"):
            for inverse in inverses:
                linear = inverse(linear)
            sums = linear.sum(axis=1)
        for what, total in TOTALS.items():
            # The sum of logarithms of many genes may be near 10,000 too.
            if not name and values.max() < np.log1p(total):
                continue
            if (np.abs(sums / total - 1) < WITHIN).mean() > 0.9:
                return f"{name} of {what}" if name else what
    return None


def spreadsheet_names(names: Iterable[str]) -> list[str]:
    """Names that a spreadsheet made of gene names: dates, serial days, powers of ten."""
    names = [str(name).strip() for name in names]
    numeric = sum(name.isdecimal() for name in names) > len(names) / 2  # Entrez ids
    return [
        name
        for name in names
        if _SPREADSHEET.fullmatch(name) or (not numeric and _NUMBER.fullmatch(name))
    ]


def _unlike_counts(x, counts, scale: str, names) -> list[str]:
    """A problem if X is not the counts of the same sample up to one factor."""
    linear = x.astype(np.float64) if scale == COUNTS else np.expm1(x.astype(np.float64))
    both = (linear > 0) & (counts > 0)
    ratio = np.where(both, linear / np.where(both, counts, 1), np.nan)
    some = both.any(axis=1)
    low, high = (
        np.where(some, f(ratio, axis=1, where=both, initial=start), 1)
        for f, start in ((np.min, np.inf), (np.max, 0.0))
    )
    if scale in (COUNTS, LOG_COUNTS):
        low, high = np.minimum(low, 1), np.maximum(high, 1)
    wrong = (high > low * (1 + WITHIN)) | ((linear > 1e-6) != (counts > 0)).any(axis=1)
    if not wrong.any():
        return []
    problem = (
        f'expression: X is not {scale} of layers["counts"] in {int(wrong.sum())} of '
        f"{len(wrong)} samples looked at, first {names[int(wrong.argmax())]!r}: the two "
        "are of different samples or genes, or X was changed; make it again from the "
        'counts, or name the scale in uns["pathjax"]["x"]'
    )
    return [problem]


def _whole_after(values: np.ndarray) -> bool:
    """Whole but for the rounding of float32 logarithms."""
    error = np.abs(values - np.rint(values))
    return bool((error <= 1e-5 * np.maximum(values, 1)).all())


def _whole(values: np.ndarray) -> bool:
    return bool((np.abs(values - np.rint(values)) < 1e-6).all())


def _dense(values) -> np.ndarray:
    return values.toarray() if scipy.sparse.issparse(values) else np.asarray(values)
