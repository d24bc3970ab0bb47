"""scikit-learn is the oracle of k-means and the silhouette."""

import numpy as np
import pytest
from extras import extra

from pathjax.evals.cells import two_by_two
from pathjax.evals.probes.clusters import Clusters, kmeans, silhouette
from pathjax.stats.robustness import clustering_score

cluster = extra("sklearn.cluster")
metrics = extra("sklearn.metrics")


def blobs(seed, centres=4, each=20, dimensions=6, spread=0.3):
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, dimensions))
    x = np.repeat(middle, each, axis=0) + rng.normal(
        0, spread, (centres * each, dimensions)
    )
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kmeans_is_scikit_learns_from_the_same_start(seed):
    x = blobs(seed)
    start = np.random.default_rng(seed).permutation(len(x))[:6]
    active = np.arange(6) < 3
    labels, away = kmeans(x, np.ones(len(x), np.float32), start[None], active[None])
    peer = cluster.KMeans(3, init=x[start[:3]], n_init=1, tol=0).fit(x)
    assert metrics.adjusted_rand_score(peer.labels_, labels[0]) == 1
    assert float(away[0]) == pytest.approx(peer.inertia_, rel=1e-4)


def test_padding_is_no_row():
    x = blobs(0)
    padded = np.concatenate([x, np.zeros((16, x.shape[1]), np.float32)])
    weight = (np.arange(len(padded)) < len(x)).astype(np.float32)
    start, active = np.array([[0, 20, 40]]), np.ones((1, 3), bool)
    labels, away = kmeans(padded, weight, start, active)
    own, wanted = kmeans(x, np.ones(len(x), np.float32), start, active)
    assert (np.asarray(labels)[0, : len(x)] == np.asarray(own)[0]).all()
    assert float(away[0]) == pytest.approx(float(wanted[0]), rel=1e-5)


@pytest.mark.parametrize("groups", [2, 5, 30])
def test_silhouette_is_scikit_learns(groups):
    x, rng = blobs(3), np.random.default_rng(groups)
    labels = rng.integers(0, groups, len(x))
    wanted = metrics.silhouette_score(x, labels, metric="cosine")
    assert silhouette(x, labels) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("axis", "wanted"), [(0, 1.0), (1, -1.0)])
def test_clusters_of_the_class_score_one_and_of_the_site_minus_one(axis, wanted):
    rng = np.random.default_rng(0)
    c, s = np.repeat([0, 1, 0, 1], 12), np.repeat([0, 0, 1, 1], 12)
    x = rng.normal(0, 0.05, (48, 5))
    x[:, 0] += np.where((c, s)[axis] == 1, 1.0, -1.0)
    (pair,), _ = two_by_two(c, s, np.arange(48) // 3)
    probe = Clusters(most=5, trials=3, starts=2, choice_starts=3)
    labels, info = probe.answer(x[pair.rows].astype(np.float32), pair)
    assert info == {"clusters": 2}
    other = -1 / 46  # the index of two labels that are exactly balanced, 12 each of 48
    found = clustering_score(pair.cell, labels, np.ones((1, 48)))
    assert found == pytest.approx([wanted * (1 - other)])
