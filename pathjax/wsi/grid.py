"""Where tiles are: a grid in level-0 pixels, the tissue in each tile, random subsets.

Row by row from the top left; the same on every machine. Reads no pixels.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Float, Int

from pathjax.wsi.base import SlideError


def grid(
    bounds: tuple[int, int, int, int], stride: float, extent: float
) -> Int[np.ndarray, "n 2"]:
    """Top left corners `[n, 2]` (x, y) of all tiles inside `bounds`; level-0 pixels.

    `bounds` are x, y, width and height. The distance `stride` may be fractional: each
    position is rounded by itself, so errors do not accumulate.

    Raises:
      SlideError: Not one tile fits.
    """
    left, top, width, height = bounds
    if extent > min(width, height):
        raise SlideError(
            f"the scanned area of {width} x {height} px is smaller than a tile, which "
            f"is {extent:g} px: ask for a smaller --mpp or --tile-px"
        )
    x, y = (_steps(length, stride, extent) for length in (width, height))
    columns, rows = np.meshgrid(left + x, top + y)
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def _steps(length: int, stride: float, extent: float) -> Int[np.ndarray, "n"]:
    count = int(max(0.0, length - extent) / stride) + 2
    steps = np.floor(np.arange(count) * stride + 0.5).astype(np.int64)
    return steps[steps + extent <= length]


def tissue_share(
    tissue: Bool[np.ndarray, "h w"],
    scale: float,
    places: Int[np.ndarray, "n 2"],
    extent: float,
) -> Float[np.ndarray, "n"]:
    """The share of each tile's area that is tissue, 0 to 1.

    By the mask's summed-area table, interpolated, so that partly covered pixels count
    in part (Crow 1984, doi:10.1145/800031.808600). `places` (top left corners) and
    `extent` (side) are in level-0 pixels, of which a pixel of the mask has `scale`.
    """
    height, width = tissue.shape
    table = np.zeros((height + 1, width + 1), np.int32)
    np.cumsum(tissue, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table, axis=1, out=table)

    def area(x, y):
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        i = np.minimum(x.astype(int), width - 1)
        j = np.minimum(y.astype(int), height - 1)
        u, v = x - i, y - j
        above = table[j, i] * (1 - u) + table[j, i + 1] * u
        below = table[j + 1, i] * (1 - u) + table[j + 1, i + 1] * u
        return above * (1 - v) + below * v

    x0, y0 = (places / scale).T
    side = extent / scale
    x1, y1 = x0 + side, y0 + side
    inside = area(x1, y1) - area(x0, y1) - area(x1, y0) + area(x0, y0)
    return np.clip(inside / side**2, 0.0, 1.0)


def sample_places(
    places: Int[np.ndarray, "n 2"], most: int, slide_id: str, seed: int
) -> Int[np.ndarray, "m 2"]:
    """A random subset of at most `most` places, in their order.

    Places are ranked by a hash of seed, slide and position: the subset does not depend
    on NumPy's version, and a smaller one is part of a larger one.
    """
    if len(places) <= most:
        return places
    ranks = [
        hashlib.blake2b(f"{seed} {slide_id} {x} {y}".encode(), digest_size=8).digest()
        for x, y in places.tolist()
    ]
    chosen = sorted(range(len(places)), key=ranks.__getitem__)[:most]
    return places[np.sort(chosen)]
