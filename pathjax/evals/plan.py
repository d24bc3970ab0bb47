"""Which rows fit a probe, which choose its strength: groups of patients, as weights.

A plan is two arrays of weights, so that a sweep over seeds, inner folds and strengths
has one shape and compiles once. Rows are never dropped, they weigh nothing.

    labelled fit and select rows -> make_plan -> Plan -> probes.*_sweep

NumPy only. It does not fit anything and knows no study.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int


class PlanError(ValueError):
    """Fit and select rows cannot be arranged as asked; the message says why."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Weights of R probe seeds x F fits over N rows.

    Attributes:
      train: `[R, F, N]` float32, how much a row counts in a fit.
      hold: `[R, F, N]` float32, how much it counts in choosing the strength.
      final: which of the F fits is the probe that is used.
      folds: how many inner folds choose the strength; 0 with a select fold.
    """

    train: Float[np.ndarray, "R F N"]
    hold: Float[np.ndarray, "R F N"]
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
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=seeds)
    drawn[:1] = 1
    return drawn[:, groups].astype(np.float32)


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


def make_plan(
    groups: Int[np.ndarray, "N"],
    select: Bool[np.ndarray, "N"],
    labels: Int[np.ndarray, "N"] | None = None,
    *,
    seeds: int,
    folds: int,
    seed: int = 0,
) -> Plan:
    """Arranges fit and select rows for `seeds` probe seeds.

    A probe seed is a bootstrap sample of the fit fold's groups (patients); seed 0 is
    the full fit fold. With a select fold the strength is chosen on it; without one, by
    cross-validation over groups inside the fit fold, and a row drawn twice counts twice
    on whichever side it is.

    Args:
      groups: group number of each row, 0 to the number of groups - 1.
      select: which rows are of the select fold; all False when there is none.
      labels: class numbers, to deal groups evenly; None for numbers.
      seeds: how many probe seeds, at least 1.
      folds: inner folds wanted; capped at the number of groups.
      seed: of the resampling.

    Raises:
      PlanError: no fit row, or a single group and no select fold.
    """
    if seeds < 1 or folds < 2:
        raise PlanError(f"seeds={seeds} and folds={folds}: wanted at least 1 and 2")
    fit = np.flatnonzero(~select)
    if not fit.size:
        raise PlanError("the fit fold has no labelled row")
    names, inside = np.unique(groups[fit], return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((seeds, len(groups)), np.float32)
    drawn[:, fit] = bootstrap_counts(inside, seeds, rng)
    if select.any():
        hold = np.broadcast_to(select.astype(np.float32), drawn.shape)
        return Plan(drawn[:, None], hold[:, None], final=0, folds=0)
    if len(names) < 2:
        raise PlanError(
            "the fit fold has one group (patient) and there is no select fold: no "
            "strength can be chosen on other patients. Name a select fold"
        )
    folds = min(folds, len(names))
    fold = np.full(len(groups), -1)
    known = None if labels is None else labels[fit]
    fold[fit] = inner_folds(inside, known, folds, rng)
    outside = fold[None, :] == np.arange(folds)[:, None]  # [F, N]
    train = np.concatenate(
        [drawn[:, None] * ~outside[None], drawn[:, None]], axis=1, dtype=np.float32
    )
    hold = np.concatenate(
        [drawn[:, None] * outside[None], np.zeros_like(drawn)[:, None]],
        axis=1,
        dtype=np.float32,
    )
    # A bootstrap may draw groups of one inner fold only; that fit has nothing to learn
    # from and its held-out rows must not choose.
    hold[train.sum(-1) == 0] = 0
    train[train.sum(-1) == 0] = 1
    return Plan(train, hold, final=folds, folds=folds)
