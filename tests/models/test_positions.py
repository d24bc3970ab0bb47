"""Resizing positions: what bicubic keeps, and each rule against an independent one."""

import numpy as np
import pytest
from PIL import Image

from pathjax.models.positions import RULES, resize_matrix, resize_positions


def test_positions_of_an_equal_grid_are_untouched():
    grid = np.random.default_rng(0).normal(size=(1, 16, 8)).astype(np.float32)
    assert resize_positions(grid, (4, 4), (4, 4)) is grid


def test_resized_positions_keep_what_bicubic_keeps():
    """A constant stays one, and a plane stays linear away from the edges."""
    rows, columns = np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij")
    grid = np.stack([np.full_like(rows, 3.5), rows + 2 * columns], axis=-1)
    grid = grid.reshape(1, 144, 2).astype(np.float32)
    for new in ((6, 6), (24, 18)):
        found = np.asarray(resize_positions(grid, (12, 12), new))
        assert found.shape == (1, new[0] * new[1], 2)
        np.testing.assert_allclose(found[..., 0], 3.5, rtol=1e-6)
        plane = found[0, :, 1].reshape(new)
        centres = [(np.arange(n) + 0.5) * 12 / n - 0.5 for n in new]
        expected = centres[0][:, None] + 2 * centres[1][None]
        inner = tuple(slice(n // 3, -(n // 3)) for n in new)
        np.testing.assert_allclose(plane[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("old", "new"), [(37, 16), (14, 16), (16, 7), (5, 31)])
def test_rows_sum_to_one(rule, old, new):
    matrix = resize_matrix(old, new, rule)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(37, 16), (14, 16), (16, 7)])
def test_timm_is_pillow(old, new):
    """timm's kernel is Pillow's, which PyTorch's antialiased resize was made after."""
    line = np.random.default_rng(0).normal(size=(old, old)).astype(np.float32)
    picture = Image.fromarray(line, mode="F").resize((new, new), Image.BICUBIC)
    matrix = resize_matrix(old, new, "timm")
    np.testing.assert_allclose(matrix @ line @ matrix.T, picture, atol=1e-5)


def test_the_offset_of_dino():
    """Where a new position looks: one tenth of a patch makes a difference."""
    ramp = np.arange(37.0)
    inner = slice(4, 12)
    plain, offset = (
        (resize_matrix(37, 16, rule) @ ramp)[inner] for rule in ("torch", "dinov2")
    )
    places = np.arange(16)[inner] + 0.5
    # a = -0.75 keeps a plane only at half-way points; within a tenth elsewhere.
    np.testing.assert_allclose(plain, places * 37 / 16 - 0.5, atol=0.13)
    np.testing.assert_allclose(offset, places * 37 / 16.1 - 0.5, atol=0.13)
    np.testing.assert_allclose(plain - offset, places * (37 / 16 - 37 / 16.1), atol=0.2)


def test_an_unknown_rule():
    with pytest.raises(ValueError, match="expected one of"):
        resize_matrix(4, 8, "nearest")
