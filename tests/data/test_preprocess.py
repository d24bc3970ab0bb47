"""Preprocessing against a filter written out in NumPy; torchvision's is a peer test."""

import dataclasses

import numpy as np
import pytest

from pathjax.data.preprocess import Preprocess, centre_square, resize_short_side


def triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def keys(x):
    """Keys 1981, equation 4 with a = -1/2."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


FILTERS = {"bilinear": (triangle, 1), "bicubic": (keys, 2)}


def weights(old, new, interpolation):
    """[new, old]: the filter, stretched when shrinking, at each output pixel's centre.

    Pillow's and torch's window: whole input pixels around the centre, cut at the edges.
    """
    kernel, support = FILTERS[interpolation]
    scale = old / new
    stretch = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    low = np.maximum(np.floor(centre - support * stretch + 0.5), 0)
    high = np.minimum(np.floor(centre + support * stretch + 0.5), old)
    pixel = np.arange(old)
    inside = (pixel >= low[:, None]) & (pixel < high[:, None])
    w = kernel((pixel + 0.5 - centre[:, None]) / stretch) * inside
    return w / w.sum(axis=1, keepdims=True)


def apply(w, x):
    """Weights [new, old] over the first axis, rounded to the nearest of 256 levels.

    Ties are common where the scale is a ratio of small numbers. Pillow decides them by
    weights that are multiples of 2^-22; so does this.
    """
    w = np.floor(w * 2**22 + 0.5)
    return np.clip(np.floor(np.tensordot(w, x, 1) / 2**22 + 0.5), 0, 255)


def oracle(tile, size, interpolation):
    """Rows, then columns, in float64, rounded after each."""
    height, width = size
    x = tile.astype(np.float64).transpose(1, 0, 2)
    if width != len(x):
        x = apply(weights(len(x), width, interpolation), x)
    x = x.transpose(1, 0, 2)
    if height != len(x):
        x = apply(weights(len(x), height, interpolation), x)
    return x


def noise(height, width):
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "px", "size"),
    [
        (50, 50, 224, (224, 224)),  # enlarged
        (97, 61, 32, (50, 32)),  # shrunk, odd, upright: 32 * 97 / 61 = 50.9
        (61, 97, 33, (33, 52)),  # 52.5
        (64, 128, 64, (64, 128)),  # as it is
        (40, 41, 40, (40, 41)),  # as it is
        (300, 7, 9, (385, 9)),  # 385.7
        (131, 25, 24, (125, 24)),  # tall: Pillow 13 alone would do the columns first
        (2, 3, 1, (1, 1)),
    ],
)
def test_resizing_is_the_filter_written_out(height, width, px, size, interpolation):
    tile = noise(height, width)
    found = resize_short_side(tile, px, interpolation)
    assert found.shape == (*size, 3) and found.dtype == np.uint8
    wanted = oracle(tile, size, interpolation)
    np.testing.assert_array_equal(found, wanted)


def test_a_flat_image_stays_flat_and_a_size_that_fits_is_not_touched():
    flat = np.full((31, 45, 3), 200, np.uint8)
    assert (resize_short_side(flat, 77, "bicubic") == 200).all()
    tile = noise(20, 30)
    assert resize_short_side(tile, 20, "bilinear") is tile


@pytest.mark.parametrize(
    ("side", "px", "first"),
    [(10, 4, 3), (11, 4, 4), (9, 4, 2), (7, 4, 2), (5, 4, 0), (4, 4, 0)],
)
def test_an_odd_margin_is_halved_to_the_even_neighbour(side, px, first):
    ramp = np.broadcast_to(
        np.arange(side, dtype=np.uint8)[:, None, None], (side, px, 3)
    )
    np.testing.assert_array_equal(
        centre_square(ramp, px)[:, 0, 0], np.arange(first, first + px)
    )


def test_what_is_too_small_gets_black_around_it():
    ones = np.ones((3, 8, 3), np.uint8)
    found = centre_square(ones, 6)[..., 0]
    np.testing.assert_array_equal(found[:, 0], [0, 1, 1, 1, 0, 0])
    assert found.shape == (6, 6) and (found == found[:, :1]).all()


def test_resize_then_crop():
    tile = noise(60, 90)
    found = Preprocess(32, 24, "bicubic")(tile)
    wanted = oracle(tile, (32, 48), "bicubic")[4:28, 12:36]
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.uint8 and found.shape == (24, 24, 3)


def test_it_travels_as_json_and_refuses_what_it_cannot_do():
    one = Preprocess(256, 224, "bicubic")
    assert Preprocess.from_json(dataclasses.asdict(one)) == one
    with pytest.raises(ValueError, match="expected the keys .*'size'"):
        Preprocess.from_json({"size": 224})
    with pytest.raises(ValueError) as caught:
        Preprocess(0, 2.5, "lanczos")
    for text in (
        "least 1, got 0",
        "got 2.5",
        "expected bilinear or bicubic, got 'lanczos'",
    ):
        assert text in str(caught.value)
