"""Scores and their intervals: balanced accuracy, Pearson r, recall, paired bootstrap.

    truth, prediction, units -> Terms (sums per unit) -> Terms.evaluate(draws)

A score here is a function of sums over rows. A bootstrap replicate only says how often
each unit (patient) counts, so thousands of replicates are one matrix product of draws
`[B, U]` with sums per unit `[U, M]`. The same draws serve base and tuned, and all tasks
that share patients: the comparison is paired.

NumPy and float64 only. It reads no file and does not know models or tasks.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

METRICS = ("balanced_accuracy", "pearson", "recall")
# Below this share of its own scale a variance is rounding, and the gene is constant.
CONSTANT = 1e-12


class StatisticsError(ValueError):
    """A score is not defined for the data given; the message says why."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """Sums per unit from which a score follows for any weighting of the units.

    Attributes:
      metric: one of METRICS.
      sums: `[U, M]`; what the M columns are depends on the metric.
    """

    metric: str
    sums: Float[np.ndarray, "U M"]

    def evaluate(self, draws: Num[np.ndarray, "B U"]) -> Float[np.ndarray, "B"]:
        """The score under each row of unit counts; NaN where it is not defined."""
        total = draws.astype(np.float64) @ self.sums
        if self.metric == "pearson":
            return _nanmean(_pearson_of_sums(total))
        # Both others are ratios: hits over rows, averaged over classes.
        hits, rows = np.split(total, 2, axis=1)
        return _nanmean(np.where(rows > 0, hits / np.where(rows > 0, rows, 1), np.nan))

    def value(self) -> float:
        """The score with every unit counted once."""
        return float(self.evaluate(np.ones((1, len(self.sums))))[0])


def _nanmean(values):
    """Mean over the last axis without NaNs; NaN, not a warning, where all are."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sum_by_unit(values, unit, units: int):
    out = np.zeros((units, values.shape[1]))
    np.add.at(out, unit, values)
    return out


def _unit_or_all(unit, rows):
    return np.zeros(rows, np.int64) if unit is None else np.asarray(unit)


