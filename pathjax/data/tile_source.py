"""Tiles to embed, from a study or from a folder of images, in a fixed order.

A source numbers its tiles from 0 by what is on disk alone, so that interrupted work can
resume. Nothing is written or embedded here.
"""

import abc
import collections
import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from pathjax.data.images import decode_tile
from pathjax.data.pipeline import Batch, read_ahead, tile_batches
from pathjax.data.row_ranges import RowRanges
from pathjax.data.study import Study, StudyError
from pathjax.data.study_tables import stream

Prepare = Callable[[UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "px px 3"]]
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Images and slides that are not read; other files are none of ours.
PASSED_OVER = (
    *(".bmp", ".gif", ".webp", ".jp2", ".heic", ".dcm", ".czi", ".vsi", ".svs"),
    *(".ndpi", ".mrxs", ".scn", ".bif"),
)
DECODER = 2  # raise when the same file gives other pixels
# `8863_idx5_x51_y1251_class0.png` (the IDC set), `slide-x51-y1251.png`, `x51_y1251.png`
_PLACE = re.compile(r"(?:^|[_-])x(\d{1,9})[_-]y(\d{1,9})(?=[_-]|$)", re.IGNORECASE)


class TileSource(abc.ABC):
    """Numbered tiles; `len` counts all of them, broken ones included.

    Attributes:
      kind: "study" or "images".
      name: Shown to the user.
      fingerprint: Changes when the tiles do.
    """

    kind: str
    name: Any  # a str; an attribute or property of the subclasses

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str: ...

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def batches(
        self,
        rows: Int[np.ndarray, "n"] | range,
        *,
        batch: int,
        px: int,
        prepare: Prepare,
        threads: int = 2,
    ) -> Iterator[Batch]:
        """Tiles by number as `image [batch, px, px, 3] uint8` and `mask [batch]`.

        Padding is masked, and so are broken tiles where a source skips them: it lists
        them in `skipped`, (number, reason), and all original (height, width) in `sizes`.
        """

    @abc.abstractmethod
    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        """A unique name per tile."""

    @abc.abstractmethod
    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        """x and y of the top left corner in the slide's pixels, int64."""

    @abc.abstractmethod
    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        """What the tiles have in common, under TRIDENT's names."""


@dataclasses.dataclass(frozen=True)
class StudyTiles(TileSource):
    """A study's tiles in the order of its index. A broken one is an error."""

    study: Study

    kind = "study"

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def fingerprint(self) -> str:
        return self.study.fingerprint

    def __len__(self) -> int:
        return len(self.study)

    def batches(self, rows, *, batch, px, prepare, threads=2) -> Iterator[Batch]:
        return tile_batches(
            self.study, rows, batch=batch, image_px=px, prepare=prepare, threads=threads
        )

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        return self.study.tile_rows(rows, ["tile_id"])["tile_id"].tolist()

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return self.study.tile_rows(rows, ["x", "y"]).to_numpy(np.int64)

    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        """Sizes and magnifications (10 / mpp).

        Those at level 0 only where all samples state the same `source_mpp`, to 1 %.
        """
        tile_px = self.study.tile_px
        known = {"name": self.name, "patch_size": tile_px}
        index = self.study.root / "tiles.parquet"
        mpp = _shared(part["mpp"].to_numpy() for part in stream(index, ["mpp"]))
        if mpp is None:
            return known
        known["target_magnification"] = 10 / mpp
        if "source_mpp" in self.study.samples:
            source = _shared([self.study.samples["source_mpp"].to_numpy()])
            if source is not None:
                side = round(tile_px * mpp / source)
                known["level0_magnification"] = 10 / source
                known["patch_size_level0"] = side
                gap = self._smallest_step() / side * tile_px
                known["overlap"] = round(max(0.0, tile_px - gap))
        return known

    def _smallest_step(self) -> float:
        """Level-0 pixels between the nearest two tiles of a slide, along x or y."""
        from scipy.spatial import KDTree

        steps = [np.inf]
        for _, runs in self.study.runs.groupby("slide_id"):
            if runs["tiles"].sum() > 1:
                places = self.coords(RowRanges.of_runs(runs).to_array())
                distance, _ = KDTree(places).query(places, k=2, p=np.inf)
                steps.append(distance[:, 1].min())
        return min(steps)


