import numpy as np
import pytest
from extras import extra

from pathjax.embeddings.pixels import SIDE, components, reduced, tile_features

decomposition = extra("sklearn.decomposition")


def test_components_are_scikit_learns():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(60, 8)) @ rng.normal(size=(8, 20))).astype(np.float32)
    found = components(values, 5)
    expected = decomposition.PCA(5, svd_solver="full").fit_transform(
        values.astype(np.float64)
    )
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)


def test_blocks_are_averaged():
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 256, (2, 2 * SIDE + 1, 3 * SIDE, 3), np.uint8)
    found = reduced(tile).reshape(2, SIDE, SIDE, 3)
    expected = tile[1, 4:6, 9:12].astype(np.float64).mean(axis=(0, 1)) / 255
    np.testing.assert_allclose(found[1, 2, 3], expected, atol=1e-6)
    with pytest.raises(ValueError, match="at least 28 px"):
        reduced(tile[:, :20])


@pytest.mark.slow
def test_a_study_has_a_row_per_tile(tiny_study):
    found = tile_features(tiny_study)
    assert found.shape == (len(tiny_study.tiles), min(128, len(tiny_study.tiles) - 1))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, tile_features(tiny_study, batch=7))
