"""Which rows fit a probe and which choose its regularisation, as weights of rows.

    groups (patients) of labelled rows -> fold_weights -> FoldWeights -> a probe's sweep

Weights have one shape for all seeds and inner folds, so a sweep compiles once; rows are
never dropped, they weigh nothing. NumPy only: it fits nothing and knows no study.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from pathjax.evals import EvalError


@dataclasses.dataclass(frozen=True)
class FoldWeights:
    """Weights of R probe seeds x F fits over N rows.

    Attributes:
      train: `[R, F, N]` float32, how much a row counts in a fit.
      val: `[R, F, N]` float32, how much it counts in choosing the regularisation; in at
        most one fit of a seed.
      final: Which of the F fits is the probe that is used.
      folds: How many inner folds choose; 0 with a select fold.
    """

    train: Float[np.ndarray, "R F N"]
    val: Float[np.ndarray, "R F N"]
    final: int
    folds: int


def bootstrap_counts(
    groups: Int[np.ndarray, "N"], seeds: int, rng: np.random.Generator
) -> Float[np.ndarray, "R N"]:
    """How often each row is drawn when groups are drawn with replacement.

    Row 0 is the full set (all ones): probe seed 0 is the fit without resampling.
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6.
    """
    count = int(groups.max()) + 1
    counts = rng.multinomial(count, np.full(count, 1 / count), size=seeds)
    counts[:1] = 1
    return counts[:, groups].astype(np.float32)


def inner_folds(
    groups: Int[np.ndarray, "N"],
    labels: Int[np.ndarray, "N"] | None,
    folds: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "N"]:
    """Fold of each row; a group is never split over folds.

    Groups are shuffled, sorted by their commonest label and dealt in turn, so that the
    folds are about equal in size and class. Fewer groups than `folds`: one group each.
    """
    count = int(groups.max()) + 1
    order = rng.permutation(count)
    if labels is not None:
        table = np.zeros((count, int(labels.max()) + 1), np.int64)
        np.add.at(table, (groups, labels), 1)
        order = order[np.argsort(table.argmax(axis=1)[order], kind="stable")]
    fold = np.empty(count, np.int64)
    fold[order] = np.arange(count) % min(folds, count)
    return fold[groups]


def fold_weights(
    groups: Int[np.ndarray, "N"],
    select: Bool[np.ndarray, "N"],
    labels: Int[np.ndarray, "N"] | None = None,
    *,
    seeds: int,
    folds: int,
    seed: int = 0,
) -> FoldWeights:
    """Arranges fit and select rows for `seeds` probe seeds.

    A probe seed is a bootstrap sample of the fit fold's groups (patients); seed 0 is
    the full fit fold. With a select fold the regularisation is chosen on it; without
    one, by cross-validation over groups inside the fit fold, where a row drawn twice
    counts twice on whichever side it is.

    Args:
      groups: Group number of each row, 0 to the number of groups - 1.
      select: Which rows are of the select fold; all False when there is none.
      labels: Class numbers, to deal groups evenly; None for values.
      seeds: How many probe seeds, at least 1.
      folds: Inner folds; capped at the number of groups.
      seed: Of the resampling.

    Raises:
      EvalError: No fit row, or a single group and no select fold.
    """
    if seeds < 1 or folds < 2:
        raise EvalError(
            f"expected at least 1 seed and 2 folds, got seeds={seeds}, folds={folds}"
        )
    fit = np.flatnonzero(~select)
    if not fit.size:
        raise EvalError("the fit fold has no labelled row")
    names, inside = np.unique(groups[fit], return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = np.zeros((seeds, len(groups)), np.float32)
    counts[:, fit] = bootstrap_counts(inside, seeds, rng)
    if select.any():
        val = np.broadcast_to(select.astype(np.float32), counts.shape)
        return FoldWeights(counts[:, None], val[:, None], final=0, folds=0)
    if len(names) < 2:
        raise EvalError(
            "the fit fold has one group (patient) and there is no select fold: "
            "regularisation cannot be chosen on other patients. Name a select fold"
        )
    folds = min(folds, len(names))
    fold = np.full(len(groups), -1)
    known = None if labels is None else labels[fit]
    fold[fit] = inner_folds(inside, known, folds, rng)
    outside = fold[None, None] == np.arange(folds)[None, :, None]  # [1, F, N]
    whole = counts[:, None]
    train = np.concatenate([whole * ~outside, whole], axis=1)
    val = np.concatenate([whole * outside, np.zeros_like(whole)], axis=1)
    # A bootstrap may draw groups of one inner fold only; that fit has nothing to learn
    # from and its held-out rows must not choose.
    val[train.sum(-1) == 0] = 0
    train[train.sum(-1) == 0] = 1
    return FoldWeights(train, val, final=folds, folds=folds)
