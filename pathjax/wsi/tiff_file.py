"""TIFF slides that OpenSlide cannot read: OME-TIFF, strips, rarer compressions.

tifffile finds pages and pyramid levels. Only the tiles or strips that a region touches
are read and decoded; the most recent stay cached. Accepts 8-bit RGB only.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pathjax.optional_deps import need
from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.blocks import Blocks, check_blocks
from pathjax.wsi.scale import trusted_mpp
from pathjax.wsi.tiff_tags import check_rgb, stated_mpp


class TiffFile:
    """A `Slide` by tifffile.

    Raises:
      SlideError: Not a TIFF, truncated, or not 8-bit RGB.
    """

    def __init__(self, path: Path):
        tifffile = need("tifffile", "wsi")
        # A damaged header can make tifffile raise anything.
        try:
            self._file = tifffile.TiffFile(path)
        except Exception as error:
            raise SlideError(f"tifffile cannot open {path} ({error})") from error
        try:
            self._pages = [level.keyframe for level in self._file.series[0].levels]
            check_rgb(path, self._pages[0])
            for page in self._pages:
                check_blocks(path, page)
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
                "tifffile",
            )
            for page in self._pages
        )
        self.bounds = (0, 0, width, height)
        self._blocks = Blocks(path, self._pages)

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        return self._blocks.window(level, *self._corner(x, y, level), width, height)

    def expect(self, level: int, regions: Iterable[tuple[int, int, int, int]]) -> None:
        places = ((*self._corner(x, y, level), w, h) for x, y, w, h in regions)
        self._blocks.expect(level, places)

    def _corner(self, x: int, y: int, level: int) -> tuple[int, int]:
        factor = self.levels[level].downsample
        return round(x / factor), round(y / factor)

    def close(self) -> None:
        self._file.close()
        self._blocks.close()
