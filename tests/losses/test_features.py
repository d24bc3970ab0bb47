"""Distances of features, against NumPy in float64."""

import jax
import numpy as np
import pytest

from pathjax.losses import feature_distance


def oracle(a, b, distance):
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if distance == "cosine":
        norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        return 1 - (a * b).sum(-1) / norms
    a, b = ((x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) for x in (a, b))
    return ((a - b) ** 2).mean(-1)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_distances_are_numpys(distance):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 4, 3, 16)).astype(np.float32)
    found = feature_distance(a, b, distance)
    np.testing.assert_allclose(found, oracle(a, b, distance), atol=1e-5)
    np.testing.assert_allclose(feature_distance(a, 7 * a, distance), 0, atol=1e-5)
    opposite = feature_distance(a, -a, distance)
    np.testing.assert_allclose(opposite, {"cosine": 2, "mse": 4}[distance], atol=1e-4)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_zeros_have_a_finite_gradient(distance):
    zeros = np.zeros((2, 4), np.float32)
    total = lambda a: feature_distance(a, zeros + 1, distance).sum()
    assert np.isfinite(jax.grad(total)(zeros)).all()


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="shapes do not agree"):
        feature_distance(np.zeros((2, 4), np.float32), np.zeros((2, 1), np.float32))
