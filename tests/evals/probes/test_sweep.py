"""Rotated features give the ridge solution of the features themselves; blocks give the whole.

NumPy is the oracle.
"""

import jax
import numpy as np
import pytest

from pathjax.evals.probes.sweep import each_row, over_rows, rotated


@pytest.mark.parametrize("rows", [1, 2047, 2048, 2049, 4096])
def test_rows_are_summed_in_blocks_of_any_length(rows):
    x = np.random.default_rng(0).normal(size=(rows, 2, 3)).astype(np.float32)

    def gram(part):
        flat = part.reshape(len(part), -1)
        return flat.T @ flat

    flat = x.reshape(rows, -1).astype(float)
    found = jax.jit(lambda x: over_rows(gram, x))(x)
    np.testing.assert_allclose(found, flat.T @ flat, atol=1e-4 * rows)


@pytest.mark.parametrize("width", [9, 60])  # fewer features than rows, and more
def test_ridge_regression_of_rotated_features_is_that_of_the_features(width):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, width)) * 3 + 5, rng.normal(size=30)
    x[:, 1] = x[:, 0]  # a direction without variance
    weight = rng.integers(0, 3, 30).astype(float)
    mean = np.average(x, axis=0, weights=weight)
    scale = np.average((x - mean) ** 2, axis=0, weights=weight) ** 0.5
    z = (x - mean) / scale

    def ridge(features):
        table = features.T @ (weight[:, None] * features) + 2 * np.eye(len(features.T))
        return np.linalg.solve(table, features.T @ (weight * y))

    single = (part.astype(np.float32) for part in (x, mean, scale, weight))
    features, variance, of_x = rotated(*single)
    params = ridge(np.asarray(features, float))
    wanted = ridge(z) / scale
    np.testing.assert_allclose(jax.jit(of_x)(params), wanted, atol=1e-5)
    np.testing.assert_allclose(features @ params, z @ (wanted * scale), atol=2e-5)
    moments = np.average(np.asarray(features) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(variance, moments, atol=1e-4 * moments.max())


@pytest.mark.parametrize("rows", [3, 8, 16, 21])  # less than a block, blocks, a rest
def test_blocks_of_rows_give_what_all_rows_give(rows):
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)

    @jax.jit
    def run(x, weight):
        return each_row(lambda x, w: (x * w[:, None], w), x, weight, at_once=8)

    weight = x[:, 0] + 1
    product, same = run(x, weight)
    np.testing.assert_array_equal(product, x * weight[:, None])
    np.testing.assert_array_equal(same, weight)
