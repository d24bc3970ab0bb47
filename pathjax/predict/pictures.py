"""A slide at low magnification, to lay predictions over.

From the slide itself, from a picture that the user gives, or put together from the
tiles of a study: what lies between tiles is white then.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.study import Study
from pathjax.wsi.base import SUFFIXES, SlideError
from pathjax.wsi.overview import THUMBNAIL_PX, Overview, read_overview
from pathjax.wsi.slide import open_slide

WHITE = 255


@dataclasses.dataclass(frozen=True)
class Picture:
    """A slide at low magnification.

    Attributes:
      pixels: RGB `[h, w, 3]`.
      scale: pixels of it per level-0 pixel.
      source: where it is from, in words.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    scale: float
    source: str


def shrunk(overview: Overview, source: str) -> Picture:
    """An overview with its longer side at most THUMBNAIL_PX."""
    height, width = overview.pixels.shape[:2]
    factor = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(overview.pixels).resize(size, Image.Resampling.BICUBIC)
    return Picture(np.asarray(image), factor / overview.scale, source)


def of_slide(path: Path, mpp: float) -> Picture:
    """A slide's picture, read from its file.

    Raises:
      SlideError: it cannot be opened or read.
    """
    with contextlib.closing(open_slide(path)) as slide:
        return shrunk(read_overview(slide, mpp), path.name)


def of_study(
    study: Study,
    rows: np.ndarray,
    table: pd.DataFrame,
    mpp: float,
    given: Path | None = None,
) -> Picture:
    """A picture of one slide of a study.

    Args:
      study: whose tiles.
      rows: of the slide's tiles.
      table: the same tiles, with `slide_id`, `x` and `y` of the centre.
      mpp: of level 0.
      given: folder with a picture of each slide at level 0, SLIDE.jpg or the like.

    Raises:
      SlideError: a picture that is there cannot be read.
    """
    name = table["slide_id"].iloc[0]
    for path in _candidates(study, name, given):
        if path.is_file():
            return of_slide(path, mpp)
    if given is not None:
        raise SlideError(
            f"{given} has no picture of slide {name}: wanted {name} with one of the "
            f"endings {', '.join(SUFFIXES)}"
        )
    return mosaic(_decoded(study, rows), table, study.tile_px * study.mpp / mpp)


def _candidates(study: Study, name: str, given: Path | None) -> list[Path]:
    if given is not None:
        return [given / f"{name}{suffix}" for suffix in SUFFIXES]
    if study.has_slide_table:
        slides = study.slides.set_index("slide_id")["path"]
        return [Path(str(slides[name]))] if name in slides else []
    return []


def _decoded(study: Study, rows: np.ndarray) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    for start in range(0, len(rows), 256):
        for data in study.tile_bytes(rows[start : start + 256]):
            yield decode_tile(data)


def mosaic(
    tiles: Iterable[UInt8[np.ndarray, "H W 3"]], table: pd.DataFrame, side: float
) -> Picture:
    """Tiles, made small, where they belong.

    Args:
      tiles: a row of `table` each.
      table: with `x` and `y` of the centre.
      side: of a tile in level-0 pixels.
    """
    corner = table[["x", "y"]].to_numpy() - side / 2
    extent = corner.max(axis=0) + side
    scale = min(1.0, THUMBNAIL_PX / extent.max())
    width, height = np.ceil(extent * scale).astype(int)
    pixels = np.full((height, width, 3), WHITE, np.uint8)
    small = max(1, round(side * scale))
    for tile, (x, y) in zip(tiles, corner * scale, strict=True):
        shown = np.asarray(Image.fromarray(tile).resize((small, small)))
        left, top = max(0, round(x)), max(0, round(y))
        room = pixels[top : top + small, left : left + small]
        room[...] = shown[: room.shape[0], : room.shape[1]]
    return Picture(pixels, scale, "put together from tiles")
