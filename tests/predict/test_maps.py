"""Maps: squares where tiles are, a range, a round scale bar, a picture on disk."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pathjax.predict.maps import draw_map, painted, scale_bar, span
from pathjax.predict.pictures import Picture

PICTURE = Picture(np.full((40, 60, 3), 230, np.uint8), 0.1, "made")


def test_tiles_are_painted_where_they_lie():
    x, y, side = (
        np.array([100.0, 200, 300]),
        np.array([50.0, 50, 50]),
        np.full(3, 100.0),
    )
    raster = painted(PICTURE, x, y, side, np.array([1.0, 3.0, np.nan]))
    wanted = np.full((40, 60), np.nan)
    wanted[0:10, 5:15], wanted[0:10, 15:25] = 1, 3
    np.testing.assert_array_equal(raster, wanted)
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
