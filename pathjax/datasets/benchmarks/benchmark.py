"""What a public tile benchmark is, as data: parts, classes, folds, and its reader.

Imports nothing heavy, so that the command line can list the benchmarks. It does not
download (acquire.py), unpack (archives.py) or write (build.py).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol


class BenchmarkError(ValueError):
    """A benchmark's files are not what is published; says where and what to do."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A file or folder that a benchmark is read from.

    Attributes:
      key: what its reader calls it.
      places: where it may lie below the user's folder, plain or unpacked.
      archive: the published file that holds it (zip, tar.gz, gz), if any.
      inside: folder in the archive; an archive without it holds the part's files
        directly.
      url: where pathjax downloads `archive`; empty where terms forbid it.
      md5: as published; empty where none is.
      md5_of: "archive", or "content" for the file that `archive` holds.
      by_hand: where a person gets it.
      optional: nothing is wrong without it.
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


class Pixels(Protocol):
    """An image that is no file of its own."""

    def read(self):
        """The image, uint8 `[H, W, 3]`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One labelled image.

    Attributes:
      tile_id: unique in the benchmark.
      label: one of its classes.
      fold: one of its folds.
      source: an encoded file, or pixels.
      patient_id: None where the published files do not say.
      slide_id: None where they do not say.
      site: None for the benchmark's name.
      x, y: the place in the slide, level-0 pixels, where published.
    """

    tile_id: str
    label: str
    fold: str
    source: Path | Pixels
    patient_id: str | None = None
    slide_id: str | None = None
    site: str | None = None
    x: int = 0
    y: int = 0


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """One public set.

    Attributes:
      name: as on the command line; the study's name.
      title: one line for a person.
      parts: what it is read from.
      classes: in index order.
      counts: images per fold of the complete set.
      scored: the fold that is scored; "train" is fitted.
      native: size of the published images, for a person.
      mpp: micrometres per pixel of the published images.
      tile_px: side of a stored tile.
      read: located parts to records, in published order.
      rule: how the folds are made.
      patients: what is known of patients, and what stands for them otherwise.
      licence: as its source states it.
      source: publication and place.
      notes: what else a reader of results should know.
      sizes_vary: the study's mpp is then the median over its images.
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
    read: Callable[[Mapping[str, Path]], Iterable[Record]]
    rule: str
    patients: str
    licence: str
    source: str
    notes: str = ""
    sizes_vary: bool = False


def class_images(
    folder: Path, classes: Iterable[str], suffix: str
) -> list[tuple[str, Path]]:
    """(class, image) of one folder per class: classes sorted, then names sorted.

    Hidden files, which macOS leaves beside what it copies, are passed over.

    Raises:
      BenchmarkError: a folder that is no class.
    """
    known = sorted(classes)
    below = sorted(p.name for p in folder.iterdir() if p.is_dir())
    strange = [n for n in below if n not in known and not n.startswith((".", "__"))]
    if strange:
        raise BenchmarkError(
            f"{folder} has the folders {', '.join(strange)}, which are no class; "
            f"expected {', '.join(known)}: unpack the published archive anew"
        )
    return [
        (name, path)
        for name in known
        if name in below
        for path in images_below(folder / name, suffix)
    ]


def images_below(folder: Path, suffix: str) -> list[Path]:
    """All files with the ending below `folder`, hidden ones left out, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == suffix and not path.name.startswith(".")
    )