def accuracy_terms(
    truth: Int[np.ndarray, "N"],
    prediction: Int[np.ndarray, "N"],
    unit: Int[np.ndarray, "N"] | None = None,
    units: int = 1,
) -> Terms:
    """Terms of balanced accuracy: the mean over classes of their recall.

    Classes are those in `truth` (Brodersen et al. 2010, doi:10.1109/ICPR.2010.764;
    macro recall). A class that a replicate does not draw is left out of its mean.

    Raises:
      StatisticsError: no rows, or the two differ in shape.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    _require_rows(truth, prediction, 1)
    classes = np.unique(truth)
    member = (truth[:, None] == classes[None, :]).astype(np.float64)
    hit = member * (truth == prediction)[:, None]
    unit = _unit_or_all(unit, len(truth))
    return Terms(
        "balanced_accuracy", _sum_by_unit(np.hstack([hit, member]), unit, units)
    )


def pearson_terms(
    truth: Num[np.ndarray, "N G"],
    prediction: Num[np.ndarray, "N G"],
    unit: Int[np.ndarray, "N"] | None = None,
    units: int = 1,
) -> Terms:
    """Terms of mean per-gene Pearson r: over rows for each gene, then over genes.

    Rows of all slides are pooled. Each gene is first shifted and scaled by its own
    mean and spread, so that sums of squares do not cancel.

    Raises:
      StatisticsError: no rows, shapes differ, or a value is not finite.
    """
    truth = np.asarray(truth, np.float64)
    prediction = np.asarray(prediction, np.float64)
    _require_rows(truth, prediction, 2)
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        raise StatisticsError("truth or prediction holds values that are not finite")
    unit = _unit_or_all(unit, len(truth))
    t, p = _unit_scale(truth), _unit_scale(prediction)
    columns = [np.ones((len(t), 1)), t, p, t * t, p * p, t * p]
    return Terms("pearson", _sum_by_unit(np.hstack(columns), unit, units))


def _unit_scale(values):
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    constant = spread**2 <= CONSTANT * (values**2).mean(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def _pearson_of_sums(total):
    """r `[..., G]` from sums 1, t, p, tt, pp, tp; NaN where the truth is constant.

    A prediction that is constant where the truth varies has r = 0: leaving such genes
    out would reward a model for giving up on them.
    """
    n, sums = total[:, :1], np.split(total[:, 1:], 5, axis=1)
    n = np.where(n > 0, n, np.nan)
    t, p, tt, pp, tp = (part / n for part in sums)
    var_t, var_p = tt - t * t, pp - p * p
    # Scaled by the whole set to variance 1: these compare with 1 whatever the units.
    varies_t = var_t > CONSTANT * np.maximum(tt, CONSTANT)
    varies_p = var_p > CONSTANT * np.maximum(pp, CONSTANT)
    both = varies_t & varies_p
    r = (tp - t * p) / np.sqrt(np.where(both, var_t * var_p, 1.0))
    return np.where(varies_t, np.where(both, np.clip(r, -1, 1), 0.0), np.nan)


def recall_terms(
    hits: Shaped[np.ndarray, "N D"],
    unit: Int[np.ndarray, "N"] | None = None,
    units: int = 1,
) -> Terms:
    """Terms of mean recall over directions, from 0/1 hits of each query.

    Raises:
      StatisticsError: no rows.
    """
    hits = np.asarray(hits, np.float64)
    _require_rows(hits, hits, 2)
    unit = _unit_or_all(unit, len(hits))
    both = np.hstack([hits, np.ones_like(hits)])
    return Terms("recall", _sum_by_unit(both, unit, units))


def _require_rows(truth, prediction, rank: int) -> None:
    if truth.ndim != rank or truth.shape != prediction.shape or not len(truth):
        raise StatisticsError(
            f"truth {truth.shape} and prediction {prediction.shape}: wanted the same "
            f"shape, {rank} axes, and at least one row"
        )


def balanced_accuracy(
    truth: Int[np.ndarray, "N"], prediction: Int[np.ndarray, "N"]
) -> float:
    """Mean recall over the classes in `truth`, 0 to 1."""
    return accuracy_terms(truth, prediction).value()


def per_gene_pearson(
    truth: Num[np.ndarray, "N G"], prediction: Num[np.ndarray, "N G"]
) -> Float[np.ndarray, "G"]:
    """r of each gene over rows: NaN for a constant truth, 0 for a constant prediction."""
    return _pearson_of_sums(pearson_terms(truth, prediction).sums)[0]


def mean_pearson(
    truth: Num[np.ndarray, "N G"], prediction: Num[np.ndarray, "N G"]
) -> tuple[float, int]:
    """Mean r over genes, and how many genes were left out as constant in `truth`.

    Raises:
      StatisticsError: every gene is constant.
    """
    r = per_gene_pearson(truth, prediction)
    constant = int(np.isnan(r).sum())
    if constant == len(r):
        raise StatisticsError(
            f"all {len(r)} genes are constant over the {len(truth)} test rows: "
            "there is nothing to correlate"
        )
    return float(np.nanmean(r)), constant


def chance_level(metric: str, truth: Num[np.ndarray, "N *rest"], k: int = 0) -> float:
    """What guessing scores: 1 / classes, 0 for r, k / n for recall@k."""
    if metric == "balanced_accuracy":
        return 1.0 / len(np.unique(truth))
    if metric == "recall":
        return min(k / len(truth), 1.0)
    return 0.0


def number_units(
    ids: Sequence[Shaped[np.ndarray, "_"]],
) -> tuple[list[Int[np.ndarray, "_"]], int]:
    """Numbers the union of several lists of ids: each list as numbers, and how many."""
    names, flat = np.unique(np.concatenate(ids), return_inverse=True)
    ends = np.cumsum([len(part) for part in ids])[:-1]
    return np.split(flat, ends), len(names)


def bootstrap_draws(units: int, replicates: int, seed: int) -> Int[np.ndarray, "B U"]:
    """How often each unit counts in each replicate: multinomial, `units` draws each.

    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6 and 13.
    """
    if units < 1 or replicates < 1:
        raise StatisticsError(f"{units} units, {replicates} replicates: wanted 1 each")
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=replicates)


def mean_over_seeds(
    per_seed: Float[np.ndarray, "S B"], seed_draws: Num[np.ndarray, "B S"]
) -> Float[np.ndarray, "B"]:
    """Each replicate's mean over the seeds it drew, together with its patients."""
    return np.einsum("sb,bs->b", per_seed, seed_draws) / seed_draws.sum(axis=1)


def percentile_interval(
    samples: Float[np.ndarray, "B"], level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates; undefined (NaN) ones are left out.

    Raises:
      StatisticsError: over half of the replicates are undefined.
    """
    known = samples[np.isfinite(samples)]
    if 2 * len(known) < len(samples):
        raise StatisticsError(
            f"{len(samples) - len(known)} of {len(samples)} bootstrap replicates have "
            "no score: too few test patients for an interval"
        )
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
