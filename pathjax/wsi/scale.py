"""Micrometres per pixel: a slide's own, and how a tile of a wanted mpp is read.

    given mpp, else the file's -> slide mpp -> level, side in its pixels -> resize

Never by the number of a level: what a level's pixel measures differs among scanners and
among slides of one scanner.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.wsi.slide import Level, Slide, SlideError

MAX_ANISOTROPY = 0.05  # pixels less square than this are no slide scanner's
# A slide may be this much coarser than the mpp wanted and is then enlarged by that
# little: scanners called 40x differ by 8 % among TCGA's slides (0.2325 to 0.2527).
MAX_ENLARGEMENT = 0.10
# Levels are rounded to whole pixels, so that a level made for 0.5 may have 0.5001.
LEVEL_TOLERANCE = 0.01
RESAMPLE = Image.Resampling.BICUBIC  # Pillow widens it when it shrinks: antialiased


def slide_mpp(slide: Slide, given: float | None) -> float:
    """Micrometres per pixel of level 0.

    Args:
      slide: the open slide.
      given: by the user; goes before what the file says.

    Raises:
      SlideError: nobody says, or the file says that pixels are not square.
    """
    if given is not None:
        return given
    if slide.mpp is None:
        raise SlideError(
            f"micrometres per pixel unknown: {slide.mpp_source}; give it in a CSV with "
            "the columns wsi,mpp (--mpp-csv)"
        )
    x, y = slide.mpp
    if not (x > 0 and y > 0 and math.isfinite(x) and math.isfinite(y)):
        raise SlideError(f"{slide.mpp_source} is {x} x {y}, wanted positive numbers")
    if abs(x - y) > MAX_ANISOTROPY * min(x, y):
        raise SlideError(
            f"pixels are not square: {x:.4g} x {y:.4g} um/px by {slide.mpp_source}; if "
            "that is wrong, give the right one in a CSV (--mpp-csv)"
        )
    return (x + y) / 2


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a tile is read.

    Attributes:
      level: the level read from.
      side: of the region read, pixels of that level.
      extent: of the same region, level-0 pixels.
      tile_px: side of the tile after resizing.
    """

    level: int
    side: int
    extent: float
    tile_px: int

    def resize(
        self, region: UInt8[np.ndarray, "side side 3"]
    ) -> UInt8[np.ndarray, "P P 3"]:
        """The region at the tile's size; untouched where it has that size already."""
        if self.side == self.tile_px:
            return np.ascontiguousarray(region)
        image = Image.fromarray(np.ascontiguousarray(region))
        return np.asarray(image.resize((self.tile_px, self.tile_px), RESAMPLE))


def level_for(levels: Sequence[Level], mpp: float, wanted: float) -> int:
    """The coarsest level that is at least as fine as `wanted`, else level 0."""
    fine = [
        index
        for index, level in enumerate(levels)
        if mpp * level.downsample <= wanted * (1 + LEVEL_TOLERANCE)
    ]
    return max(fine, key=lambda index: levels[index].downsample, default=0)


def plan_reading(
    levels: Sequence[Level], mpp: float, wanted: float, tile_px: int
) -> Reading:
    """How tiles of `tile_px` pixels at `wanted` um/px are read.

    The region read has a whole number of the level's pixels, the nearest to the exact
    one, so a tile's scale is off by at most half a pixel in its side (0.2 % at 224).

    Raises:
      SlideError: the slide is too coarse; nothing is enlarged by more than 10 %.
    """
    if mpp > wanted * (1 + MAX_ENLARGEMENT):
        raise SlideError(
            f"scanned at {mpp:.4g} um/px, too coarse for tiles of {wanted:g} um/px: "
            "enlarging would make up detail; ask for a larger --mpp"
        )
    level = level_for(levels, mpp, wanted)
    factor = levels[level].downsample
    side = max(1, math.floor(tile_px * wanted / (mpp * factor) + 0.5))
    return Reading(level, side, side * factor, tile_px)
