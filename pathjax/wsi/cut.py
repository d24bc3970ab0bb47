"""Encoded tiles of a slide, in order.

Consecutive tiles of a row are read as one region and cut, and the slide is told all
regions before, so that each block of the file is decoded about once instead of once per
tile (docs/tiling.md, "Speed"). Memory is that of a few regions and of a row of blocks.
"""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from pathjax.data.images import encode_jpeg
from pathjax.wsi.base import Slide
from pathjax.wsi.scale import Reading

T, R = TypeVar("T"), TypeVar("R")
# Of one region, three tiles of 224 px: it stays in a core's cache while it is cut, and
# the blocks that two regions share stay in the reader's.
REGION_PIXELS = 160 << 10


def runs(
    places: Int[np.ndarray, "n 2"], reading: Reading, downsample: float
) -> Iterator[Int[np.ndarray, "k 2"]]:
    """Groups consecutive places that can be read as one region.

    They follow each other in a row without a gap, at whole pixels of the level: a
    reader may place a region at a fraction of a pixel, and only the same fraction for
    all of a run makes cutting equal to reading tile by tile.
    """
    most = max(1, REGION_PIXELS // reading.side**2)
    start = 0
    for end in range(1, len(places) + 1):
        if end < len(places) and end - start < most:
            step = places[end] - places[end - 1]
            offset = (places[end, 0] - places[start, 0]) / downsample
            adjacent = step[1] == 0 and 0 < step[0] <= reading.extent + downsample
            if adjacent and offset == int(offset):
                continue
        yield places[start:end]
        start = end


def region_of(
    places: Int[np.ndarray, "k 2"], reading: Reading, downsample: float
) -> tuple[int, int, int, int]:
    """The region of a run as `Slide.read` takes it: x, y, width and height."""
    (x, y), last = places[0].tolist(), places[-1, 0]
    width = int((last - x) / downsample) + reading.side
    return x, y, width, reading.side


def read_run(
    slide: Slide, places: Int[np.ndarray, "k 2"], reading: Reading
) -> list[UInt8[np.ndarray, "P P 3"]]:
    """The tiles of one run.

    Raises:
      SlideError: The slide is damaged there.
    """
    downsample = slide.levels[reading.level].downsample
    offsets = ((places[:, 0] - places[0, 0]) / downsample).astype(int)
    x, y, width, height = region_of(places, reading, downsample)
    region = slide.read(x, y, reading.level, width, height)
    return [
        reading.resize(region[:, offset : offset + reading.side]) for offset in offsets
    ]


def encoded_tiles(
    slide: Slide,
    places: Int[np.ndarray, "n 2"],
    reading: Reading,
    quality: int,
    threads: int = 1,
) -> Iterator[bytes]:
    """JPEG bytes of the tile at each place (top left corner, level-0 pixels), in order.

    `threads` runs are read, resized and encoded at once; the bytes do not depend on it.

    Raises:
      SlideError: The slide is damaged at one of the places.
    """

    def encoded(run):
        return [encode_jpeg(tile, quality) for tile in read_run(slide, run, reading)]

    downsample = slide.levels[reading.level].downsample
    slide.expect(
        reading.level,
        (
            region_of(run, reading, downsample)
            for run in runs(places, reading, downsample)
        ),
    )
    every = runs(places, reading, downsample)
    yield from in_order(encoded, every, threads, 2 * threads)


def in_order(
    work: Callable[[T], Iterable[R]], items: Iterable[T], threads: int, ahead: int
) -> Iterator[R]:
    """What `work` gives for each item, one after another; `ahead` items are begun."""
    if threads == 1:
        for item in items:
            yield from work(item)
        return
    waiting = iter(items)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        begun = collections.deque(
            pool.submit(work, item) for item in itertools.islice(waiting, ahead)
        )
        while begun:
            yield from begun.popleft().result()
            begun.extend(
                pool.submit(work, item) for item in itertools.islice(waiting, 1)
            )
