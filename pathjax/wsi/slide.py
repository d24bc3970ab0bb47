"""An open slide, whatever its format: path -> levels, mpp, regions of pixels.

    OpenSlide's formats -> openslide_file.py
    other TIFF, OME-TIFF -> tiff_file.py
    PNG, JPEG, other plain pictures -> image_file.py

Knows neither tissue nor tiles. All readers answer the same few questions, and whatever
the libraries below raise comes out as a SlideError that names the file.
"""

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

TIFF_SUFFIXES = (".tif", ".tiff", ".svs", ".qptiff", ".btf")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
OPENSLIDE_SUFFIXES = (".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
SUFFIXES = (*TIFF_SUFFIXES, *OPENSLIDE_SUFFIXES, *IMAGE_SUFFIXES)


class SlideError(ValueError):
    """A slide cannot be used; the message says why and what would help."""


@dataclasses.dataclass(frozen=True)
class Level:
    """One resolution of a slide: its size, and level-0 pixels per pixel of it."""

    width: int
    height: int
    downsample: float


class Slide(Protocol):
    """What every reader offers.

    Attributes:
      levels: the finest, level 0, first.
      bounds: x, y, width and height of what was scanned, level-0 pixels.
      mpp: micrometres per pixel of level 0 along x and y by the file, or None.
      mpp_source: where in the file that stands, or what is missing there.
    """

    levels: tuple[Level, ...]
    bounds: tuple[int, int, int, int]
    mpp: tuple[float, float] | None
    mpp_source: str

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        """One region as RGB `[height, width, 3]`, white where nothing was scanned.

        Safe to call from several threads.

        Args:
          x, y: top left corner in level-0 pixels.
          level: which to read from.
          width, height: of the region, in that level's pixels.

        Raises:
          SlideError: the file is broken there.
        """
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...


def open_slide(path: str | Path) -> Slide:
    """Opens a slide with the first reader that can.

    Raises:
      SlideError: no such file, an empty one, or none that a reader can open; says what
        each reader said.
    """
    path = Path(path)
    if not path.exists():
        raise SlideError(f"{path} is not there")
    if path.is_dir() or path.stat().st_size == 0:
        raise SlideError(f"{path} is {'a folder' if path.is_dir() else 'empty'}")
    from pathjax.wsi.image_file import ImageFile
    from pathjax.wsi.openslide_file import OpenSlideFile
    from pathjax.wsi.tiff_file import TiffFile

    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImageFile(path)
    readers = [OpenSlideFile]
    if suffix in TIFF_SUFFIXES:
        readers.append(TiffFile)
    said = []
    for reader in readers:
        try:
            return reader(path)
        except SlideError as error:
            said.append(str(error))
    raise SlideError("; ".join(said))
