"""Neighbourhoods against scikit-learn; projections keep clusters and repeat."""

import sys

import numpy as np
import pytest
from extras import extra

from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.projection import neighbours, project, purity, reduced

neighbors = extra("sklearn.neighbors")


@pytest.fixture(scope="module")
def clusters():
    random = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 30)
    centre = 8 * random.normal(size=(3, 60))
    return (centre[label] + random.normal(size=(90, 60))).astype(np.float32), label


def test_neighbours_are_scikit_learns(clusters):
    x, _ = clusters
    near, others = neighbours(x.astype(np.float64), np.arange(90), 5)
    theirs = neighbors.NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)[1][:, 1:]
    np.testing.assert_array_equal(np.sort(near), np.sort(theirs))
    assert others


def test_neighbours_are_of_other_patients(clusters):
    x, _ = clusters
    patient = np.arange(90) // 3
    near, others = neighbours(x, patient, 10)
    assert others and (patient[near] != patient[:, None]).all()
    # With one patient there is no other.
    near, others = neighbours(x, np.zeros(90, int), 10)
    assert not others and (near != np.arange(90)[:, None]).all()


def test_purity_is_one_for_clusters_and_chance_for_shuffled_labels(clusters):
    x, label = clusters
    got = purity(x, label, np.arange(90))
    assert got.value == 1.0 and got.chance == pytest.approx(29 / 89)
    shuffled = np.random.default_rng(1).permutation(label)
    assert purity(x, shuffled, np.arange(90)).value == pytest.approx(1 / 3, abs=0.08)


def test_chance_is_of_the_rows_that_may_be_neighbours():
    """Rows of a row's own patient may not, and are all of its class."""
    patient = np.repeat(np.arange(4), 50)
    x = np.random.default_rng(0).normal(size=(200, 4))
    got = purity(x, patient // 2, patient)
    assert got.other_patients and got.chance == pytest.approx(50 / 150)
    assert got.value == pytest.approx(got.chance, abs=0.05)
    alone = purity(x, patient, patient)
    assert alone.value == alone.chance == 0


def test_of_numbers_it_is_a_correlation():
    x = np.linspace(0, 1, 50)[:, None]
    got = purity(x, x[:, 0].copy(), np.arange(50), k=4)
    assert got.value > 0.99 and got.chance == 0
    for equal in (1.0, 0.7, 0.0):  # the deviation of 0.7 is 2e-16
        assert purity(x, np.full(50, equal), np.arange(50)).value == 0


@pytest.mark.slow  # both compile with numba when they are first used
@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_clusters_stay_clusters_and_a_seed_repeats(clusters, method):
    library = {"tsne": "openTSNE", "umap": "umap"}[method]
    pytest.importorskip(library, reason="comes with pathjax[figures]")
    x, label = clusters
    places = project(reduced(x), method, seed=3)
    assert places.shape == (90, 2)
    assert purity(places, label, np.arange(90)).value > 0.95
    np.testing.assert_array_equal(places, project(reduced(x), method, seed=3))


def test_reduction_leaves_constants_out_and_standardises_if_asked(clusters):
    x, _ = clusters
    x = np.hstack([1000 * x[:, :2], np.ones((90, 1), np.float32)])
    got = reduced(x)
    np.testing.assert_allclose(got, x[:, :2] - x[:, :2].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(reduced(x, standardise=True).std(0), 1, atol=1e-4)


def test_noise_of_an_embedding_stays_small(clusters):
    x, label = clusters
    # Directions of little variance, as the last components of an SVD have them.
    noise = np.random.default_rng(2).normal(size=(90, 400))
    wide = np.hstack([x[:, :3], 0.01 * noise])
    assert purity(reduced(wide), label, np.arange(90)).value > 0.95
    spoiled = purity(reduced(wide, standardise=True), label, np.arange(90))
    assert spoiled.value < 0.8


def test_what_cannot_be_drawn_is_told(clusters, monkeypatch):
    x, _ = clusters
    with pytest.raises(ModalityError, match="tsne, umap"):
        project(x, "pca")
    with pytest.raises(ModalityError, match="10 or more"):
        project(x[:5])
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(RuntimeError, match=r"openTSNE, .*pathjax\[figures\]"):
        project(x)
