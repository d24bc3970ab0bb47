"""The metrics that a task can name, and where others are found: METRICS.

    METRICS["auroc"] or find_metric("recall@5") or METRICS["my_module:MINE"] -> Metric

A metric has a function, a chance level, a label, a direction and what prediction it
needs (metric.py). docs/extend/metric.md adds one.
"""

import dataclasses
import re
import textwrap

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from pathjax.registry import Registry, RegistryError
from pathjax.stats.correlation import CORRELATIONS, PEARSON, SPEARMAN
from pathjax.stats.metric import Metric, StatisticsError, SumMetric, nanmean
from pathjax.stats.robustness import (
    CLUSTERING_SCORE,
    PERFORMANCE_DROP,
    robustness_index_at,
)
from pathjax.stats.survival import SURVIVAL_METRICS

ROWS_AT_ONCE = 64  # weightings whose cumulated weights are in memory together


def _ratio(top, bottom):
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)


def _shares(truth) -> Float[np.ndarray, "C"]:
    """Shares of the classes that occur."""
    return np.unique(truth, return_counts=True)[1] / len(truth)


def _recall_sums(truth, runs):
    """Hits and rows of each class in the truth, `[n, 2, C]`; hits are means of runs."""
    member = (truth[:, None] == np.unique(truth)[None, :]).astype(np.float64)
    hit = member * (truth[None] == np.stack(runs)).mean(axis=0)[:, None]
    return np.stack([hit, member], axis=1)


def _accuracy_sums(truth, runs):
    hit = (truth[None] == np.stack(runs)).mean(axis=0)
    return np.stack([hit, np.ones_like(hit)], axis=1)[:, :, None]


def _mean_ratio(total):
    """Ratio of the two sums, averaged over classes that a replicate has."""
    return nanmean(_ratio(total[:, 0], total[:, 1]))


def _f1_sums(truth, runs):
    """Hits, predictions and members of each class in each run, `[n, R, 3, C]`."""
    classes = np.unique(np.concatenate([truth, *runs]))
    member = truth[:, None] == classes
    guesses = [run[:, None] == classes for run in runs]
    each = [np.stack([member & guess, guess, member], axis=1) for guess in guesses]
    return np.stack(each, axis=1).astype(np.float64)


def _f1(total):
    hits, guessed, members = np.moveaxis(total, 2, 0)
    return nanmean(_ratio(2 * hits, guessed + members)).mean(axis=-1)


def _f1_chance(truth):
    """Of uniform guesses: precision is a class's share, recall 1 / classes."""
    shares = _shares(truth)
    return np.mean(2 * shares / (shares * len(shares) + 1))


def _hit_sums(truth, runs):
    (hits,) = runs
    hits = np.asarray(hits, np.float64)
    return np.stack([hits, np.ones_like(hits)], axis=1)


def recall_at(k: int) -> Metric:
    """Recall@k of retrieval, from 0/1 hits `[n, D]`: mean over queries and directions.

    Its chance level is of one right answer among n; retrieval knows better.
    """
    return SumMetric(
        *(f"recall@{k}", f"recall@{k}", "hits", _mean_ratio),
        chance=lambda truth: min(k / len(truth), 1.0),
        scale="share",
        sums=_hit_sums,
    )


