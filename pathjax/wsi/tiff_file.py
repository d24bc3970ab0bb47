"""TIFF slides that OpenSlide cannot read: OME-TIFF, strips, rarer compressions.

tifffile finds pages and pyramid levels. Only the tiles or strips that a region touches
are read and decoded; the most recent stay cached. Accepts 8-bit RGB only.
"""

import functools
import math
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pathjax.optional_deps import need
from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.scale import trusted_mpp
from pathjax.wsi.tiff_tags import check_rgb, stated_mpp

CACHE_BYTES = 32 << 20  # decoded tiles or strips kept; as much as OpenSlide keeps
MAX_BLOCK_PIXELS = 100_000_000  # of one tile or strip: more cannot be read in pieces


class TiffFile:
    """A `Slide` by tifffile.

    Raises:
      SlideError: Not a TIFF, truncated, or not 8-bit RGB.
    """

    def __init__(self, path: Path):
        self._path, tifffile = path, need("tifffile", "wsi")
        # A damaged header can make tifffile raise anything.
        try:
            self._file = tifffile.TiffFile(path)
        except Exception as error:
            raise SlideError(f"tifffile cannot open {path} ({error})") from error
        try:
            self._pages = [level.keyframe for level in self._file.series[0].levels]
            self._check()
            self.mpp, self.mpp_source = trusted_mpp(
                stated_mpp(self._file, self._pages[0]), "no resolution in its TIFF tags"
            )
        except Exception as error:
            self._file.close()
            if isinstance(error, SlideError):
                raise
            raise SlideError(f"tifffile cannot read {path} ({error})") from error
        width, height = self._pages[0].imagewidth, self._pages[0].imagelength
        self.levels = tuple(
            Level(
                page.imagewidth,
                page.imagelength,
                (width / page.imagewidth + height / page.imagelength) / 2,
            )
            for page in self._pages
        )
        self.bounds = (0, 0, width, height)
        self._handle = os.open(path, os.O_RDONLY)
        kept = CACHE_BYTES // math.prod(self._pages[0].chunks)
        self._block = functools.lru_cache(maxsize=max(1, kept))(self._decode)

    def _check(self) -> None:
        check_rgb(self._path, self._pages[0])
        end = self._path.stat().st_size
        for page in self._pages:
            shape = (page.imagelength, page.imagewidth, 3)
            # A damaged tag gives a size of 0, of 1.5, or a tuple.
            sizes = (*shape, *page.chunks)
            whole = all(isinstance(size, int) and size > 0 for size in sizes)
            if page.shape != shape or page.dtype != np.uint8 or not whole:
                raise SlideError(
                    f"{self._path}: expected 8-bit RGB {shape}, got {page.dtype} of "
                    f"shape {page.shape}: convert it"
                )
            if math.prod(page.chunks) > 3 * MAX_BLOCK_PIXELS:
                raise SlideError(
                    f"{self._path} is stored in blocks of {page.chunks}, too large to "
                    "read in parts: convert it to a tiled TIFF"
                )
            last = max(np.add(page.dataoffsets, page.databytecounts), default=0)
            if last > end:
                raise SlideError(
                    f"{self._path} is truncated: its pixels end at byte {last}, the "
                    f"file at {end}; copy or download it again"
                )

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        page = self._pages[level]
        factor = self.levels[level].downsample
        left, top = round(x / factor), round(y / factor)
        out = np.full((height, width, 3), 255, np.uint8)
        rows, columns = page.chunks[:2]
        across = math.ceil(page.imagewidth / columns)
        right = min(left + width, page.imagewidth)
        bottom = min(top + height, page.imagelength)
        if right <= max(left, 0) or bottom <= max(top, 0):
            return out  # entirely beyond the slide
        for i in range(max(top, 0) // rows, math.ceil(max(bottom, 0) / rows)):
            for j in range(max(left, 0) // columns, math.ceil(max(right, 0) / columns)):
                block = self._block(level, i * across + j)
                y0, x0 = max(top, i * rows), max(left, j * columns)
                y1 = min(bottom, i * rows + block.shape[0])
                x1 = min(right, j * columns + block.shape[1])
                out[y0 - top : y1 - top, x0 - left : x1 - left] = block[
                    y0 - i * rows : y1 - i * rows, x0 - j * columns : x1 - j * columns
                ]
        return out

    def _decode(self, level: int, index: int) -> UInt8[np.ndarray, "h w 3"]:
        page = self._pages[level]
        rows, columns = page.chunks[:2]
        # A damaged block can make a codec raise anything.
        try:
            size = page.databytecounts[index]
            if size == 0:  # a tile that was not scanned
                return np.full((rows, columns, 3), 255, np.uint8)
            data = os.pread(self._handle, size, page.dataoffsets[index])
            decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
            return decoded.reshape(-1, *decoded.shape[-2:])[: shape[1], : shape[2]]
        except Exception as error:
            raise SlideError(
                f"{self._path} is broken at block {index} of level {level} ({error}): "
                "copy or download it again"
            ) from error

    def close(self) -> None:
        self._file.close()
        os.close(self._handle)
        self._block.cache_clear()
