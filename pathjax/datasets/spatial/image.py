"""The image of a sample, read in parts, and tiles cut around spots.

Files and arrays (of AnnData or SpatialData) are opened by pathjax.wsi's readers.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from pathjax.files import sha256
from pathjax.wsi.base import Slide
from pathjax.wsi.cut import in_order
from pathjax.wsi.image_file import ArraySlide, window
from pathjax.wsi.slide import open_slide

RESAMPLE = Image.Resampling.BICUBIC
SUPPORT = 2.0  # reach of the bicubic filter in source pixels, times the reduction
BLOCK_PX = 2048  # side of the squares whose spots are cut from one region
STRIP_PX = 1024  # rows read at once where the whole image is read


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """The image of a sample.

    Attributes:
      slide: Opened; level 0 is the frame of the spots' positions.
      path: Its file; None for an array.
      note: Which image it is, where that needs saying ("hires of Space Ranger").
    """

    slide: Slide
    path: Path | None = None
    note: str = ""

    @classmethod
    def open(cls, path: str | Path, note: str = "") -> "ImageSource":
        """The image in a file.

        Raises:
          StudyError: It cannot be opened.
        """
        return cls(open_slide(path), Path(path), note)

    @classmethod
    def of_array(cls, array: Any, note: str = "") -> "ImageSource":
        """An image in memory or a lazy array, `[H, W, 3]` uint8."""
        return cls(ArraySlide(array), None, note)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        level = self.slide.levels[0]
        return level.width, level.height

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel by the image's own tags, where plausible."""
        return self.slide.mpp

    def read(
        self, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        """A region, white beyond the edges.

        Raises:
          StudyError: The file is damaged there.
        """
        return self.slide.read(x, y, 0, width, height)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file, or of the pixels of an array."""
        if self.path is not None:
            return sha256(self.path)
        width, height = self.size
        digest = hashlib.sha256(f"{width} {height}".encode())
        for y in range(0, height, STRIP_PX):
            strip = self.read(0, y, width, min(STRIP_PX, height - y))
            digest.update(np.ascontiguousarray(strip))
        return digest.hexdigest()

    def close(self) -> None:
        self.slide.close()


def cut_tile(
    image: UInt8[np.ndarray, "H W 3"],
    centre: tuple[float, float],
    side: float,
    tile_px: int,
    background: UInt8[np.ndarray, "3"],
) -> tuple[UInt8[np.ndarray, "P P 3"], float]:
    """Cuts one square tile; returns it and the share of its area that was filled in.

    Resampled once, by Pillow's antialiased bicubic filter over a box with fractional
    edges, so that neither the size nor the centre is rounded to source pixels.

    Args:
      image: The section.
      centre, side: x, y and side in image pixels, may be fractional; pixel i covers i to
        i + 1.
      tile_px: Side of the tile returned.
      background: Fills what is beyond the image's edge.
    """
    left, top = centre[0] - side / 2, centre[1] - side / 2
    margin = _margin(side, tile_px)
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    x1, y1 = math.ceil(left + side) + margin, math.ceil(top + side) + margin
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    place = (x0, y0, x1 - x0, y1 - y0)
    source = Image.fromarray(window(image, *place, background))
    tile = np.asarray(source.resize((tile_px, tile_px), RESAMPLE, box=box))
    filled = window(np.broadcast_to(False, image.shape[:2]), *place, True)
    core = filled[math.floor(box[1]) : math.ceil(box[3])]
    return tile, float(core[:, math.floor(box[0]) : math.ceil(box[2])].mean())


def _margin(side: float, tile_px: int) -> int:
    """Pixels around a tile that the filter reads."""
    return math.ceil(SUPPORT * max(1.0, side / tile_px)) + 1


def cut_tiles(
    image: ImageSource,
    centres: Float[np.ndarray, "n 2"],
    side: float,
    tile_px: int,
    background: UInt8[np.ndarray, "3"],
    threads: int = 2,
) -> Iterator[tuple[int, UInt8[np.ndarray, "P P 3"], float]]:
    """Row number, tile and filled share of each centre, as `cut_tile` gives them.

    In an order that reads neighbouring spots from one region, so that tiles that
    overlap (bins of 16 um in tiles of 112 um) are decoded once. Memory is that of a
    few regions.

    Raises:
      StudyError: The file is damaged at one of the places.
    """
    blocks: dict[tuple[int, int], list[int]] = {}
    for row, (x, y) in enumerate((centres // BLOCK_PX).astype(int).tolist()):
        blocks.setdefault((y, x), []).append(row)
    reach = side / 2 + _margin(side, tile_px) + 1
    size = np.array(image.size)

    def cut(rows: list[int]):
        low = np.clip(np.floor(centres[rows].min(axis=0) - reach), 0, size).astype(int)
        high = np.clip(np.ceil(centres[rows].max(axis=0) + reach), 0, size).astype(int)
        region = image.read(*low.tolist(), *(high - low).tolist())
        return [
            (row, *cut_tile(region, tuple(centre), side, tile_px, background))
            for row, centre in zip(rows, centres[rows] - low, strict=True)
        ]

    waiting = [blocks[key] for key in sorted(blocks)]
    yield from in_order(cut, waiting, threads, threads + 1)
