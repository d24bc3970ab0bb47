"""Area under the ROC curve, one class against the rest, with patients reweighted.

It is the share of pairs of a positive and a negative row that the score puts in the
right order, ties counting half (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747).
Under bootstrap counts a pair counts as often as both of its rows do. NumPy only.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Num

DRAWS_AT_ONCE = 64


def auroc(
    score: Float[np.ndarray, "n"],
    positive: Bool[np.ndarray, "n"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """The area under each row of weights; NaN where a side weighs nothing."""
    order = np.argsort(score, kind="stable")
    score, positive = score[order], positive[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    found = np.empty(len(weight))
    for start in range(0, len(weight), DRAWS_AT_ONCE):
        part = slice(start, start + DRAWS_AT_ONCE)
        w = weight[part][:, order].astype(np.float64)
        # Rows of one score are one group, whose pairs are ties.
        hits, misses = (
            np.diff(np.cumsum(w * side, axis=1)[:, ends], axis=1, prepend=0.0)
            for side in (positive, ~positive)
        )
        below = np.cumsum(misses, axis=1) - misses
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        right = (hits * (below + 0.5 * misses)).sum(axis=1)
        found[part] = np.where(pairs > 0, right / np.where(pairs > 0, pairs, 1), np.nan)
    return found


def macro_auroc(
    score: Float[np.ndarray, "n C"],
    truth: Int[np.ndarray, "n"],
    weight: Num[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Mean over the classes in `truth` of their area against all others.

    A class that a replicate does not draw is left out of its mean. With two classes it
    is the area itself.
    """
    each = np.stack(
        [auroc(score[:, one], truth == one, weight) for one in np.unique(truth)]
    )
    known = np.isfinite(each)
    count = known.sum(axis=0)
    total = np.where(known, each, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
