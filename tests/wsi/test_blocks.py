"""Blocks are decoded once, kept until their last use, and any window is the array's."""

import concurrent.futures
import contextlib

import numpy as np
import pytest
from extras import extra
from made_slides import slide, write_tiff

from pathjax.wsi import blocks
from pathjax.wsi.base import SlideError
from pathjax.wsi.blocks import Blocks

tifffile = extra("tifffile")

PIXELS = slide(230, 310)
BLOCK = 64 * 64 * 3  # bytes


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Blocks of 64 px of a made slide, and the number of each that was decoded."""
    path, decoded = write_tiff(tmp_path / "a.tif", PIXELS, 0.5), []
    inner = Blocks._decode

    def decode(self, page, index):
        decoded.append(index)
        return inner(self, page, index)

    monkeypatch.setattr(Blocks, "_decode", decode)
    with (
        tifffile.TiffFile(path) as file,
        contextlib.closing(Blocks(path, file.pages)) as made,
    ):
        yield made, decoded


# Row by row, of a size that leaves the last row and column of each block to the next.
PLACES = [(x, y, 50, 50) for y in range(0, 200, 50) for x in range(0, 300, 50)]


def check(made, place):
    left, top, width, height = place
    window = PIXELS[top : top + height, left : left + width]
    np.testing.assert_array_equal(
        made.window(0, *place)[: len(window), : len(window[0])], window
    )


@pytest.mark.parametrize("threads", [1, 4])
def test_expected_blocks_are_decoded_once_and_dropped_after_their_last_use(
    opened, monkeypatch, threads
):
    monkeypatch.setattr(blocks, "CACHE_BYTES", 0)
    made, decoded = opened
    made.expect(0, PLACES)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda place: check(made, place), PLACES))
    assert sorted(decoded) == list(range(20))
    assert not made._kept and made._bytes == 0


def test_others_are_decoded_again_where_no_room_is_left(opened, monkeypatch):
    monkeypatch.setattr(blocks, "CACHE_BYTES", 2 * BLOCK)
    made, decoded = opened
    for place in PLACES:
        check(made, place)
        assert made._bytes <= 2 * BLOCK
    assert set(decoded) == set(range(20)) and len(decoded) > 20


def test_more_than_was_expected_may_be_read_within_the_limit(opened, monkeypatch):
    monkeypatch.setattr(blocks, "EXPECTED_BYTES", 3 * BLOCK)
    made, decoded = opened
    made.expect(0, PLACES)
    for place in [*PLACES, *reversed(PLACES), (-30, -20, 90, 80), (290, 200, 90, 80)]:
        if min(place) >= 0:
            check(made, place)
        assert made._bytes <= 3 * BLOCK
    beyond = made.window(0, -30, 200, 60, 60)
    assert (beyond[:, :30] == 255).all() and (beyond[30:] == 255).all()
    np.testing.assert_array_equal(beyond[:30, 30:], PIXELS[200:, :30])
    assert len(decoded) > 20


def test_every_thread_that_waits_for_a_broken_block_is_told(opened, monkeypatch):
    made, _ = opened

    def decode(page, index):
        raise SlideError("broken there")

    monkeypatch.setattr(made, "_decode", decode)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(made.window, 0, 0, 0, 10, 10) for _ in range(20)]
        assert all(isinstance(one.exception(), SlideError) for one in tries)
    assert not made._kept
