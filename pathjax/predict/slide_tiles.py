"""A slide as a source of tiles: those that contain tissue, read when they are needed.

Tissue, grid and reading are those of `pathjax tile` (wsi/). Nothing is stored.
"""

import functools
import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from pathjax.data.pipeline import Batch, read_ahead
from pathjax.data.tile_source import TileSource
from pathjax.wsi.base import SlideError
from pathjax.wsi.cut import read_run, runs
from pathjax.wsi.grid import grid, tissue_share
from pathjax.wsi.overview import Overview, read_overview
from pathjax.wsi.scale import plan_reading, slide_mpp
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import find_tissue


class SlideTiles(TileSource):
    """The tiles of one slide that contain tissue; an unreadable one is an error.

    Args:
      path: Of the slide.
      mpp: Micrometres per pixel of the tiles.
      tile_px, stride_px: Side and stride, in their pixels.
      given_mpp: Of the slide's level 0, where the file does not say it.
      min_tissue: Minimum share of tissue in a tile.

    Attributes:
      mpp: Of level 0.
      places: `[n, 2]` upper left corners, level-0 pixels.
      reading: How a tile is read; `reading.extent` is its side in level-0 pixels.
      overview: The slide at low magnification.

    Raises:
      SlideError: It cannot be opened, lacks an mpp, is too coarse or has no tissue.
    """

    kind = "slide"

    def __init__(
        self,
        path: str | Path,
        *,
        mpp: float,
        tile_px: int,
        stride_px: int,
        given_mpp: float | None = None,
        min_tissue: float = 0.35,
    ):
        self.path = Path(path)
        self.name = self.path.stem
        self._slide = open_slide(self.path)
        self.mpp = slide_mpp(self._slide, given_mpp, "give it with --slide-mpp")
        self.reading = plan_reading(self._slide.levels, self.mpp, mpp, tile_px)
        self.overview: Overview = read_overview(self._slide, self.mpp)
        tissue = find_tissue(self.overview.pixels, self.overview.mpp)
        places = grid(
            self._slide.bounds, stride_px * mpp / self.mpp, self.reading.extent
        )
        share = tissue_share(tissue, self.overview.scale, places, self.reading.extent)
        self.places: Int[np.ndarray, "n 2"] = places[share >= min_tissue]
        if not len(self.places):
            raise SlideError(
                f"{self.path}: no tile of {tile_px} px at {mpp:g} um/px has "
                f"{min_tissue:g} of tissue ({tissue.mean():.3f} of the slide is)"
            )
        self._tiling = [mpp, tile_px, stride_px, self.mpp, min_tissue]

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of name, size and time of the file, and of the tiling."""
        stat = self.path.stat()
        parts = [self.path.name, stat.st_size, stat.st_mtime_ns, *self._tiling]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def batches(self, rows, *, batch, px, prepare, threads=2) -> Iterator[Batch]:
        downsample = self._slide.levels[self.reading.level].downsample

        def load(index: int) -> Batch:
            places = self.places[rows[index * batch : (index + 1) * batch]]
            image = np.zeros((batch, px, px, 3), np.uint8)
            done = 0
            for run in runs(places, self.reading, downsample):
                for tile in read_run(self._slide, run, self.reading):
                    image[done] = prepare(tile)
                    done += 1
            return {"image": image, "mask": np.arange(batch) < done}

        return read_ahead(-(-len(rows) // batch), load, threads)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        """As `pathjax tile` names them: slide, x and y."""
        return [f"{self.name}_{x}_{y}" for x, y in self.places[rows].tolist()]

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return self.places[rows].astype(np.int64)

    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        return {
            "name": self.name,
            "patch_size": self.reading.tile_px,
            "patch_size_level0": round(self.reading.extent),
            "level0_magnification": 10 / self.mpp,
            "target_magnification": 10 / self._tiling[0],
        }
