"""What a metric is, and its terms: the score under any weighting of the patients.

    Metric.terms(truth, prediction, units) -> Terms.evaluate(draws [B, U]) -> [B]

Leaving a unit (patient) out, or drawing it twice, only says how often it counts: both are
weights. The same weights serve base and tuned model and all tasks that share patients, so
the comparison is paired.
The metrics themselves are in metrics.py. NumPy and float64 only; it reads no file.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

DRAWS_AT_ONCE = 512  # sums of all genes under 5,000 draws would be the largest array
COMBINE = ("within", "mean")
# What a metric is computed from -> axes of its prediction, and of its truth.
NEEDS = {"classes": (1, 1), "scores": (2, 1), "values": (2, 2), "hits": (2, 1),
         "survival": (2, 2)}  # fmt: skip
NEEDS |= {"neighbours": (2, 1), "levels": (3, 1), "clusters": (2, 1)}  # robustness.py
SCALES = ("", "share", "correlation")


class StatisticsError(ValueError):
    """A score is not defined for the data given; the message says why."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score of predictions, with what tables and tests need to know of it.

    Attributes:
      name: In results and task files, such as "auroc".
      label: In tables, such as "AUROC".
      needs: What `score` takes as prediction of n test rows: "classes" `[n]` class
        numbers, "scores" `[n, C]` class probabilities, "values" `[n, T]`, "hits" `[n, D]` of
        retrieval, or "survival" (survival.py). The truth is class numbers `[n]`, values
        `[n, T]` with NaN for what was not asked of a row, or times and events `[n, 2]`.
      score: `score(truth, prediction, weight)`: the score where row i counts
        `weight[i]` times; NaN where it is not defined.
      chance: What guessing scores: a number, or a function of the truth.
      higher_is_better: False for errors.
      vectorised: `score` takes weights `[B, n]` and returns `[B]`.
      scale: "share" where every score is within 0 to 1, "correlation" where it is one
        (or a mean of some): intervals are then of that kind (interval.interval).
      over: Of values: "slide" scores each slide's rows alone and averages slides,
        "pooled" all rows together; "" is as the protocol has it.
    """

    name: str
    label: str
    needs: str
    score: Callable[..., Any] | None
    chance: float | Callable[[np.ndarray], float] = 0.0
    higher_is_better: bool = True
    vectorised: bool = False
    scale: str = ""
    over: str = ""

    def __post_init__(self):
        if self.needs not in NEEDS:
            raise ValueError(
                f"metric {self.name}: expected needs to be one of {', '.join(NEEDS)}, "
                f"got {self.needs!r}"
            )
        if self.scale not in SCALES:
            raise ValueError(
                f"metric {self.name}: expected scale to be share (always 0 to 1), "
                f"correlation (-1 to 1) or '' (neither), got {self.scale!r}"
            )

    def grouped(self, stratum, slide, combine: str) -> tuple[np.ndarray, str]:
        """Strata and how they make one score: the protocol's, or those of `over`.

        Args:
          stratum, combine: The protocol's.
          slide: The slide of each row, for `over` "slide".
        """
        if self.over == "slide":
            return np.unique(slide, return_inverse=True)[1], "mean"
        if self.over == "pooled":
            return np.zeros(len(stratum), np.int64), "within"
        return stratum, combine

    def chance_level(self, truth: Num[np.ndarray, "n *rest"]) -> float:
        """What guessing scores on these rows."""
        return float(self.chance(truth) if callable(self.chance) else self.chance)

    def as_needed(self, prediction: Num[np.ndarray, "n *more"]) -> np.ndarray:
        """Class numbers of class probabilities, where they are needed; else as it is."""
        if self.needs != "classes" or prediction.dtype.kind != "f":
            return prediction
        return prediction.argmax(axis=-1).astype(np.int32)

    def terms(
        self,
        truth: Num[np.ndarray, "n *rest"],
        prediction: Num[np.ndarray, "n *more"],
        unit: Int[np.ndarray, "n"] | None = None,
        stratum: Int[np.ndarray, "n"] | None = None,
        combine: str = "within",
    ) -> "Terms":
        """Prepares rows to be scored under many weightings.

        Args:
          truth, prediction: As `needs` says. A prediction with a further axis 1 holds
            several runs; their score is the mean of the runs' scores.
          unit: Number of the unit that a row is of; None: all of one.
          stratum: Number of its stratum, such as the test fold of a cross-validation.
          combine: "mean" averages the scores of the strata, each weighted by how often
            its units count. "within" pools all rows; correlations then take off each
            stratum's mean.

        Raises:
          StatisticsError: No rows, or shapes do not fit.
        """
        truth, runs = self._rows(truth, prediction)
        units, strata = _numbers(len(truth), unit, stratum)
        return Terms(self, (truth, *runs), units, strata, combine)

    def _rows(self, truth, prediction) -> tuple[np.ndarray, list[np.ndarray]]:
        """The truth, and the prediction of each run."""
        truth, prediction = np.asarray(truth), np.asarray(prediction)
        axes, truth_axes = NEEDS[self.needs]
        several = prediction.ndim == axes + 1
        runs = list(np.moveaxis(prediction, 1, 0)) if several else [prediction]
        fits = all(run.ndim == axes and len(run) == len(truth) for run in runs)
        if self.needs == "values":
            fits = fits and all(run.shape == truth.shape for run in runs)
        if truth.ndim != truth_axes or not fits or not len(truth) or not runs:
            raise StatisticsError(
                f"{self.label}: expected at least one row, and truth and prediction of "
                f"as many, got truth {truth.shape} and prediction {prediction.shape}"
            )
        return truth, runs

    def evaluate(self, terms: "Terms", draws) -> Float[np.ndarray, "B"]:
        """The score under each row of unit counts."""
        scores, shares = [], []
        strata = terms.strata(draws) if terms.combine == "mean" else [(slice(None), 1)]
        for inside, share in strata:
            weight = terms.weight(draws, inside)
            truth, *runs = (part[inside] for part in terms.parts)
            for run in runs:
                scores.append(self._score_each(truth, run, weight))
                shares.append(np.broadcast_to(share, len(draws)))
        return nanmean(np.stack(scores, axis=-1), np.stack(shares, axis=-1))

    def _score_each(self, truth, run, weight):
        assert self.score is not None, "a subclass has its own evaluate"
        if self.vectorised:
            return self.score(truth, run, weight)
        scores = []
        for one in weight:
            kept = one > 0  # so that a score need not care for rows without weight
            scores.append(
                self.score(truth[kept], run[kept], one[kept]) if kept.any() else np.nan
            )
        return np.array(scores, np.float64)

    def value(
        self,
        truth: Num[np.ndarray, "n *rest"],
        prediction: Num[np.ndarray, "n *more"],
        stratum: Int[np.ndarray, "n"] | None = None,
        combine: str = "within",
    ) -> float:
        """The score with every row counted once; arguments as in `terms`.

        Raises:
          StatisticsError: It is not defined for these rows.
        """
        value = self.terms(truth, prediction, None, stratum, combine).value()
        if not np.isfinite(value):
            reason = f"score returned {'NaN' if np.isnan(value) else value}"
            if not _varies(np.asarray(truth), stratum, combine):
                reason = "the truth does not vary"
            raise StatisticsError(
                f"{self.label} is not defined on the {len(truth)} test rows: {reason}. "
                "Choose other folds or another metric"
            )
        return value


@dataclasses.dataclass(frozen=True)
class Terms:
    """One model's test rows, or their sums per unit, ready for any weighting.

    Attributes:
      metric: Whose.
      parts: Arrays `[P, ...]` that the metric made, a row for each test row or unit.
      unit: `[P]` which unit a row is of.
      stratum: `[P]` which stratum, numbered from 0.
      combine: "within" or "mean", see `Metric.terms`.
    """

    metric: Metric
    parts: tuple[np.ndarray, ...]
    unit: Int[np.ndarray, "P"]
    stratum: Int[np.ndarray, "P"]
    combine: str = "within"

    def weight(
        self, draws: Num[np.ndarray, "B U"], inside=slice(None)
    ) -> Float[np.ndarray, "B P"]:
        """How often each row counts under each row of unit counts."""
        return draws[:, self.unit[inside]].astype(np.float64)

    def strata(self, draws: Num[np.ndarray, "B U"]) -> Iterator[tuple]:
        """Which rows are of each stratum, and its weight `[B]` in a mean of strata.

        The mean count of its units: a fold of one patient who is drawn twice counts as
        two folds, without which means of folds vary too little (0.77 of their true
        spread with a patient a fold).
        """
        for stratum in np.unique(self.stratum):
            inside = self.stratum == stratum
            units = np.unique(self.unit[inside])
            yield inside, draws[:, units].mean(axis=1)

    def evaluate(self, draws: Num[np.ndarray, "B U"]) -> Float[np.ndarray, "B"]:
        """The score under each row of unit counts; NaN where it is not defined."""
        starts = range(0, len(draws), DRAWS_AT_ONCE)
        blocks = (draws[start : start + DRAWS_AT_ONCE] for start in starts)
        return np.concatenate([self.metric.evaluate(self, block) for block in blocks])

    def value(self) -> float:
        """The score with every unit counted once."""
        return float(self.evaluate(np.ones((1, int(self.unit.max()) + 1)))[0])


@dataclasses.dataclass(frozen=True)
class SumMetric(Metric):
    """A metric that is a function of sums over rows: all draws are one matrix product.

    Attributes:
      sums: Truth and list of runs to what is summed, `[n, ...]`.
      score: Sums `[B, ...]` to scores `[B]`.
    """

    sums: Callable[..., np.ndarray] = None  # type: ignore[assignment]

    def terms(self, truth, prediction, unit=None, stratum=None, combine="within"):
        # Strata do not matter: sums of all folds are sums of all rows.
        values = self.sums(*self._rows(truth, prediction)).astype(np.float64)
        return sum_terms(self, values, *_numbers(len(values), unit, None), "within")

    def evaluate(self, terms, draws):
        assert self.score is not None
        (sums,) = terms.parts
        total = terms.weight(draws) @ sums.reshape(len(sums), -1)
        return self.score(total.reshape(len(draws), *sums.shape[1:]))


def sum_terms(metric: Metric, values, unit, stratum, combine: str) -> Terms:
    """Terms whose one part is the sum of `values` over each unit in each stratum."""
    pairs, place = np.unique(
        np.stack([stratum, unit], axis=1), axis=0, return_inverse=True
    )
    sums = np.zeros((len(pairs), *values.shape[1:]))
    np.add.at(sums, place.reshape(-1), values)
    return Terms(metric, (sums,), pairs[:, 1], pairs[:, 0], combine)


def _varies(truth, stratum, combine: str) -> bool:
    """Whether some column has two values, in one of the strata that are scored."""
    each_alone = stratum is not None and (combine == "mean" or truth.ndim == 2)
    strata = np.asarray(stratum) if each_alone else np.zeros(len(truth), np.int64)
    parts = [truth[strata == one] for one in np.unique(strata)]
    columns = [column for part in parts for column in part.reshape(len(part), -1).T]
    return any(len(np.unique(one[np.isfinite(one)])) > 1 for one in columns)


def _numbers(rows: int, unit, stratum):
    """Units and strata as arrays, all zero where they are None."""
    return tuple(
        np.zeros(rows, np.int64) if numbers is None else np.asarray(numbers)
        for numbers in (unit, stratum)
    )


def nanmean(
    values: Float[np.ndarray, "*rest K"],
    weight: Float[np.ndarray, "*#rest K"] | float = 1.0,
) -> Float[np.ndarray, "*rest"]:
    """Weighted mean over the last axis without NaNs; NaN, no warning, where all are."""
    weight = np.where(np.isfinite(values), weight, 0.0)
    count = weight.sum(axis=-1)
    total = (weight * np.where(weight > 0, values, 0.0)).sum(axis=-1)
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)
