"""Confidence intervals of scores and deltas, over patients and fine-tuning seeds.

    terms of every seed -> left_out -> [S, 1 + U] scores without each unit -> interval

The jackknife: each unit (patient) is left out once; the spread of these scores gives
the variance over patients (Efron & Tibshirani 1993, An Introduction to the Bootstrap,
ch. 11), and t's quantile allows for its being estimated from few. Percentile bootstrap
intervals are too short for few patients; tests/interval_coverage.py measures it. Seeds
add a half width of their own, in quadrature: the sum of Satterthwaite's degrees of
freedom covers less than 90 % where two or three seeds differ. NumPy and float64; it
reads no file.
"""

from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float, Int, Num, Shaped

from pathjax.stats.metric import Metric, Terms

# More are left out in groups: U times U weights would be large.
UNITS_AT_MOST = 2000
# With fewer patients the coverage of intervals was not within 93 to 97 %.
ENOUGH_PATIENTS = 20
# The largest difference of two scores of a scale, see `Metric.scale`.
LARGEST_DELTA = {"share": 1.0, "correlation": 2.0, "": np.inf}


def number_units(
    ids: Sequence[Shaped[np.ndarray, "_"]],
) -> tuple[list[Int[np.ndarray, "_"]], int]:
    """Numbers the union of several lists of ids: each list as numbers, and how many."""
    names, flat = np.unique(np.concatenate(ids), return_inverse=True)
    ends = np.cumsum([len(part) for part in ids])[:-1]
    return np.split(flat, ends), len(names)


def groups(units: int) -> Int[np.ndarray, "units"]:
    """The group of each unit: units are left out singly, or in groups if they are many."""
    if units <= UNITS_AT_MOST:
        return np.arange(units)
    return np.random.default_rng(0).permutation(units) % UNITS_AT_MOST


def left_out(terms: Terms, units: int) -> Float[np.ndarray, "1+U"]:
    """The score of all units, then without each of `groups`.

    Args:
      terms: Of one model's rows.
      units: How many units there are; the rows may be of some of them only.
    """
    kept = np.ones((1 + min(units, UNITS_AT_MOST), units), np.int8)
    kept[1 + groups(units), np.arange(units)] = 0
    return terms.evaluate(kept)


def interval(
    parts: Sequence[Float[np.ndarray, "S 1+U"]],
    scale: str = "",
    level: float = 0.95,
    limit: float = np.inf,
) -> tuple[float, float]:
    """Interval of the mean over seeds of a score, of a delta, or of a mean of deltas.

    The half widths of patients and of seeds, each with its own quantile of t, are added
    as squares (Howe 1974, doi:10.1080/01621459.1974.10480189). Several groups of patients
    have one width, with Satterthwaite's degrees of freedom (1946).

    Args:
      parts: `left_out` of each seed, or differences or means of them; an array for each
        group of units that is independent of the others.
      scale: "share" for a score in 0 to 1: Wilson's interval, with as many trials as
        give this variance. "correlation": Fisher's z. Else symmetric.
      level: Of confidence.
      limit: Of a symmetric interval: the part outside -limit to limit is cut off.
    """
    values = parts[0][:, 0]
    value = float(values.mean())
    without = [part[:, 1:] for part in parts]
    variances = [float(_variance(part.mean(axis=0))) for part in without]
    freedom = [max(part.shape[1] - 1, 1) for part in without]
    total = float(np.sum(variances))
    df = total**2 / np.sum(np.square(variances) / freedom) if total else freedom[0]
    t = _t(level, df)
    width = t * total**0.5
    if error := seed_error(parts):
        width = float(np.hypot(width, _t(level, len(values) - 1) * error))
        total += error**2
        t = width / total**0.5
    if scale == "share":
        return _wilson(value, total, without[0].shape[1], t)
    if scale == "correlation" and abs(value) < 1:
        z, width = np.arctanh(value), width / (1 - value**2)
        return float(np.tanh(z - width)), float(np.tanh(z + width))
    return max(value - width, -limit), min(value + width, limit)


def seed_error(parts: Sequence[Float[np.ndarray, "S 1+U"]]) -> float:
    """Standard error over seeds of the mean over seeds; 0 for one seed or no part.

    Args:
      parts: As in `interval`. What seeds differ by on each patient by chance is taken
        off: it is in the variance over patients.
    """
    if not parts or len(parts[0]) == 1:
        return 0.0
    values = parts[0][:, 0]
    seeds = len(values)
    without = [part[:, 1:] for part in parts]
    mixed = sum(float(_variance(part - part.mean(axis=0)).sum()) for part in without)
    variance = (float(values.var(ddof=1)) - mixed / (seeds - 1)) / seeds
    return max(0.0, variance) ** 0.5


def _t(level: float, df: float) -> float:
    return float(scipy.special.stdtrit(df, (1 + level) / 2))


def _variance(scores: Float[np.ndarray, "*rest U"]) -> Float[np.ndarray, "*rest"]:
    """The jackknife's variance of a score, from its values without each unit.

    A score that is not defined without some unit, such as a class's only one, has no
    value there.
    """
    known = np.isfinite(scores)
    count = np.maximum(known.sum(axis=-1), 1)
    mean = np.where(known, scores, 0.0).sum(axis=-1) / count
    squares = np.where(known, (scores - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    return squares * (count - 1) / count


def _wilson(share: float, variance: float, units: int, t: float) -> tuple[float, float]:
    """Wilson 1927, J. Am. Stat. Assoc. 22, with the trials that give this variance.

    Where no unit is wrong, or none right, each unit counts as one trial.
    """
    inside = share * (1 - share)
    if inside > 0 and variance <= 0:
        return share, share  # no unit moves it, as of a prediction of one class
    trials = inside / variance if inside > 0 else float(units)
    shrink = 1 + t**2 / trials
    middle = (share + t**2 / (2 * trials)) / shrink
    width = t * (inside / trials + t**2 / (4 * trials**2)) ** 0.5 / shrink
    return max(middle - width, 0.0), min(middle + width, 1.0)


def score_interval(
    metric: Metric,
    truth: Num[np.ndarray, "n *rest"],
    predictions: Sequence[Num[np.ndarray, "n *more"]],
    unit: Int[np.ndarray, "n"],
    *,
    stratum: Int[np.ndarray, "n"] | None = None,
    combine: str = "within",
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of a metric's score of test rows.

    Args:
      metric: Scores them.
      truth: As the metric needs it.
      predictions: Of each fine-tuning seed, or one.
      unit: Number of each row's patient, from 0.
      stratum, combine: As in `Metric.terms`, such as the test fold.
      level: Of confidence.
    """
    terms = [metric.terms(truth, one, unit, stratum, combine) for one in predictions]
    scores = np.stack([left_out(one, int(unit.max()) + 1) for one in terms])
    return interval([scores], metric.scale, level)
