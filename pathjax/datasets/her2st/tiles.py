"""Cuts one tile of a wanted physical size out of a decoded section.

Resampled once, by Pillow's antialiased bicubic filter over a box with fractional
edges, so that neither the size nor the centre is rounded to source pixels.
"""

import math

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

RESAMPLE = Image.Resampling.BICUBIC
SUPPORT = 2.0  # reach of the bicubic filter in source pixels, times the reduction


def cut_tile(
    image: UInt8[np.ndarray, "H W 3"],
    centre: tuple[float, float],
    side: float,
    tile_px: int,
    background: UInt8[np.ndarray, "3"],
    blank: Bool[np.ndarray, "H W"] | None = None,
) -> tuple[UInt8[np.ndarray, "P P 3"], float]:
    """One square tile.

    Args:
      image: the section `[H, W, 3]`.
      centre: x and y in image pixels; pixel i covers i to i + 1.
      side: of the tile in image pixels; may be fractional.
      tile_px: side of the tile returned.
      background: what is filled in beyond the image's edge and where `blank`.
      blank: True where the image has no picture.

    Returns:
      The tile `[tile_px, tile_px, 3]`, and the share of its area that was filled in.
    """
    height, width = image.shape[:2]
    left, top = centre[0] - side / 2, centre[1] - side / 2
    margin = math.ceil(SUPPORT * max(1.0, side / tile_px)) + 1
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    x1, y1 = math.ceil(left + side) + margin, math.ceil(top + side) + margin
    window = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    window[:] = background
    inside = (
        slice(max(y0, 0), max(min(y1, height), 0)),
        slice(max(x0, 0), max(min(x1, width), 0)),
    )
    piece = image[inside]
    if blank is not None:
        piece = np.where(blank[inside][..., None], background, piece)
    filled = np.ones(window.shape[:2], bool)
    if piece.size:
        at_y, at_x = inside[0].start - y0, inside[1].start - x0
        place = (
            slice(at_y, at_y + piece.shape[0]),
            slice(at_x, at_x + piece.shape[1]),
        )
        window[place] = piece
        filled[place] = False if blank is None else blank[inside]
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    tile = Image.fromarray(window).resize((tile_px, tile_px), RESAMPLE, box=box)
    core = filled[math.floor(box[1]) : math.ceil(box[3])]
    core = core[:, math.floor(box[0]) : math.ceil(box[2])]
    return np.asarray(tile), float(core.mean())
