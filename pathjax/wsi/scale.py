"""Micrometres per pixel of a slide, and how a tile of a requested mpp is read.

One rule for every reader decides which stated mpp is trusted. Levels are chosen by mpp,
never by number: what a pixel of level 1 measures differs among scanners and among
slides of one scanner.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.data.tables import number
from pathjax.wsi.base import Level, Slide, SlideError

# 0.05 is a 200x scan, 20 is coarser than 0.5x. Outside are units mistaken for others
# and tags that no scanner wrote: 72 dpi is 353 um/px, one pixel per mm 1,000.
PLAUSIBLE_MPP = (0.05, 20.0)
MAX_ANISOTROPY = 0.05  # no slide scanner has pixels less square than this
MAX_DISAGREEMENT = 0.05  # of metadata and TIFF tags, both plausible
# A slide may be this much coarser than requested and is then enlarged: scanners called
# 40x differ by 8 % among TCGA's slides (0.2325 to 0.2527).
MAX_ENLARGEMENT = 0.10
# Levels are rounded to whole pixels, so that a level made for 0.5 may have 0.5001.
LEVEL_TOLERANCE = 0.01
RESAMPLE = Image.Resampling.BICUBIC  # Pillow widens it when it shrinks: antialiased
ADVICE = (
    "give it in a CSV with the columns wsi,mpp (--mpp-csv), or as the manifest's "
    "column mpp"
)


def trusted_mpp(
    stated: Mapping[str, tuple[float, float]], missing: str
) -> tuple[float | None, str]:
    """Micrometres per pixel of level 0 that a file's statements agree on.

    Args:
      stated: x and y by source: the scanner's metadata first, TIFF tags after it.
      missing: What to say of a file without a statement.

    Returns:
      (mpp, source), or (None, reason). Implausible tags beside plausible metadata are
      ignored: software writes 72 dpi by default.
    """
    values, doubts = {}, []
    for source, (x, y) in stated.items():
        low, high = PLAUSIBLE_MPP
        if not (low <= x <= high and low <= y <= high):
            doubts.append(
                f"{source} says {x:.4g} x {y:.4g} um/px, which no scanner has "
                f"({low:g} to {high:g})"
            )
        elif abs(x - y) > MAX_ANISOTROPY * min(x, y):
            doubts.append(f"pixels are not square: {x:.4g} x {y:.4g} um/px by {source}")
        else:
            values[source] = (x + y) / 2
    first = next(iter(stated), "")
    if first not in values:
        return None, "; ".join(doubts) or missing
    for source, value in values.items():
        if abs(value - values[first]) > MAX_DISAGREEMENT * value:
            return None, (
                f"{first} says {values[first]:.4g} um/px, {source} {value:.4g}"
            )
    return values[first], first


def slide_mpp(slide: Slide, given: float | None, advice: str = ADVICE) -> float:
    """Micrometres per pixel of level 0: `given` by the user, else the file's.

    Raises:
      SlideError: Neither is known (`advice` says where to give it), or `given` is
        implausible.
    """
    low, high = PLAUSIBLE_MPP
    if given is not None and not low <= given <= high:
        raise SlideError(
            f"expected {low:g} to {high:g} micrometres per pixel, got {given:g}"
        )
    mpp = slide.mpp if given is None else given
    if mpp is None:
        raise SlideError(f"micrometres per pixel unknown: {slide.mpp_source}; {advice}")
    return mpp


def mpp_of(text: str) -> float:
    """Micrometres per pixel as a table has them.

    Raises:
      ValueError: It is no number, or not a plausible one.
    """
    try:
        value = number(text)
    except ValueError:
        value = -1
    low, high = PLAUSIBLE_MPP  # outside is a slip of unit or column
    if not low <= value <= high:
        raise ValueError(
            f"mpp is {text!r}, expected micrometres per pixel, {low:g} to {high:g}"
        )
    return value


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a tile is read."""

    level: int  # to read from
    side: int  # of the region, in pixels of that level
    extent: float  # the same in level-0 pixels
    tile_px: int  # side of the tile after resizing

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
