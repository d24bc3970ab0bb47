"""Scores and their intervals: balanced accuracy, Pearson r, recall, paired bootstrap.

    truth, prediction, units -> Terms (sums per unit) -> Terms.evaluate(draws)

A score here is a function of sums over rows. A bootstrap replicate only says how often
each unit (patient) counts, so thousands of replicates are one matrix product of draws
`[B, U]` with sums per unit `[U, M]`. The same draws serve base and tuned, and all tasks
that share patients: the comparison is paired.

Pearson's r may be asked within strata, such as the test folds of a cross-validation,
whose predictions have different offsets, or cancer types, whose levels any model tells
apart. "within" is one r of all rows after each stratum's means are taken off; "mean" is
the mean of the strata's own r.

NumPy and float64 only. It reads no file and does not know models or tasks.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

METRICS = ("balanced_accuracy", "pearson", "recall")
COMBINE = ("within", "mean")
DRAWS_AT_ONCE = 512  # sums of all genes under 5,000 draws would be the largest array
# Below this share of its own scale a variance is rounding, and the gene is constant.
CONSTANT = 1e-12


class StatisticsError(ValueError):
    """A score is not defined for the data given; the message says why."""


@dataclasses.dataclass(frozen=True)
class Terms:
    """Sums per unit from which a score follows for any weighting of the units.

    Attributes:
      metric: one of METRICS.
      sums: `[P, M]`, a row for each unit, or each unit in each stratum it has rows in;
        what the M columns are depends on the metric.
      unit: `[P]` which unit a row is of.
      stratum: `[P]` which stratum, numbered from 0.
      combine: "within" or "mean": how strata make one r.
    """

    metric: str
    sums: Float[np.ndarray, "P M"]
    unit: Int[np.ndarray, "P"]
    stratum: Int[np.ndarray, "P"]
    combine: str = "within"

    def evaluate(self, draws: Num[np.ndarray, "B U"]) -> Float[np.ndarray, "B"]:
        """The score under each row of unit counts; NaN where it is not defined."""
        parts = [
            self._evaluate(draws[start : start + DRAWS_AT_ONCE])
            for start in range(0, len(draws), DRAWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _evaluate(self, draws):
        if self.metric == "pearson":
            return _nanmean(self.r(draws))
        # Both others are ratios: hits over rows, averaged over classes.
        total = draws[:, self.unit].astype(np.float64) @ self.sums
        hits, rows = np.split(total, 2, axis=1)
        return _nanmean(np.where(rows > 0, hits / np.where(rows > 0, rows, 1), np.nan))

    def r(self, draws: Num[np.ndarray, "B U"]) -> Float[np.ndarray, "B G"]:
        """r of each gene under each row of unit counts; NaN for a constant truth."""
        moments, own = 0.0, []
        for stratum in range(int(self.stratum.max()) + 1):
            inside = self.stratum == stratum
            total = draws[:, self.unit[inside]].astype(np.float64) @ self.sums[inside]
            here = _moments(total)
            moments = moments + here
            if self.combine == "mean":
                own.append(_pearson(here))
        return _nanmean(np.stack(own, axis=-1)) if own else _pearson(moments)

    def exchanged(
        self, other: "Terms", swap: Bool[np.ndarray, "B U"]
    ) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
        """Both scores where, per row of `swap`, the marked units change places.

        `self` and `other` are two models' terms over the same truth and units: the
        first score is that of `self` with `other`'s sums for the marked units, the
        second the reverse.

        Pearson's terms are of predictions that were standardised model by model, so
        standardised predictions change places. That is what is wanted: r is the same
        for predictions and for any shift and scale of them, so two models that happen
        to predict in other units are not told apart by it.

        Raises:
          StatisticsError: the two are not of the same rows.
        """
        if not (
            self.sums.shape == other.sums.shape
            and np.array_equal(self.unit, other.unit)
            and np.array_equal(self.stratum, other.stratum)
            and (self.metric, self.combine) == (other.metric, other.combine)
        ):
            raise StatisticsError(
                "the terms of two models are not of the same rows, units, strata and "
                "metric: nothing can change places between them"
            )
        # Each unit twice, once with either model's sums; one of the two is counted.
        both = dataclasses.replace(
            self,
            sums=np.vstack([self.sums, other.sums]),
            unit=np.concatenate([self.unit, other.unit + swap.shape[1]]),
            stratum=np.concatenate([self.stratum, other.stratum]),
        )
        kept = ~swap
        return (
            both.evaluate(np.hstack([kept, swap])),
            both.evaluate(np.hstack([swap, kept])),
        )

    def value(self) -> float:
        """The score with every unit counted once."""
        return float(self.evaluate(np.ones((1, int(self.unit.max()) + 1)))[0])


def _nanmean(values):
    """Mean over the last axis without NaNs; NaN, not a warning, where all are."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _terms(metric, values, unit, stratum=None, combine="within") -> Terms:
    """Sums the rows of each unit in each stratum."""
    rows = len(values)
    unit = np.zeros(rows, np.int64) if unit is None else np.asarray(unit)
    stratum = np.zeros(rows, np.int64) if stratum is None else np.asarray(stratum)
    pairs, place = np.unique(
        np.stack([stratum, unit], axis=1), axis=0, return_inverse=True
    )
    sums = np.zeros((len(pairs), values.shape[1]))
    np.add.at(sums, place.reshape(-1), values)
    return Terms(metric, sums, pairs[:, 1], pairs[:, 0], combine)


