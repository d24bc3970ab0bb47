"""Pictures of slides: shrunk, given, or put together from tiles."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.predict.pictures import mosaic, of_study, shrunk
from pathjax.wsi.base import SlideError
from pathjax.wsi.overview import THUMBNAIL_PX, Overview


def test_tiles_are_put_where_they_belong():
    tiles = [np.full((8, 8, 3), value, np.uint8) for value in (10, 90)]
    table = pd.DataFrame({"x": [4.0, 20.0], "y": [4.0, 12.0]})
    picture = mosaic(iter(tiles), table, 8.0)
    wanted = np.full((16, 24, 3), 255, np.uint8)
    wanted[0:8, 0:8], wanted[8:16, 16:24] = 10, 90
    np.testing.assert_array_equal(picture.pixels, wanted)
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
