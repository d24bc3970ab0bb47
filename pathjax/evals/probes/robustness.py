"""What the robustness metrics are computed from: neighbours, and confounded training.

    embeddings of a Pair of classes and sites (evals/cells.py) -> answer -> its rows' part

`NeighbourIndex` lists neighbours, `ConfoundedTraining` fits logistic regressions on cells
of unequal size; clusters are in clusters.py, the metrics in stats/robustness.py. Nothing
is scored here.

Source: Koemen et al. 2025, arXiv:2507.17845 (PathoROB), and the definitions in its code.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from pathjax.evals import EvalError
from pathjax.evals.cells import Pair, cells_of
from pathjax.evals.folds import FoldWeights, inner_folds
from pathjax.evals.probes.base import Probe
from pathjax.evals.probes.knn import neighbours
from pathjax.evals.probes.logistic import Logistic
from pathjax.evals.probes.sweep import powers_of_ten

# k that biology is predicted with: PathoROB's values, up to its number of neighbours.
K_GRID = (1, 3, 5, 7, 9, *range(11, 602, 10))


@dataclasses.dataclass(frozen=True)
class CellProbe(Probe):
    """A robustness measure of pairs of classes and sites.

    Attributes:
      tiles: Rows of a patient in a cell at most.
      pairs: Pairs of classes and sites at most, those with the most patients.
      seed: Of all that is random.
      rows_point_at_rows: The answer holds numbers of the pair's own rows.
    """

    kinds = ("robustness",)
    rows_point_at_rows: ClassVar[bool] = False
    tiles: int = 100
    pairs: int = 36
    seed: int = 0

    def answer(
        self, x: Float[np.ndarray, "m E"], pair: Pair
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """What the metric needs of the pair's rows, and what the record says.

        Raises:
          EvalError: The pair is too small.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class NeighbourIndex(CellProbe):
    """The nearest neighbours of other patients, by cosine similarity.

    Attributes:
      k: Neighbours that count. The lists are longer by the largest number of rows of a
        patient, so that one can be left out.
    """

    rows_point_at_rows = True
    k: int = 11

    def answer(self, x, pair):
        near = neighbours(x, pair.group, self.k + int(np.bincount(pair.group).max()))
        fewest = int((near >= 0).sum(axis=1).min())
        if fewest < self.k:
            raise EvalError(
                f"k = {self.k} is more than the {fewest} neighbours of other patients that "
                f"a row of {pair.name} has: choose a smaller k"
            )
        return near, {}


def class_accuracy(
    near: Int[np.ndarray, "m L"], cell: Int[np.ndarray, "m"]
) -> dict[int, float]:
    """Balanced accuracy of the class by majority of the k nearest, for each k in K_GRID.

    Only k for which every row has neighbours; k is odd, so two classes never tie.
    """
    most = int((near >= 0).sum(axis=1).min())
    truth = cell >> 1
    ones = np.cumsum(truth[near[:, :most]], axis=1)
    found = {}
    for k in (k for k in K_GRID if k <= most):
        right = (2 * ones[:, k - 1] > k) == truth
        found[k] = float(np.mean([right[truth == one].mean() for one in (0, 1)]))
    return found


@dataclasses.dataclass(frozen=True)
class ConfoundedTraining(CellProbe):
    """Class predictions by probes trained where class goes with site more and more.

    In each repetition about a third of the groups is tested. Of the others every cell
    gives as many, h each, to the first fit; at level s two opposite cells give h + s and
    the other two h - s, so that the number of groups is always the same, and the last
    has seen each class at one site only. Regularisation is chosen inside each fit.

    Attributes:
      repetitions: How often groups are dealt anew.
      levels: Levels at most; evenly spaced where h is larger.
      folds: Inner folds over groups.
      l2: The grid of `Logistic`.
    """

    repetitions: int = 5
    levels: int = 5
    folds: int = 3
    l2: tuple[float, ...] = powers_of_ten(1, -3, 5)

    def answer(self, x, pair):
        rng = np.random.default_rng(self.seed)
        dealt = [_deal(pair, rng) for _ in range(self.repetitions)]
        half = min(len(own) for _, cells in dealt for own in cells) // 2
        shifts = np.unique(np.linspace(0, half, min(half + 1, self.levels)).round())
        train = np.stack(
            [
                _training(pair, cells, half, int(shift))
                for _, cells in dealt
                for shift in shifts
            ]
        )
        probe = Logistic(folds=self.folds, l2=self.l2)
        label = pair.cell >> 1
        sweep = probe.fit_arrays(
            x,
            label,
            self._weights(train, pair.group, label, rng),
            x,
            classes=2,
            fit_values=label,
        )
        hits = np.asarray(sweep.prediction).argmax(axis=-1) == label  # [R * S, m]
        hits = hits.T.reshape(len(x), self.repetitions, len(shifts)).astype(np.float32)
        tested = np.stack([test for test, _ in dealt], axis=1)
        info = {"groups_of_a_cell": half, "levels": [int(shift) for shift in shifts]}
        return np.where(tested[:, :, None], hits, np.nan), info

    def _weights(
        self, train: Bool[np.ndarray, "R m"], group, label, rng
    ) -> FoldWeights:
        """Inner folds over each fit's own groups, then the fit on all of them."""
        fits = np.zeros((len(train), self.folds + 1, train.shape[1]), np.float32)
        held = np.zeros_like(fits)
        for run, rows in enumerate(train):
            numbers = np.unique(group[rows], return_inverse=True)[1]
            fold = np.full(len(rows), -1)
            fold[rows] = inner_folds(numbers, label[rows], self.folds, rng)
            for one in range(self.folds):
                held[run, one] = fold == one
                fits[run, one] = rows & (fold != one)
            fits[run, -1] = rows
        return FoldWeights(fits, held, self.folds, self.folds)


def _deal(
    pair: Pair, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, "m"], list[Int[np.ndarray, "g"]]]:
    """Rows to test, and each cell's groups to train on in random order.

    Groups with rows in the same cells are dealt in turn, one in three to the test.

    Raises:
      EvalError: A cell has too few groups for both.
    """
    cells = cells_of(pair)
    groups = np.arange(int(pair.group.max()) + 1)
    where = np.sum([np.isin(groups, own) << c for c, own in enumerate(cells)], axis=0)
    for _ in range(100):
        order = rng.permutation(groups)
        order = order[np.argsort(where[order], kind="stable")]
        tested = order[rng.integers(3) :: 3]
        train = [order[np.isin(order, np.setdiff1d(own, tested))] for own in cells]
        train = [rng.permutation(own) for own in train]
        enough = all(len(np.intersect1d(own, tested)) for own in cells)
        if enough and min(map(len, train)) >= 2:
            return np.isin(pair.group, tested), train
    raise EvalError(
        "the average performance drop needs three patients in each cell, two to train on "
        f"and one to test, and {pair.name} have {min(map(len, cells))} in the smallest, or "
        "the same in several: use more folds"
    )


def _training(pair: Pair, cells, half: int, shift: int) -> Bool[np.ndarray, "m"]:
    """The rows of half + shift groups of cells 0 and 3, half - shift of 1 and 2."""
    counts = (half + shift, half - shift, half - shift, half + shift)
    kept = np.zeros(len(pair.cell), bool)
    for cell, (own, count) in enumerate(zip(cells, counts, strict=True)):
        kept |= (pair.cell == cell) & np.isin(pair.group, own[:count])
    return kept
