"""Measures of collapse, against NumPy in float64."""

import numpy as np
import pytest

from pathjax.losses import emptied
from pathjax.losses.spread import closeness, effective_rank, uniformity


def made(seed=0, rows=9, dims=5):
    random = np.random.default_rng(seed)
    z = random.normal(size=(rows, dims)) + 0.7
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    mask, ids = random.random(rows) < 0.7, random.integers(0, 5, rows).astype(np.int32)
    return z, mask, ids


@pytest.mark.parametrize("chunk", [0, 3])
def test_uniformity_is_that_of_pairs_that_are_not_positives(chunk):
    z, mask, ids = made()
    near, inside = np.zeros(9), np.flatnonzero(mask)
    for i in inside:
        others = [j for j in inside if ids[j] != ids[i]]
        apart = np.square(z[others].astype(np.float64) - z[i]).sum(axis=1)
        near[i] = np.exp(-2 * apart).mean()
    z[~mask] = np.nan
    rows = emptied(z, mask, ids)
    found = closeness(rows, rows, chunk)
    np.testing.assert_allclose(found, near, rtol=1e-5)
    expected = np.log(near[inside].mean())
    assert float(uniformity(found, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(uniformity(found, np.zeros(9, bool))) == 0


def test_effective_rank_is_the_participation_ratio():
    z, mask, ids = made(1)
    eigenvalues = np.linalg.eigvalsh(np.cov(z[mask].astype(np.float64).T))
    expected = eigenvalues.sum() ** 2 / np.square(eigenvalues).sum()
    z[~mask] = np.nan
    assert float(effective_rank(emptied(z, mask, ids))) == pytest.approx(
        expected, rel=1e-4
    )
    same = emptied(np.tile(z[mask][:1], (9, 1)), mask, ids)
    assert float(effective_rank(same)) == 0
