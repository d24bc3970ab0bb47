"""The slide at low magnification, and thumbnails with the kept tiles drawn on it.

Read block by block, so that a slide without a pyramid needs no more memory.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw

from pathjax.files import atomic_path
from pathjax.wsi.base import Slide
from pathjax.wsi.scale import level_for

OVERVIEW_UM = 8.0  # about a nucleus: shows tissue, not its cells
BLOCK_PX = 2048  # per read: 17 MB as RGBA
THUMBNAIL_PX = 1200  # longer side of a thumbnail
TILE_COLOUR, TISSUE_COLOUR = (0, 120, 40), (255, 190, 0)


@dataclasses.dataclass(frozen=True)
class Overview:
    """A slide at low magnification, RGB."""

    pixels: UInt8[np.ndarray, "h w 3"]
    scale: float  # level-0 pixels per pixel of it
    mpp: float  # micrometres per pixel of it


def read_overview(slide: Slide, mpp: float, um: float = OVERVIEW_UM) -> Overview:
    """The whole slide at `um` micrometres per pixel or slightly finer.

    A pixel is the mean of a square of pixels of the level that is read.

    Raises:
      SlideError: The slide is damaged.
    """
    index = level_for(slide.levels, mpp, um)
    level = slide.levels[index]
    factor = max(1, math.floor(um / (mpp * level.downsample) + 1e-9))
    step = max(1, BLOCK_PX // factor) * factor
    shape = (math.ceil(level.height / factor), math.ceil(level.width / factor), 3)
    pixels = np.empty(shape, np.uint8)
    for left, top, block in squares(slide, index, step):
        small = np.asarray(Image.fromarray(block).reduce(factor))
        y, x = top // factor, left // factor
        pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
    scale = level.downsample * factor
    return Overview(pixels, scale, mpp * scale)


def squares(
    slide: Slide, index: int, step: int
) -> Iterator[tuple[int, int, UInt8[np.ndarray, "h w 3"]]]:
    """Left, top and pixels of the squares of side `step` that make up a level.

    In pixels of the level; the last ones of a row or column may be smaller.

    Raises:
      SlideError: The slide is damaged.
    """
    level = slide.levels[index]
    for top in range(0, level.height, step):
        for left in range(0, level.width, step):
            size = (min(step, level.width - left), min(step, level.height - top))
            corner = (round(left * level.downsample), round(top * level.downsample))
            yield left, top, np.ascontiguousarray(slide.read(*corner, index, *size))


def draw(
    path: Path,
    overview: Overview,
    tissue: Bool[np.ndarray, "h w"] | None,
    places: Int[np.ndarray, "n 2"],
    extent: float,
) -> None:
    """Writes a JPEG of the overview with the tissue's edge and the kept tiles.

    `places` (top left corners) and `extent` (side) of tiles are in level-0 pixels;
    `tissue` is None where it was not searched.
    """
    height, width = overview.pixels.shape[:2]
    shrink = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    image = Image.fromarray(overview.pixels).resize(size, Image.Resampling.BICUBIC)
    if tissue is not None:
        mask = np.array(Image.fromarray(tissue).resize(size, Image.Resampling.NEAREST))
        edge = np.zeros_like(mask)
        edge[1:] |= mask[1:] != mask[:-1]
        edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        pixels = np.array(image)
        pixels[edge] = TISSUE_COLOUR
        image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    corners: Float[np.ndarray, "n 2"] = places * (shrink / overview.scale)
    side = extent * shrink / overview.scale
    for x, y in corners.tolist():
        pen.rectangle((x, y, x + side, y + side), outline=TILE_COLOUR)
    with atomic_path(path) as partial:
        image.save(partial, quality=85)
