"""The tiles of a slide: its own pixels at the model's scale, where there is tissue."""

import numpy as np
import pytest
from made_slides import glass, slide, write_tiff

from pathjax.predict.slide_tiles import SlideTiles
from pathjax.wsi.base import SlideError


def identity(tile):
    return tile


def test_tiles_are_the_slide_s_own_pixels(tmp_path):
    pixels = slide(600, 900)
    path = write_tiff(tmp_path / "s.tif", pixels, 0.5)
    source = SlideTiles(path, mpp=0.5, tile_px=64, stride_px=64)
    rows = np.arange(len(source))
    assert len(source) > 20 and source.mpp == pytest.approx(0.5)
    batches = list(source.batches(rows, batch=7, px=64, prepare=identity))
    got = np.concatenate([one["image"][one["mask"]] for one in batches])
    for tile, (x, y) in zip(got, source.coords(rows), strict=True):
        np.testing.assert_array_equal(tile, pixels[y : y + 64, x : x + 64])
    # Tissue lies in the middle two thirds; a tile needs 35 % of it.
    assert source.places.min(axis=0)[1] >= 64
    some = next(source.batches(rows[[3, 9]], batch=2, px=64, prepare=identity))
    np.testing.assert_array_equal(some["image"], got[[3, 9]])
    assert len(set(source.tile_ids(rows))) == len(rows)


def test_the_scale_is_the_model_s(tmp_path):
    path = write_tiff(tmp_path / "s.tif", slide(600, 900), 0.25)
    source = SlideTiles(path, mpp=0.5, tile_px=64, stride_px=32)
    assert source.reading.extent == 128
    assert np.diff(np.unique(source.places[:, 0])).tolist()[0] == 64
    batch = next(source.batches(np.arange(2), batch=2, px=64, prepare=identity))
    assert batch["image"].shape == (2, 64, 64, 3)


def test_no_scale_and_no_tissue_are_refused(tmp_path):
    path = write_tiff(tmp_path / "s.tif", slide(500, 500), None)
    with pytest.raises(SlideError, match="unknown.*--slide-mpp"):
        SlideTiles(path, mpp=0.5, tile_px=32, stride_px=32)
    source = SlideTiles(path, mpp=0.5, tile_px=32, stride_px=32, given_mpp=0.5)
    other = SlideTiles(path, mpp=0.5, tile_px=32, stride_px=16, given_mpp=0.5)
    assert source.fingerprint != other.fingerprint
    empty = write_tiff(tmp_path / "e.tif", glass(500, 500), 0.5)
    with pytest.raises(SlideError, match="no tile of 32 px"):
        SlideTiles(empty, mpp=0.5, tile_px=32, stride_px=32)
    with pytest.raises(SlideError, match="too coarse"):
        SlideTiles(path, mpp=0.5, tile_px=32, stride_px=32, given_mpp=1.0)
