"""Tiles cut from runs are those read one by one, in order, few held at a time."""

import types

import numpy as np
import pytest
from extras import need
from made_slides import slide

from pathjax.data.images import encode_jpeg
from pathjax.wsi import cut
from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.cut import encoded_tiles, read_run, runs
from pathjax.wsi.grid import grid
from pathjax.wsi.image_file import window
from pathjax.wsi.scale import plan_reading
from pathjax.wsi.slide import open_slide

PIXELS = slide(500, 700)


def counted(pixels=PIXELS, downsample=1.0):
    """A slide in memory that notes each read."""
    height, width = pixels.shape[:2]
    reads, expected = [], []

    def expect(level, regions):
        expected.extend(regions)

    def read(x, y, level, w, h):
        reads.append((x, y, w, h))
        return window(pixels, round(x / downsample), round(y / downsample), w, h)

    levels = (Level(round(width * downsample), round(height * downsample), downsample),)
    return types.SimpleNamespace(
        levels=levels, read=read, reads=reads, expect=expect, expected=expected
    )


@pytest.mark.parametrize("tile_px", [64, 50])
@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_equal_those_read_one_by_one(tile_px, threads):
    """With gaps in the rows, as tissue leaves them."""
    made = counted()
    reading = plan_reading(made.levels, 0.25, 0.25 * 64 / tile_px, tile_px)
    places = grid((0, 0, 700, 500), 64.3, reading.extent)
    places = places[np.random.default_rng(0).random(len(places)) < 0.7]
    found = list(encoded_tiles(made, places, reading, 90, threads))
    expected = [
        encode_jpeg(reading.resize(PIXELS[y : y + 64, x : x + 64]), 90)
        for x, y in places.tolist()
    ]
    assert found == expected
    assert len(made.reads) < 0.7 * len(places)
    assert sorted(made.reads) == sorted(made.expected)


@pytest.mark.parametrize("mpp", [0.5, 1.0, 1.3, 2.6])
def test_a_real_pyramid_gives_the_pixels_of_its_tiles_one_by_one(real_data, mpp):
    """A level that is 2.0005 times smaller, so that places fall between its pixels."""
    need("openslide")
    made = open_slide(real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs")
    reading = plan_reading(made.levels, 0.5, mpp, 100)
    places = grid(made.bounds, 100 * mpp / 0.5, reading.extent)[:60]
    found = [
        tile
        for run in runs(places, reading, made.levels[reading.level].downsample)
        for tile in read_run(made, run, reading)
    ]
    for (x, y), tile in zip(places.tolist(), found, strict=True):
        alone = made.read(x, y, reading.level, reading.side, reading.side)
        np.testing.assert_array_equal(tile, reading.resize(alone))
    made.close()


def test_runs_keep_all_places_in_order_and_within_the_limit(monkeypatch):
    reading = plan_reading((Level(4000, 4000, 1.0),), 0.5, 0.5, 100)
    places = grid((0, 0, 4000, 900), 100.0, 100.0)
    monkeypatch.setattr(cut, "REGION_PIXELS", 100 * 100 * 7)
    found = list(runs(places, reading, 1.0))
    np.testing.assert_array_equal(np.concatenate(found), places)
    assert max(map(len, found)) == 7
    assert all(len(set(run[:, 1].tolist())) == 1 for run in found)
    assert list(runs(places[:0], reading, 1.0)) == []


@pytest.mark.parametrize("threads", [1, 4])
def test_no_more_is_read_ahead_than_threads_can_take(threads, monkeypatch):
    monkeypatch.setattr(cut, "REGION_PIXELS", 1)  # a tile is a run
    made = counted()
    reading = plan_reading(made.levels, 0.5, 0.5, 20)
    places = grid((0, 0, 700, 500), 20.0, 20.0)
    tiles = encoded_tiles(made, places, reading, 90, threads)
    for taken in range(1, 30):
        next(tiles)
        assert len(made.reads) <= taken + 2 * threads
    tiles.close()
    assert len(made.reads) < 50 < len(places)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_broken_place_ends_it_after_the_tiles_before(threads):
    made = counted()
    inner = made.read

    def read(x, y, *rest):
        if y >= 200:
            raise SlideError("broken there")
        return inner(x, y, *rest)

    made.read = read
    reading = plan_reading(made.levels, 0.5, 0.5, 100)
    places = grid((0, 0, 700, 500), 100.0, 100.0)
    tiles = encoded_tiles(made, places, reading, 90, threads)
    assert len([next(tiles) for _ in range(14)]) == 14
    with pytest.raises(SlideError, match="broken there"):
        next(tiles)