def accuracy_terms(
    truth: Int[np.ndarray, "N"],
    prediction: Int[np.ndarray, "N *R"],
    unit: Int[np.ndarray, "N"] | None = None,
) -> Terms:
    """Terms of balanced accuracy: the mean over classes of their recall.

    Classes are those in `truth` (Brodersen et al. 2010, doi:10.1109/ICPR.2010.764;
    macro recall). A class that a replicate does not draw is left out of its mean.
    Predictions of several runs give the mean of the runs' scores.

    Raises:
      StatisticsError: no rows, or the two differ in shape.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    runs = prediction.reshape(len(prediction), -1).T
    _require_rows(truth, runs[0] if len(runs) else prediction, 1)
    classes = np.unique(truth)
    member = (truth[:, None] == classes[None, :]).astype(np.float64)
    hit = member * (truth[None] == runs).mean(axis=0)[:, None]
    return _terms("balanced_accuracy", np.hstack([hit, member]), unit)


def pearson_terms(
    truth: Num[np.ndarray, "N G"],
    prediction: Num[np.ndarray, "N G"],
    unit: Int[np.ndarray, "N"] | None = None,
    stratum: Int[np.ndarray, "N"] | None = None,
    combine: str = "within",
) -> Terms:
    """Terms of mean per-gene Pearson r: over rows for each gene, then over genes.

    Each gene is first shifted and scaled by its own mean and spread, so that sums of
    squares do not cancel. A truth of NaN is a value that was not asked for: a gene
    that one fold chose and another did not.

    Args:
      truth, prediction: values.
      unit: number of the unit that a row is of; None: all of one.
      stratum: number of its stratum; None: all rows of all slides are pooled.
      combine: "within" or "mean".

    Raises:
      StatisticsError: no rows, shapes differ, or a value is not finite.
    """
    truth = np.asarray(truth, np.float64)
    prediction = np.asarray(prediction, np.float64)
    _require_rows(truth, prediction, 2)
    if combine not in COMBINE:
        raise StatisticsError(f"combine is {combine!r}, wanted one of {COMBINE}")
    asked = ~np.isnan(truth)
    if np.isinf(truth).any() or not np.isfinite(prediction[asked]).all():
        raise StatisticsError("truth or prediction holds values that are not finite")
    t, p = _unit_scale(truth, asked), _unit_scale(prediction, asked)
    columns = [asked.astype(np.float64), t, p, t * t, p * p, t * p]
    return _terms("pearson", np.hstack(columns), unit, stratum, combine)


def _unit_scale(values, asked):
    """Mean 0 and variance 1 over the rows asked for; 0 elsewhere and for constants."""
    count = np.maximum(asked.sum(axis=0), 1)
    values = np.where(asked, values, 0.0)
    centred = np.where(asked, values - values.sum(axis=0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    constant = spread**2 <= CONSTANT * (values**2).sum(axis=0) / count
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def _moments(total):
    """Squares of t and p, then sums about the means of t, p and tp: `[5, B, G]`.

    `total` has the sums of 1, t, p, tt, pp, tp.
    """
    n, t, p, tt, pp, tp = np.split(total, 6, axis=1)
    n = np.where(n > 0, n, 1.0)
    return np.stack([tt, pp, tt - t * t / n, pp - p * p / n, tp - t * p / n])


def _pearson(moments):
    """r `[B, G]`; NaN where the truth is constant or was not asked for.

    A prediction that is constant where the truth varies has r = 0: leaving such genes
    out would reward a model for giving up on them.
    """
    tt, pp, var_t, var_p, cov = moments
    varies_t, varies_p = (
        # Scaled to variance 1: a mean square this small is of constants throughout.
        var > CONSTANT * np.maximum(square, CONSTANT)
        for var, square in ((var_t, tt), (var_p, pp))
    )
    both = varies_t & varies_p
    r = cov / np.sqrt(np.where(both, var_t * var_p, 1.0))
    return np.where(varies_t, np.where(both, np.clip(r, -1, 1), 0.0), np.nan)


def recall_terms(
    hits: Shaped[np.ndarray, "N D"],
    unit: Int[np.ndarray, "N"] | None = None,
) -> Terms:
    """Terms of mean recall over directions, from 0/1 hits of each query.

    Raises:
      StatisticsError: no rows.
    """
    hits = np.asarray(hits, np.float64)
    _require_rows(hits, hits, 2)
    return _terms("recall", np.hstack([hits, np.ones_like(hits)]), unit)


def _require_rows(truth, prediction, rank: int) -> None:
    if truth.ndim != rank or truth.shape != prediction.shape or not len(truth):
        raise StatisticsError(
            f"truth {truth.shape} and prediction {prediction.shape}: wanted the same "
            f"shape, {rank} axes, and at least one row"
        )


def balanced_accuracy(
    truth: Int[np.ndarray, "N"], prediction: Int[np.ndarray, "N *R"]
) -> float:
    """Mean recall over the classes in `truth`, 0 to 1; its mean over runs."""
    return accuracy_terms(truth, prediction).value()


def per_gene_pearson(
    truth: Num[np.ndarray, "N G"],
    prediction: Num[np.ndarray, "N G"],
    stratum: Int[np.ndarray, "N"] | None = None,
    combine: str = "within",
) -> Float[np.ndarray, "G"]:
    """r of each gene over rows: NaN for a constant truth, 0 for a constant prediction."""
    terms = pearson_terms(truth, prediction, None, stratum, combine)
    return terms.r(np.ones((1, 1)))[0]


def mean_pearson(
    truth: Num[np.ndarray, "N G"],
    prediction: Num[np.ndarray, "N G"],
    stratum: Int[np.ndarray, "N"] | None = None,
    combine: str = "within",
) -> tuple[float, int]:
    """Mean r over genes, and how many genes were left out as constant in `truth`.

    Raises:
      StatisticsError: every gene is constant.
    """
    r = per_gene_pearson(truth, prediction, stratum, combine)
    constant = int(np.isnan(r).sum())
    if constant == len(r):
        where = "" if stratum is None else " within every stratum"
        raise StatisticsError(
            f"all {len(r)} genes are constant over the {len(truth)} test rows{where}: "
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


def bootstrap_draws(
    units: int, replicates: int, seed: int | tuple[int, ...]
) -> Int[np.ndarray, "B U"]:
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
