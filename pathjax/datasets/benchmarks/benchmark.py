"""What a public tile benchmark is: its published files, classes, folds and reader.

Imports nothing heavy, so that the command line can list the benchmarks.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


class BenchmarkError(ValueError):
    """A benchmark's files are not those that were published."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A file or folder that a benchmark is read from.

    Attributes:
      key: Name of the part in the provenance.
      places: Possible paths below the user's folder, plain or unpacked.
      archive: Published archive that holds the part (zip, tar.gz, gz), if any.
      inside: Folder in the archive; an archive without it holds the files directly.
      url: Download address of `archive`; empty where terms forbid downloads.
      md5: Published checksum, if any.
      md5_of: "archive", or "content" for the file in `archive`.
      by_hand: Where a person gets it.
      optional: The benchmark can be read without it.
      fold, label: Of all its images, if they have the same.
    """

    key: str
    places: tuple[str, ...]
    archive: str = ""
    inside: str = ""
    url: str = ""
    md5: str = ""
    md5_of: str = "archive"
    by_hand: str = ""
    optional: bool = False
    fold: str = ""
    label: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that may be in the user's folder: `places` and `archive`."""
        return (*self.places, self.archive) if self.archive else self.places


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One labelled image.

    Attributes:
      tile_id: Unique in the benchmark.
      label: One of its classes.
      fold: One of its folds.
      source: Encoded file, or what returns the image, uint8 `[H, W, 3]`.
      patient_id, slide_id: None if not published.
      site: None for the benchmark's name.
      x, y: Position in the slide in level-0 pixels, if published.
    """

    tile_id: str
    label: str
    fold: str
    source: Path | Callable[[], Any]
    patient_id: str | None = None
    slide_id: str | None = None
    site: str | None = None
    x: int = 0
    y: int = 0


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A public set of labelled tiles.

    Attributes:
      name: Name on the command line and of the study.
      title: One line of description.
      parts: Files it is read from.
      classes: In index order.
      counts: Published number of images per fold.
      scored: Fold that is scored; "train" is fitted.
      native: Size of the published images, as text.
      mpp: Micrometres per pixel of the published images.
      tile_px: Side of a stored tile.
      read: Reads records in published order, given the benchmark and the path of each
        part by key; raises BenchmarkError.
      rule: How the folds are made.
      patients: What is known about patients, and what replaces them otherwise.
      licence: As stated at the source.
      source: Publication and address.
      notes: What else matters for results.
      sizes_vary: The study's mpp is the median over its images.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    scored: str
    native: str
    mpp: float
    tile_px: int
    read: Callable[["Benchmark", Mapping[str, Path]], Iterable[Record]]
    rule: str
    patients: str
    licence: str
    source: str
    notes: str = ""
    sizes_vary: bool = False
