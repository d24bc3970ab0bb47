"""Maps: squares where tiles are, a range, a round scale bar, a picture on disk."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.predict.maps import (
    Picture,
    draw_map,
    mosaic,
    of_study,
    painted,
    scale_bar,
    shrunk,
    span,
)
from pathjax.wsi.base import SlideError
from pathjax.wsi.overview import THUMBNAIL_PX, Overview

PICTURE = Picture(np.full((40, 60, 3), 230, np.uint8), 0.1, "made")


def test_tiles_are_painted_where_they_lie():
    x, y, side = (
        np.array([100.0, 200, 300]),
        np.array([50.0, 50, 50]),
        np.full(3, 100.0),
    )
    raster = painted(PICTURE, x, y, side, np.array([1.0, 3.0, np.nan]))
    expected = np.full((40, 60), np.nan)
    expected[0:10, 5:15], expected[0:10, 15:25] = 1, 3
    np.testing.assert_array_equal(raster, expected)
    both = painted(PICTURE, x[:1].repeat(2), y[:2], side[:2], np.array([1.0, 3.0]))
    assert both[5, 10] == 2
    tiny = painted(PICTURE, x[:1], y[:1], np.ones(1), np.ones(1))
    assert np.isfinite(tiny).sum() == 1


def test_the_range_leaves_odd_tiles_out():
    low, high = span(np.r_[np.linspace(0, 1, 1001), np.nan, 500])
    assert low == pytest.approx(0.01, abs=2e-3) and high < 1
    assert span(np.full(3, 2.0)) == (2.0, 3.0)
    assert span(np.array([np.nan])) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("um", "label"), [(10.0, "100 µm"), (1000.0, "10 mm"), (0.4, "5 µm")]
)
def test_the_bar_is_round_and_about_a_fifth(um, label):
    axes = Figure().add_subplot()
    axes.set_xlim(0, 70)
    axes.set_ylim(40, 0)
    scale_bar(axes, um)
    assert axes.texts[0].get_text() == label
    long = np.ptp(axes.lines[0].get_xdata()) * um
    number, unit = label.split()
    assert long == pytest.approx(float(number) * (1000 if unit == "mm" else 1))
    bare = Figure().add_subplot()
    scale_bar(bare, float("nan"))
    assert not bare.texts


def test_a_map_is_drawn(tmp_path):
    values = np.array([1.0, 2.0])
    place, side = np.array([100.0, 300.0]), np.full(2, 150.0)
    raster = painted(PICTURE, place, place / 2, side, values)
    path = tmp_path / "map.png"
    draw_map(
        path,
        PICTURE,
        raster,
        values,
        title="A$",
        note="note",
        unit="u",
        level0_mpp=0.5,
    )
    with Image.open(path) as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    # Viridis's yellow and violet are there; nothing of the kind is in the picture.
    assert (colours[:, 0] - colours[:, 2] > 60).any()
    assert (colours[:, 2] - colours[:, 1] > 40).any()


def test_tiles_are_put_where_they_belong():
    tiles = [np.full((8, 8, 3), value, np.uint8) for value in (10, 90)]
    table = pd.DataFrame({"x": [4.0, 20.0], "y": [4.0, 12.0]})
    picture = mosaic(iter(tiles), table, 8.0)
    expected = np.full((16, 24, 3), 255, np.uint8)
    expected[0:8, 0:8], expected[8:16, 16:24] = 10, 90
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.scale == 1.0


def test_large_ones_are_shrunk():
    pixels = np.zeros((600, 2 * THUMBNAIL_PX, 3), np.uint8)
    picture = shrunk(Overview(pixels, 16.0, 8.0), "here")
    assert picture.pixels.shape == (300, THUMBNAIL_PX, 3)
    assert picture.scale == pytest.approx(1 / 32)


def test_a_study_s_slide(tiny_study, tmp_path):
    rows = np.arange(3)
    table = pd.DataFrame({"slide_id": "P00a", "x": [16.0, 48, 80], "y": [16.0] * 3})
    picture = of_study(tiny_study, rows, table, 1.0)
    tiles = [decode_tile(data) for data in tiny_study.tile_bytes(rows)]
    np.testing.assert_array_equal(picture.pixels, np.concatenate(tiles, axis=1))
    with pytest.raises(SlideError, match="has no picture of slide P00a"):
        of_study(tiny_study, rows, table, 1.0, tmp_path)
    Image.fromarray(np.full((32, 96, 3), 7, np.uint8)).save(tmp_path / "P00a.png")
    given = of_study(tiny_study, rows, table, 1.0, tmp_path)
    assert (given.pixels == 7).all() and given.source == "P00a.png"