def _sorted_sums(score, positive, weight):
    """Weight of positive and negative rows at each distinct score, ascending."""
    order = np.argsort(score, kind="stable")
    score, positive = score[order], positive[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    for start in range(0, len(weight), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        w = weight[part][:, order].astype(np.float64)
        # Rows of one score are one group, whose pairs are ties.
        yield (
            part,
            *(
                np.diff(np.cumsum(w * side, axis=1)[:, ends], axis=1, prepend=0.0)
                for side in (positive, ~positive)
            ),
        )


def auroc(
    score: Float[np.ndarray, "n"],
    positive: Bool[np.ndarray, "n"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Area under the ROC curve under each row of weights; NaN without one side.

    The share of pairs of a positive and a negative row that the score puts in the right
    order, ties counting half (Hanley & McNeil 1982,
    doi:10.1148/radiology.143.1.7063747).
    """
    area = np.empty(len(weight))
    for part, hits, misses in _sorted_sums(score, positive, weight):
        below = np.cumsum(misses, axis=1) - misses
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        right = (hits * (below + 0.5 * misses)).sum(axis=1)
        area[part] = _ratio(right, pairs)
    return area


def average_precision(
    score: Float[np.ndarray, "n"],
    positive: Bool[np.ndarray, "n"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Area under the precision-recall curve, by steps; NaN without one side."""
    area = np.empty(len(weight))
    for part, hits, misses in _sorted_sums(score, positive, weight):
        # From the highest score down.
        found, false = (
            np.cumsum(side[:, ::-1], axis=1)[:, ::-1] for side in (hits, misses)
        )
        precision = np.nan_to_num(_ratio(found, found + false))
        positives = np.where(misses.sum(axis=1) > 0, hits.sum(axis=1), 0.0)
        area[part] = _ratio((hits * precision).sum(axis=1), positives)
    return area


def macro(area):
    """The mean over the classes in the truth of their area against all others.

    A class that a replicate does not draw is left out of its mean.
    """

    def score(
        truth: Int[np.ndarray, "n"],
        prediction: Float[np.ndarray, "n C"],
        weight: Num[np.ndarray, "B n"],
    ) -> Float[np.ndarray, "B"]:
        each = [
            area(prediction[:, one], truth == one, weight) for one in np.unique(truth)
        ]
        return nanmean(np.stack(each).T)

    return score


BALANCED_ACCURACY = SumMetric(
    *("balanced_accuracy", "balanced accuracy", "classes", _mean_ratio),
    # Brodersen et al. 2010, doi:10.1109/ICPR.2010.764: mean recall of the classes.
    chance=lambda truth: 1.0 / len(np.unique(truth)),
    scale="share",
    sums=_recall_sums,
)
AUROC = Metric(
    *("auroc", "AUROC", "scores", macro(auroc)),
    chance=0.5,
    vectorised=True,
    scale="share",
)
SHIPPED = (
    BALANCED_ACCURACY,
    SumMetric(
        *("accuracy", "accuracy", "classes", _mean_ratio),
        chance=lambda truth: _shares(truth).max(),
        scale="share",
        sums=_accuracy_sums,
    ),
    SumMetric(
        *("f1_macro", "macro F1", "classes", _f1),
        chance=_f1_chance,
        scale="share",
        sums=_f1_sums,
    ),
    AUROC,
    Metric(
        *("auprc", "AUPRC", "scores", macro(average_precision)),
        chance=lambda truth: _shares(truth).mean(),
        vectorised=True,
        scale="share",
    ),
    PEARSON,
    SPEARMAN,
    *CORRELATIONS,
    *map(recall_at, (1, 5, 10)),
    *SURVIVAL_METRICS,
    # How well the site can be told: shortcuts are there to be learned.
    dataclasses.replace(
        BALANCED_ACCURACY,
        name="site_accuracy",
        label="balanced accuracy of the site",
        higher_is_better=False,
    ),
    robustness_index_at(11),
    PERFORMANCE_DROP,
    CLUSTERING_SCORE,
)
NUMBERED = {"recall": recall_at, "robustness_index": robustness_index_at}
balanced_accuracy = BALANCED_ACCURACY.value
mean_pearson = PEARSON.value
METRICS = Registry("metric", {metric.name: metric for metric in SHIPPED}, of=Metric)


def find_metric(name: str, task: str = "", *, in_file: bool = False) -> Metric:
    """A metric by name, `recall@K`, `robustness_index@K`, or `package.module:NAME`.

    Args:
      name: Of the metric.
      task: Whose rows are scored. Whatever the functions of a metric given by
        `package.module:NAME` raise is then a StatisticsError that names both.
      in_file: A results file names it, and not the user: nothing is imported.

    Raises:
      RegistryError: There is none.
    """
    cut = re.fullmatch(rf"({'|'.join(NUMBERED)})@(\d+)", name)
    if cut:
        return NUMBERED[cut[1]](int(cut[2]))
    metric = METRICS.imported(name) if in_file else METRICS[name]
    return _attributed(metric, name, task) if task and name not in METRICS else metric


def _attributed(metric: Metric, name: str, task: str) -> Metric:
    """The metric, with functions whose errors and wrong results name it."""

    def guard(function, result=None):
        def call(*args):
            try:
                value = function(*args)
                return value if result is None else result(value, *args)
            except Exception as error:
                message = textwrap.shorten(str(error), 300, placeholder=" ...")
                raise StatisticsError(
                    f"metric {name} failed on task {task}: {type(error).__name__}: "
                    f"{message}"
                ) from error

        return call if callable(function) else function

    def numbers(value, shape: tuple[int, ...], what: str):
        array = np.asarray(value)
        if array.shape != shape or array.dtype.kind not in "biuf":
            got = f"an array of shape {array.shape}" if array.ndim else repr(value)
            expected = f"numbers of shape {shape}" if shape else "one number"
            raise TypeError(f"{what} returned {got}, expected {expected}")
        return value

    def score(value, *args):
        several = metric.vectorised or isinstance(metric, SumMetric)
        return numbers(value, (len(args[-1]),) if several else (), "score")

    functions = {
        "score": guard(metric.score, score),
        "chance": guard(metric.chance, lambda value, _: numbers(value, (), "chance")),
    }
    if isinstance(metric, SumMetric):
        functions["sums"] = guard(metric.sums)
    return dataclasses.replace(metric, **functions)


def metric_label(name: str) -> str:
    """What a table calls a metric; its name where a finished table names another."""
    try:
        metric = find_metric(name, in_file=True)
    except RegistryError:
        return name
    return metric.label + ("" if metric.higher_is_better else ", lower is better")
