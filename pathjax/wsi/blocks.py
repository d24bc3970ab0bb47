"""Decoded blocks of a TIFF's pages, joined to windows: each block is decoded once.

tifffile has the index of blocks and imagecodecs the decoders. Pages are checked and
matched with levels by the readers; nothing is resized or placed between pixels here.
"""

import collections
import concurrent.futures
import math
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pathjax.wsi.base import SlideError

CACHE_BYTES = 32 << 20  # decoded blocks kept; as much as OpenSlide keeps
# The same of blocks that are known to be read again: a row of blocks of 256 px across a
# slide of 170,000 px.
EXPECTED_BYTES = 128 << 20
MAX_BLOCK_PIXELS = 100_000_000  # of one tile or strip: more cannot be read in pieces


class Blocks:
    """Windows of some pages of a file; threads may share it.

    Args:
      path: The file, which stays open.
      pages: Pages by tifffile, 8-bit RGB.
    """

    def __init__(self, path: Path, pages: Sequence[Any]):
        self._path, self._pages = path, pages
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[tuple[int, int], Any] = (
            collections.OrderedDict()
        )
        self._bytes = 0
        # Of the page that will be read: how often each block is still needed.
        self._needed_page, self._needed = -1, np.zeros(0, np.int32)
        self._handle = os.open(path, os.O_RDONLY)

    def expect(self, page: int, windows: Iterable[tuple[int, int, int, int]]) -> None:
        """Says what will be read of a page, as `window` takes it.

        A block is then kept until the last of them, within EXPECTED_BYTES.
        """
        down, across = self._grid(page)
        needed = np.zeros((down, across), np.int32)
        for place in windows:
            rows, columns = self._touched(page, *place)
            needed[rows.start : rows.stop, columns.start : columns.stop] += 1
        with self._lock:
            self._needed_page, self._needed = page, needed.ravel()

    def window(
        self, page: int, left: int, top: int, width: int, height: int
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Pixels `[height, width, 3]` of a page; white beyond its edges.

        Raises:
          SlideError: A block is damaged.
        """
        image, across = self._pages[page], self._grid(page)[1]
        high, wide = image.chunks[:2]
        right = min(left + width, image.imagewidth)
        bottom = min(top + height, image.imagelength)
        out = np.empty((height, width, 3), np.uint8)
        if min(left, top) < 0 or right < left + width or bottom < top + height:
            out[:] = 255
        rows, columns = self._touched(page, left, top, width, height)
        for i in rows:
            for j in columns:
                block = self._block(page, i * across + j)
                y, x = i * high, j * wide
                y0, x0 = max(top, y), max(left, x)
                y1 = min(bottom, y + block.shape[0])
                x1 = min(right, x + block.shape[1])
                part = block[y0 - y : y1 - y, x0 - x : x1 - x]
                out[y0 - top : y1 - top, x0 - left : x1 - left] = part
        return out

    def close(self) -> None:
        """Closes the file and drops all blocks."""
        os.close(self._handle)
        self._kept.clear()

    def _grid(self, page: int) -> tuple[int, int]:
        """How many blocks a page has, down and across."""
        image = self._pages[page]
        rows, columns = image.chunks[:2]
        return math.ceil(image.imagelength / rows), math.ceil(
            image.imagewidth / columns
        )

    def _touched(
        self, page: int, left: int, top: int, width: int, height: int
    ) -> tuple[range, range]:
        """Rows and columns of the blocks that a window touches; empty if beyond."""
        image = self._pages[page]
        rows, columns = image.chunks[:2]

        def between(start: int, length: int, side: int, step: int) -> range:
            start, end = max(start, 0), min(start + length, side)
            return range(start // step, -(-end // step)) if start < end else range(0)

        return (
            between(top, height, image.imagelength, rows),
            between(left, width, image.imagewidth, columns),
        )

    def _block(self, page: int, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """A block, decoded by the first thread that asks and kept while it is needed."""
        key = page, index
        with self._lock:
            future = self._kept.get(key)
            mine = future is None
            if mine:
                future = self._kept[key] = concurrent.futures.Future()
            self._kept.move_to_end(key)
        if mine:
            try:
                future.set_result(self._decode(page, index))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(key, None)
                future.set_exception(error)  # threads may be waiting for it
                raise
        block = future.result()
        with self._lock:
            if mine:
                self._bytes += block.nbytes
            known = page == self._needed_page
            if known and self._needed[index] > 0:
                self._needed[index] -= 1
                if not self._needed[index]:
                    self._drop(key)
            while self._bytes > (EXPECTED_BYTES if known else CACHE_BYTES):
                oldest = next(
                    (each for each, one in self._kept.items() if one.done()), None
                )
                if oldest is None:
                    break
                self._drop(oldest)
        return block

    def _drop(self, key: tuple[int, int]) -> None:
        future = self._kept.pop(key, None)
        if future is not None:
            self._bytes -= future.result().nbytes

    def _decode(self, page: int, index: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self._pages[page]
        rows, columns = image.chunks[:2]
        # A damaged block can make a codec raise anything.
        try:
            size = image.databytecounts[index]
            if size == 0:  # a tile that was not scanned
                return np.full((rows, columns, 3), 255, np.uint8)
            data = os.pread(self._handle, size, image.dataoffsets[index])
            decoded, _, shape = image.decode(data, index, jpegtables=image.jpegtables)
            return decoded.reshape(-1, *decoded.shape[-2:])[: shape[1], : shape[2]]
        except Exception as error:
            raise SlideError(
                f"{self._path} is broken at block {index} of level {page} ({error}): "
                "copy or download it again"
            ) from error


def check_blocks(path: Path, page: Any) -> None:
    """Refuses a page whose blocks cannot be read one by one.

    Raises:
      SlideError: Not 8-bit RGB, blocks that are too large, or beyond the file's end.
    """
    end = path.stat().st_size
    shape = (page.imagelength, page.imagewidth, 3)
    # A damaged tag gives a size of 0, of 1.5, or a tuple.
    sizes = (*shape, *page.chunks)
    whole = all(isinstance(size, int) and size > 0 for size in sizes)
    if page.shape != shape or page.dtype != np.uint8 or not whole:
        raise SlideError(
            f"{path}: expected 8-bit RGB {shape}, got {page.dtype} of shape "
            f"{page.shape}: convert it"
        )
    if math.prod(page.chunks) > 3 * MAX_BLOCK_PIXELS:
        raise SlideError(
            f"{path} is stored in blocks of {page.chunks}, too large to read in parts: "
            "convert it to a tiled TIFF"
        )
    last = max(np.add(page.dataoffsets, page.databytecounts), default=0)
    if last > end:
        raise SlideError(
            f"{path} is truncated: its pixels end at byte {last}, the file at {end}; "
            "copy or download it again"
        )
