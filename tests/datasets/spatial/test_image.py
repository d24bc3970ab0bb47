import numpy as np
import pytest
from PIL import Image

from pathjax.datasets.spatial.image import cut_tile

GREY = np.array([9, 99, 199], np.uint8)


def smooth(height=300, width=400):
    """Red is ten times x / 16, green is y / 2, at pixel centres."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x * 10 / 16, y / 2, np.full_like(x, 77)], -1).astype(np.uint8)


@pytest.mark.parametrize("side", [20.0, 32.5, 163.3])
@pytest.mark.parametrize("tile_px", [32, 33])
def test_tile_is_centred_and_sized(side, tile_px):
    tile, filled = cut_tile(smooth(), (200.25, 150.5), side, tile_px, GREY)
    assert tile.shape == (tile_px, tile_px, 3) and filled == 0
    at = (np.arange(tile_px) + 0.5) * side / tile_px - side / 2
    red = (200.25 + at) * 10 / 16
    green = (150.5 + at) / 2
    assert np.abs(tile[..., 0].mean(0) - (red - 0.5)).max() < 1.0  # uint8 floors
    assert np.abs(tile[..., 1].mean(1) - (green - 0.5)).max() < 1.0


@pytest.mark.parametrize("side", [40.0, 150.6])
def test_inside_the_image_equals_pillow_on_the_whole_of_it(side):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    x, y = 180.3, 140.7
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    expected = Image.fromarray(image).resize(
        (64, 64), Image.Resampling.BICUBIC, box=box
    )
    tile, _ = cut_tile(image, (x, y), side, 64, GREY)
    # Pillow works in fixed point; offsets of the box may move a value by one.
    assert np.abs(tile.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("centre", "corner", "share"),
    [
        ((0.0, 150.0), (slice(None), slice(0, 14)), 0.5),
        ((400.0, 150.0), (slice(None), slice(18, 32)), 0.5),
        ((200.0, 0.0), (slice(0, 14), slice(None)), 0.5),
        ((200.0, 300.0), (slice(18, 32), slice(None)), 0.5),
        ((0.0, 0.0), (slice(0, 14), slice(None)), 0.75),
    ],
)
def test_edges_are_filled_with_the_background_and_measured(centre, corner, share):
    tile, filled = cut_tile(smooth(), centre, 64.0, 32, GREY)
    np.testing.assert_array_equal(
        tile[corner], np.broadcast_to(GREY, tile[corner].shape)
    )
    assert filled == pytest.approx(share)


def test_far_outside_is_all_background():
    tile, filled = cut_tile(smooth(), (-900.0, 2000.0), 64.0, 32, GREY)
    assert (tile == GREY).all() and filled == 1


def test_blank_pixels_are_filled_and_measured():
    image = smooth()
    blank = np.zeros(image.shape[:2], bool)
    blank[:, 200:] = True
    image[blank] = 0
    tile, filled = cut_tile(image, (200.0, 150.0), 64.0, 32, GREY, blank)
    assert filled == pytest.approx(0.5)
    np.testing.assert_array_equal(tile[:, 18:], np.broadcast_to(GREY, (32, 14, 3)))
    assert (tile[:, :14, 2] == 77).all()
