"""Micrometres per pixel of a slide, and how a tile of a requested mpp is read.

Levels are chosen by mpp, never by number: what a pixel of level 1 measures differs
among scanners and among slides of one scanner.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.wsi.base import Level, Slide, SlideError

MAX_ANISOTROPY = 0.05  # no slide scanner has pixels less square than this
# A slide may be this much coarser than requested and is then enlarged: scanners called
# 40x differ by 8 % among TCGA's slides (0.2325 to 0.2527).
MAX_ENLARGEMENT = 0.10
# Levels are rounded to whole pixels, so that a level made for 0.5 may have 0.5001.
LEVEL_TOLERANCE = 0.01
RESAMPLE = Image.Resampling.BICUBIC  # Pillow widens it when it shrinks: antialiased


def slide_mpp(slide: Slide, given: float | None) -> float:
    """Micrometres per pixel of level 0: `given` by the user, else the file's.

    Raises:
      SlideError: Neither is known, or the file states non-square pixels.
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
        raise SlideError(
            f"{slide.mpp_source}: expected positive numbers, got {x} x {y}: give the "
            "micrometres per pixel in a CSV (--mpp-csv)"
        )
    if abs(x - y) > MAX_ANISOTROPY * min(x, y):
        raise SlideError(
            f"pixels are not square: {x:.4g} x {y:.4g} um/px by {slide.mpp_source}; if "
            "that is wrong, give the right value in a CSV (--mpp-csv)"
        )
    return (x + y) / 2


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a tile is read.

    Attributes:
      level: Level to read from.
      side: Side of the region, in pixels of that level.
      extent: The same side in level-0 pixels.
      tile_px: Side of the tile after resizing.
    """

    level: int
    side: int
    extent: float
    tile_px: int

    def resize(
        self, region: UInt8[np.ndarray, "side side 3"]
    ) -> UInt8[np.ndarray, "P P 3"]:
        """The region at the tile's size; unchanged where it has that size already."""
        region = np.ascontiguousarray(region)
        if self.side == self.tile_px:
            return region
        size = (self.tile_px, self.tile_px)
        return np.asarray(Image.fromarray(region).resize(size, RESAMPLE))


def level_for(levels: Sequence[Level], mpp: float, target: float) -> int:
    """The coarsest level at least as fine as `target` um/px, else level 0."""
    fine = [
        index
        for index, level in enumerate(levels)
        if mpp * level.downsample <= target * (1 + LEVEL_TOLERANCE)
    ]
    return max(fine, key=lambda index: levels[index].downsample, default=0)


def plan_reading(
    levels: Sequence[Level], mpp: float, target: float, tile_px: int
) -> Reading:
    """How tiles of `tile_px` pixels at `target` um/px are read.

    The region has a whole number of the level's pixels, so a tile's scale is off by at
    most half a pixel in its side (0.2 % at 224).

    Raises:
      SlideError: The slide is too coarse; tiles are enlarged by at most 10 %.
    """
    if mpp > target * (1 + MAX_ENLARGEMENT):
        raise SlideError(
            f"scanned at {mpp:.4g} um/px, too coarse for tiles of {target:g} um/px: "
            "enlarging would make up detail; ask for a larger --mpp"
        )
    level = level_for(levels, mpp, target)
    factor = levels[level].downsample
    side = max(1, math.floor(tile_px * target / (mpp * factor) + 0.5))
    return Reading(level, side, side * factor, tile_px)
