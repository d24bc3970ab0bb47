"""Where tiles to embed come from: a study, or a folder of images.

    open_source(path) -> batches of uint8 tiles in a fixed order, and what is known of
    each: id, place on the slide

A source numbers its tiles from 0; order and numbers depend on what is on disk alone,
so that work on them can be taken up again. Nothing is written or embedded here.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, UInt8

from pathjax.data.image_folder import ImageFolder
from pathjax.data.pipeline import Batch, tile_batches
from pathjax.data.study import Study

Prepare = Callable[[UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "px px 3"]]


class TileSource(Protocol):
    """What has tiles.

    Attributes:
      kind: "study" or "images".
      name: for a person.
      fingerprint: changes when the tiles do.
    """

    kind: str
    name: str
    fingerprint: str

    def __len__(self) -> int:
        """The number of tiles, broken ones included."""
        ...

    def batches(
        self,
        rows: Int[np.ndarray, "n"],
        *,
        batch: int,
        px: int,
        prepare: Prepare,
        threads: int = 2,
    ) -> Iterator[Batch]:
        """Tiles by number as `image [batch, px, px, 3] uint8` and `mask [batch]`.

        Padding is masked. A source that passes over broken tiles masks them too and
        has them in `skipped`, a list of (number, reason); all sizes before `prepare`
        are in `sizes`, a set of (height, width).
        """
        ...

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        """One name per tile, each once."""
        ...

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        """x and y of the upper left corner, int64, in pixels of the slide."""
        ...

    def attributes(self, sizes: Collection[tuple[int, int]]) -> dict[str, Any]:
        """What the tiles have in common, under the names that TRIDENT gives it."""
        ...


@dataclasses.dataclass(frozen=True)
class StudyTiles:
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

    def batches(
        self,
        rows: Int[np.ndarray, "n"],
        *,
        batch: int,
        px: int,
        prepare: Prepare,
        threads: int = 2,
    ) -> Iterator[Batch]:
        return tile_batches(
            self.study, rows, batch=batch, image_px=px, prepare=prepare, threads=threads
        )

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        return self.study.tiles["tile_id"].iloc[rows].tolist()

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return self.study.tiles[["x", "y"]].iloc[rows].to_numpy(np.int64)

    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        """Sizes and magnifications, 10 divided by micrometres per pixel.

        Those at level 0 only where the samples say what they were cut from
        (`source_mpp`) and it is the same for all, to 1 %.
        """
        known = {"name": self.study.name, "patch_size": self.study.tile_px}
        mpp = _shared(self.study.tiles["mpp"].to_numpy())
        if mpp is not None:
            known["target_magnification"] = 10 / mpp
        if mpp is not None and "source_mpp" in self.study.samples:
            source = _shared(self.study.samples["source_mpp"].to_numpy())
            if source is not None:
                side = round(self.study.tile_px * mpp / source)
                known["level0_magnification"] = 10 / source
                known["patch_size_level0"] = side
                gap = self._smallest_step() / side * self.study.tile_px
                known["overlap"] = round(max(0.0, self.study.tile_px - gap))
        return known

    def _smallest_step(self) -> float:
        """Pixels of level 0 between the nearest two tiles of a slide, along x or y."""
        from scipy.spatial import KDTree

        steps = [np.inf]
        for _, tiles in self.study.tiles.groupby("slide_id"):
            if len(tiles) > 1:
                places = tiles[["x", "y"]].to_numpy()
                distance, _ = KDTree(places).query(places, k=2, p=np.inf)
                steps.append(distance[:, 1].min())
        return min(steps)


def _shared(values: np.ndarray) -> float | None:
    """The value that all have, to 1 %; None where they differ or there are none."""
    if not len(values) or not np.allclose(values, values[0], rtol=0.01):
        return None
    return float(np.median(values))


def open_source(path: str | Path) -> TileSource:
    """A study where there is a study.json, else a folder of images.

    Raises:
      StudyError, ImageFolderError: it is neither.
    """
    path = Path(path)
    if (path / "study.json").is_file():
        return StudyTiles(Study(path))
    return ImageFolder(path)
