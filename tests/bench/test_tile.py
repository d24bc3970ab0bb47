"""The tiler's bench: the slide that it makes, and what its turns amount to."""

import numpy as np
import pytest

pytest.importorskip("tifffile")

from pathjax.bench.options import BenchError
from pathjax.bench.tile import ratios
from pathjax.bench.tile_slide import make_slide, tissue
from pathjax.data.slides.slide import open_slide


def test_the_slide_repeats_its_tissue_at_every_level(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    pixels = np.kron(pixels, np.ones((16, 16, 1), np.uint8))  # 512: two blocks
    path = make_slide(tmp_path / "s.tiff", pixels, 1500)
    slide = open_slide(path)
    assert slide.mpp == pytest.approx((0.5, 0.5)) and slide.levels[0].width == 1500
    assert [round(one.downsample) for one in slide.levels] == [1, 4, 16, 64]
    first = slide.read(0, 0, 0, 512, 512)
    assert np.abs(first.astype(int) - pixels).mean() < 12  # JPEG, chroma halved
    np.testing.assert_array_equal(slide.read(512, 512, 0, 512, 512), first)
    coarse = slide.read(0, 0, 1, 128, 128).astype(int)
    wanted = pixels.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    assert np.abs(coarse - wanted).mean() < 12


def test_no_tissue_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(BenchError, match="CMU-1-Small-Region.svs"):
        tissue(str(tmp_path))


def test_ratios_are_of_rates_turn_by_turn():
    def turn(tiles, seconds, peak=0):
        return {"tiles": tiles, "seconds": seconds, "peak": peak}

    turns = {
        "ours, 1": [turn(100, 1, 300), turn(100, 2, 330)],
        "openslide, 1": [turn(100, 1), turn(100, 1)],
        "ours, 2": [turn(100, 0.5, 400)],
        "openslide, 2": [turn(100, 1)],
    }
    peers = {"histolab": turn(90, 9), "ours": turn(100, 1)}
    found = ratios(turns, turn(25, 1, 250), peers)
    assert found == {
        "openslide, 1": 0.75,
        "openslide, 2": 2.0,
        "memory": 1.2,
        "histolab": 10.0,
    }
