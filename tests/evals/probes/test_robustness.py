"""Made embeddings whose robustness is known; scikit-learn is the oracle of neighbours."""

import numpy as np
import pytest
from extras import extra

from pathjax.evals import EvalError
from pathjax.evals.cells import two_by_two
from pathjax.evals.probes.knn import neighbours
from pathjax.evals.probes.robustness import (
    ConfoundedTraining,
    NeighbourIndex,
    _deal,
    _training,
    class_accuracy,
)
from pathjax.stats.robustness import average_drop, share_of_biology

neighbors = extra("sklearn.neighbors")

PATIENTS, TILES = 6, 3


def made(biology: float, site: float, seed: int = 0, patients: int = PATIENTS):
    """A pair whose embeddings know class and site with these strengths."""
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(4), patients * TILES)
    group = np.repeat(np.arange(4 * patients), TILES)
    c, s = np.where(cell >> 1, 1.0, -1.0), np.where(cell & 1, 1.0, -1.0)
    x = rng.normal(0, 0.3, (len(cell), 8))
    x[:, 0] += biology * c
    x[:, 1] += site * s
    (pair,), _ = two_by_two(c, s, group)
    return x[pair.rows].astype(np.float32), pair


def index(x, pair, k=5):
    near, _ = NeighbourIndex(k=k).answer(x, pair)
    return share_of_biology(pair.cell, near, np.ones((1, len(x))), k)[0]


def test_neighbours_are_scikit_learns_of_other_groups():
    rng = np.random.default_rng(1)
    x, group = rng.normal(size=(300, 6)).astype(np.float32), np.arange(300) // 4
    found = neighbours(x, group, 9)
    search = neighbors.NearestNeighbors(n_neighbors=13, metric="cosine").fit(x)
    for row, near in enumerate(search.kneighbors(x, return_distance=False)):
        assert found[row].tolist() == near[group[near] != group[row]][:9].tolist()


def test_too_few_neighbours_are_filled_up():
    found = neighbours(np.eye(4, dtype=np.float32), np.array([0, 0, 0, 1]), 3)
    assert (found[0] == [3, -1, -1]).all()
    assert sorted(found[3].tolist()) == [0, 1, 2]


def test_pure_biology_is_one_and_pure_site_is_zero():
    assert index(*made(5, 0)) == 1
    assert index(*made(0, 5)) == 0


def test_independent_embeddings_are_half():
    values = [index(*made(0, 0, seed, patients=20)) for seed in range(10)]
    error = np.std(values, ddof=1) / 10**0.5
    assert abs(np.mean(values) - 0.5) < 3 * error + 0.01


def test_k_must_leave_neighbours():
    x, pair = made(1, 1)
    with pytest.raises(EvalError, match="k = 70 is more than the 69 neighbours"):
        NeighbourIndex(k=70).answer(x, pair)


def test_class_accuracy_is_a_majority_vote():
    x, pair = made(0.4, 1)
    near, _ = NeighbourIndex(k=21).answer(x, pair)
    truth = pair.cell >> 1
    for k, value in class_accuracy(near, pair.cell).items():
        votes = [np.bincount(truth[row[:k]], minlength=2).argmax() for row in near]
        right = np.array(votes) == truth
        wanted = (right[truth == 0].mean() + right[truth == 1].mean()) / 2
        assert value == pytest.approx(wanted)


def drop(x, pair, **options):
    probe = ConfoundedTraining(repetitions=3, l2=(1.0, 0.01), **options)
    hits, info = probe.answer(x, pair)
    return average_drop(pair.cell, hits, np.ones((1, len(x))))[0], hits, info


def test_training_on_confounded_cells_costs_nothing_where_site_is_not_known():
    x, pair = made(3, 0)
    value, hits, info = drop(x, pair)
    assert value == 0
    assert info == {"groups_of_a_cell": 2, "levels": [0, 1, 2]}
    tested = np.isfinite(hits)
    assert (tested == tested[:, :, :1]).all()
    for group in np.unique(pair.group):  # whole patients
        assert len(np.unique(tested[pair.group == group, :, 0], axis=0)) == 1
    for cell in range(4):
        assert tested[pair.cell == cell].any(axis=(0, 2)).all()


def test_levels_change_the_cells_and_not_the_number_of_patients():
    _, pair = made(0, 0)
    test, cells = _deal(pair, np.random.default_rng(0))
    for shift in (0, 1, 2):
        rows = _training(pair, cells, 2, shift)
        assert not (rows & test).any()
        sizes = [
            len(np.unique(pair.group[rows & (pair.cell == cell)])) for cell in range(4)
        ]
        assert sizes == [2 + shift, 2 - shift, 2 - shift, 2 + shift]


def test_a_site_that_is_easier_to_see_than_the_class_costs_accuracy():
    weak, strong = drop(*made(0.5, 2))[0], drop(*made(0.5, 6))[0]
    assert strong < weak < -0.05


def test_two_patients_a_cell_are_too_few_for_the_drop():
    with pytest.raises(EvalError, match="three patients in each cell"):
        drop(*made(1, 1, patients=2))
