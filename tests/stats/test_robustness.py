"""Loops over rows and scikit-learn are the oracles."""

import numpy as np
import pytest
from extras import extra

from pathjax.stats.interval import left_out
from pathjax.stats.metrics import find_metric
from pathjax.stats.robustness import (
    adjusted_rand,
    average_drop,
    clustering_score,
    independent_share,
    robustness_index_at,
    share_of_biology,
)

sklearns = extra("sklearn.metrics")


def made(seed, rows=40, patients=8, dimensions=5):
    """Embeddings, cells, and the patient of each row."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rows // patients)
    return rng.normal(size=(rows, dimensions)), patient % 4, patient


def lists(x, patient, kept, length):
    """Row numbers of the nearest kept rows of other patients, by sorting."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    out = np.full((len(x), length), -1)
    for row in range(len(x)):
        others = np.flatnonzero((patient != patient[row]) & kept)
        order = others[np.argsort(-unit[others] @ unit[row], kind="stable")][:length]
        out[row, : len(order)] = order
    return out


def index_by_loops(near, cell, kept, k):
    so = os = 0
    for row in np.flatnonzero(kept):
        for other in near[row, :k]:
            same_class = cell[row] // 2 == cell[other] // 2
            same_site = cell[row] % 2 == cell[other] % 2
            so += same_class and not same_site
            os += same_site and not same_class
    return so / (so + os)


@pytest.mark.parametrize("k", [1, 5, 9])
def test_leaving_a_patient_out_is_searching_without_it(k):
    x, cell, patient = made(k)
    everyone = np.ones(len(x), bool)
    near = lists(x, patient, everyone, k + 5)
    metric = robustness_index_at(k)
    scores = left_out(metric.terms(cell, near, patient), 8)
    assert scores[0] == pytest.approx(index_by_loops(near, cell, everyone, k))
    for one in range(8):
        kept = patient != one
        wanted = index_by_loops(lists(x, patient, kept, k), cell, kept, k)
        assert scores[1 + one] == pytest.approx(wanted)


def test_a_row_of_weight_two_is_asked_twice_and_is_two_neighbours():
    x, cell, patient = made(3)
    weight = np.random.default_rng(0).integers(0, 3, len(x))
    near = lists(x, patient, np.ones(len(x), bool), len(x))
    number = np.repeat(np.arange(len(x)), weight)
    copies = lists(x[number], patient[number], np.ones(len(number), bool), 7)
    wanted = index_by_loops(copies, cell[number], np.ones(len(number), bool), 7)
    found = share_of_biology(cell, near, weight[None], 7)
    assert found == pytest.approx([wanted])


@pytest.mark.parametrize(
    ("sizes", "wanted"), [((9, 9, 9, 9), 0.5), ((1, 2, 3, 4), 14 / 25)]
)
def test_independent_embeddings_have_the_analytic_share(sizes, wanted):
    """All rows are neighbours of all: the index is the share itself."""
    cell = np.repeat(np.arange(4), sizes)
    n = len(cell)
    near = np.stack([np.delete(np.arange(n), row) for row in range(n)])
    assert independent_share(cell) == pytest.approx(wanted)
    whole = share_of_biology(cell, near, np.ones((1, n)), n - 1)
    assert whole == pytest.approx([wanted])


def test_no_neighbour_of_either_kind_has_no_index():
    near = np.array([[1], [0]])
    assert np.isnan(share_of_biology(np.array([0, 3]), near, np.ones((1, 2)), 1))


def test_average_drop_is_that_of_balanced_accuracies():
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 4, 60)
    tested = rng.random((60, 3)) < 0.7
    hits = np.where(tested[:, :, None], rng.integers(0, 2, (60, 3, 4)), np.nan)
    weight = rng.integers(0, 2, 60)
    ratios = []
    for r in range(3):
        rows = tested[:, r] & (weight > 0)
        truth = cell[rows] // 2
        accuracy = [
            sklearns.balanced_accuracy_score(
                truth, np.where(hits[rows, r, s] == 1, truth, 1 - truth)
            )
            for s in range(4)
        ]
        ratios += [one / accuracy[0] for one in accuracy[1:]]
    found = average_drop(cell, hits, weight[None])
    assert found == pytest.approx([np.mean(ratios) - 1])


def test_levels_that_a_pair_lacks_do_not_count():
    hits = np.array([[[1.0, 1.0, np.nan]], [[1.0, 0.0, np.nan]]])
    cell = np.array([0, 2])
    assert average_drop(cell, hits, np.ones((1, 2))) == pytest.approx([-0.5])


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_compared_as_scikit_learn_does(seed):
    rng = np.random.default_rng(seed)
    cell, clusters = rng.integers(0, 4, 50), rng.integers(0, 6, (50, 2))
    clusters[:, 0] = cell // 2
    weight = rng.integers(0, 2, 50)
    kept = weight > 0
    wanted = np.mean(
        [
            sklearns.adjusted_rand_score(cell[kept] // 2, one[kept])
            - sklearns.adjusted_rand_score(cell[kept] % 2, one[kept])
            for one in clusters.T
        ]
    )
    assert clustering_score(cell, clusters, weight[None]) == pytest.approx([wanted])


def test_one_group_on_both_sides_agrees():
    assert adjusted_rand(np.array([[5.0, 0], [0, 0]])) == 1


def test_the_metrics_are_found_by_name():
    assert find_metric("robustness_index@61").label == "robustness index, k = 61"
    assert not find_metric("site_accuracy").higher_is_better
    assert find_metric("performance_drop").higher_is_better