def _shared(parts: Iterable[np.ndarray]) -> float | None:
    """The median, if all have it to 1 %; None where they differ or there are none."""
    counts: collections.Counter[float] = collections.Counter()
    for part in parts:  # a slide's tiles have one value
        known, number = np.unique(part, return_counts=True)
        counts.update(dict(zip(known.tolist(), number.tolist(), strict=True)))
    values = np.array(sorted(counts))
    if not len(values) or not np.allclose(values, values[0], rtol=0.01):
        return None
    ends = np.cumsum([counts[value] for value in values.tolist()])
    middle = [(ends[-1] - 1) // 2, ends[-1] // 2]
    return float(values[np.searchsorted(ends, middle, side="right")].mean())


class ImageFolder(TileSource):
    """Every PNG, JPEG and TIFF below a folder, sorted by path; skips broken files.

    Hidden ones are left out: macOS adds a `._NAME.png` that is no image to each copy.

    Attributes:
      paths: The images relative to `root`, with forward slashes.
      unused: (path, reason) of linked folders and of images that were passed over.

    Raises:
      StudyError: There is no such folder or no image in it.
    """

    kind = "images"

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.name = self.root.resolve().name
        if not self.root.is_dir():
            raise StudyError(f"{self.root}: expected a study or a folder of images")
        self.paths, self.unused = _images_below(self.root)
        if not self.paths:
            first = [f"; {what}: {reason}" for what, reason in self.unused[:1]]
            raise StudyError(
                f"{self.root}: expected a folder of images ({', '.join(SUFFIXES)}) or "
                f"a complete study, got no image and no study.json{''.join(first)}"
            )

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the images' paths, sizes and times; their bytes are not read."""
        hashed = hashlib.sha256(b"%d\n" % DECODER)
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
                line = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            except OSError:  # a broken link, which `batches` skips
                line = f"{path}\0\n"
            hashed.update(line.encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()

    def batches(self, rows, *, batch, px, prepare, threads=2) -> Iterator[Batch]:
        def load(index: int) -> Batch:
            part = np.asarray(rows[index * batch : (index + 1) * batch])
            image = np.zeros((batch, px, px, 3), np.uint8)
            mask = np.zeros(batch, bool)
            skipped: list[tuple[int, str]] = []
            sizes: set[tuple[int, ...]] = set()
            for i, row in enumerate(part.tolist()):
                try:
                    tile = read_image(self.root / self.paths[row])
                except ValueError as error:
                    skipped.append((row, str(error)))
                    continue
                sizes.add(tile.shape[:2])
                image[i], mask[i] = prepare(tile), True
            return {"image": image, "mask": mask, "skipped": skipped, "sizes": sizes}

        return read_ahead(-(-len(rows) // batch), load, threads)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        """The relative paths."""
        return [self.paths[row] for row in rows]

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        """From names such as `..._x51_y1251...`, else 0, 0."""
        matches = (_PLACE.search(Path(self.paths[row]).stem) for row in rows)
        places = [tuple(map(int, m.groups())) if m else (0, 0) for m in matches]
        return np.array(places, np.int64).reshape(-1, 2)

    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        """The name, and the side where all images are squares of one size.

        Image files do not state a reliable magnification.
        """
        known: dict[str, Any] = {"name": self.name}
        sides = {side for size in sizes for side in size}
        if len(sides) == 1:
            known["patch_size"] = sides.pop()
        return known


def _images_below(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Images by relative path, sorted; and (path, reason) of what is not used."""
    paths, unused = [], []

    def relative(path: str | Path) -> str:
        return Path(path).relative_to(root).as_posix()

    def refuse(error: OSError) -> None:
        unused.append((relative(error.filename), f"not opened: {error.strerror}"))

    for folder, below, files in os.walk(root, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        for path in (Path(folder) / name for name in below):
            if path.is_symlink():
                unused.append((relative(path), "a link to a folder is not searched"))
        for name in files:
            path, ending = Path(folder) / name, Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if ending in SUFFIXES:
                paths.append(relative(path))
            elif ending in PASSED_OVER:
                reason = f"{ending} is not read: convert it, or use `pathjax tile`"
                unused.append((relative(path), reason))
    return sorted(paths), sorted(unused)


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads one image as RGB.

    Raises:
      ValueError: It cannot be read or decoded, see `images.decode_tile`.
    """
    # Pillow's plugins raise almost anything on damaged files (SyntaxError, KeyError,
    # struct.error, DecompressionBombError), and a folder must survive each.
    try:
        return decode_tile(path.read_bytes())
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def open_source(path: str | Path) -> TileSource:
    """A study where there is a study.json, else a folder of images.

    Raises:
      StudyError: It is neither.
    """
    path = Path(path)
    if (path / "study.json").is_file():
        return StudyTiles(Study(path))
    return ImageFolder(path)
