"""What a slide is, for its readers and for whoever reads it. Opens no file."""

import dataclasses
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from pathjax.data.study import StudyError

TIFF_SUFFIXES = (".tif", ".tiff", ".svs", ".qptiff", ".btf")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
OPENSLIDE_SUFFIXES = (".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
SUFFIXES = (*TIFF_SUFFIXES, *OPENSLIDE_SUFFIXES, *IMAGE_SUFFIXES)


class SlideError(StudyError):
    """A slide, its coordinates or a manifest cannot be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
      width, height: In its own pixels.
      downsample: Level-0 pixels per pixel of it.
      reader: What decodes it, for the record.
    """

    width: int
    height: int
    downsample: float
    reader: str = ""


class Slide(Protocol):
    """What every reader offers.

    Attributes:
      levels: Resolutions; the finest, level 0, first.
      bounds: x, y, width and height of the scanned area, level-0 pixels.
      mpp: Micrometres per pixel of level 0 by the file; None if it cannot be trusted.
      mpp_source: Where in the file that is stated, or why it is not known.
    """

    levels: tuple[Level, ...]
    bounds: tuple[int, int, int, int]
    mpp: float | None
    mpp_source: str

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        """One region as RGB `[height, width, 3]`, white where nothing was scanned.

        Thread-safe.

        Args:
          x, y: Top left corner in level-0 pixels.
          level: Level to read from.
          width, height: Size of the region in that level's pixels.

        Raises:
          SlideError: The file is damaged there.
        """
        ...

    def expect(self, level: int, regions: Iterable[tuple[int, int, int, int]]) -> None:
        """Says which regions (x, y, width, height, as `read` has them) are read next.

        A reader may then keep what several of them need. Others may be read as well.
        """
        ...

    def close(self) -> None:
        """Closes the file."""
        ...
