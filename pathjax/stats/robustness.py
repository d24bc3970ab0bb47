"""Metrics of robustness to sites: what an embedding groups by, in 2x2 cells.

Two classes at two sites are a pair with four cells: cell = 2 * class + site. The truth is
the cell of each row, its stratum the pair. From neighbours, clusters or confounded
training (evals/robustness/) to a score under any weighting of the patients; nothing is
embedded, searched or fitted here. NumPy, float64.

Definitions: Koemen et al. 2025, arXiv:2507.17845 (PathoROB).
"""

import numpy as np
from jaxtyping import Float, Int, Num

from pathjax.stats.metric import Metric, nanmean

ROWS_AT_ONCE = 4096


def share_of_biology(
    truth: Int[np.ndarray, "n"],
    neighbours: Int[np.ndarray, "n L"],
    weight: Num[np.ndarray, "B n"],
    k: int,
) -> Float[np.ndarray, "B"]:
    """The robustness index SO / (SO + OS) under each row of weights.

    Of each row's k nearest neighbours, SO are of the same class from the other site, OS of
    the other class from the same site. A row of weight 0 is neither asked nor a neighbour,
    the next in its list takes its place; one of weight 2 is asked twice and is two
    neighbours.

    Args:
      truth: Cells.
      neighbours: Row numbers of the same pair, the nearest first; -1 is none. Longer than
        k by the rows that may be left out.
      weight: Whole numbers.
      k: Neighbours that count.

    Returns:
      NaN where no neighbour is of either kind.
    """
    so, os = np.zeros(len(weight)), np.zeros(len(weight))
    for start in range(0, len(truth), ROWS_AT_ONCE):
        asked = slice(start, start + ROWS_AT_ONCE)
        near = neighbours[asked]
        other = truth[near] ^ truth[asked, None]  # 1: other site, 2: other class
        known = near >= 0
        for place, one in enumerate(weight):
            count = one[near] * known
            before = np.cumsum(count, axis=1) - count
            count = np.clip(k - before, 0, count) * one[asked, None]
            so[place] += count[other == 1].sum()
            os[place] += count[other == 2].sum()
    total = so + os
    return np.where(total > 0, so / np.where(total > 0, total, 1), np.nan)


def independent_share(truth: Int[np.ndarray, "n"]) -> float:
    """The index of embeddings that know neither class nor site: by the cells' sizes.

    0.5 where the four cells are alike.
    """
    a, b, c, d = np.bincount(truth, minlength=4).astype(float)
    so, os = a * b + c * d, a * c + b * d
    return float(so / (so + os)) if so + os else 0.5


def robustness_index_at(k: int) -> Metric:
    """The robustness index over k neighbours; 1 is pure biology, 0 pure site."""
    return Metric(
        *(f"robustness_index@{k}", f"robustness index, k = {k}", "neighbours"),
        lambda truth, near, weight: share_of_biology(truth, near, weight, k),
        chance=independent_share,
        vectorised=True,
        scale="share",
    )


def average_drop(
    truth: Int[np.ndarray, "n"],
    hits: Float[np.ndarray, "n R S"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Mean relative change of balanced accuracy when class goes with site in training.

    Args:
      truth: Cells.
      hits: 1 where a row is classified rightly, NaN where a repetition does not test it;
        by repetition, and by level, from no confounding to the most.
      weight: Of rows.

    Returns:
      mean over R of mean over levels s > 0 of accuracy(s) / accuracy(0) - 1.
    """
    tested = np.isfinite(hits)
    recalls = []
    for one in (0, 1):
        member = (truth >> 1 == one)[:, None, None] & tested
        right = np.where(member, hits, 0.0).reshape(len(truth), -1)
        rows = member.reshape(len(truth), -1).astype(float)
        total = weight @ rows
        recalls.append(
            np.where(total > 0, weight @ right / np.maximum(total, 1), np.nan)
        )
    accuracy = np.mean(recalls, axis=0).reshape(len(weight), *hits.shape[1:])
    first = accuracy[..., :1]
    ratio = np.where(first > 0, accuracy / np.where(first > 0, first, 1), np.nan)
    return nanmean(ratio[..., 1:].reshape(len(weight), -1)) - 1


def adjusted_rand(table: Float[np.ndarray, "*rest K C"]) -> Float[np.ndarray, "*rest"]:
    """Adjusted Rand index of tables of counts, groups by labels.

    Hubert & Arabie 1985, J. Classification 2:193. 1 where both have one group only.
    """

    def pairs(count):
        return count * (count - 1) / 2

    both = pairs(table).sum(axis=(-2, -1))
    rows = pairs(table.sum(axis=-1)).sum(axis=-1)
    columns = pairs(table.sum(axis=-2)).sum(axis=-1)
    every = pairs(table.sum(axis=(-2, -1)))
    expected = rows * columns / np.where(every > 0, every, 1)
    most = (rows + columns) / 2
    flat = most == expected
    return np.where(flat, 1.0, (both - expected) / np.where(flat, 1, most - expected))


def clustering_score(
    truth: Int[np.ndarray, "n"],
    clusters: Int[np.ndarray, "n T"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Adjusted Rand index with the class minus that with the site, mean over T trials.

    Args:
      truth: Cells.
      clusters: Each row's cluster in each trial.
      weight: Of rows, whole numbers.
    """
    scores = []
    for labels in clusters.T:
        size = int(labels.max()) + 1
        member = (labels * 4 + truth)[:, None] == np.arange(4 * size)
        table = (weight @ member).reshape(len(weight), size, 2, 2)
        by_class, by_site = table.sum(axis=3), table.sum(axis=2)
        scores.append(adjusted_rand(by_class) - adjusted_rand(by_site))
    return np.mean(scores, axis=0)


PERFORMANCE_DROP = Metric(
    *("performance_drop", "average performance drop", "levels", average_drop),
    vectorised=True,
)
CLUSTERING_SCORE = Metric(
    *("clustering_score", "clustering score", "clusters", clustering_score),
    vectorised=True,
)
