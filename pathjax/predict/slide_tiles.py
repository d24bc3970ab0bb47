"""A whole-slide file as a source of tiles, cut as they are asked for.

    slide -> tissue -> grid at the model's micrometres per pixel -> tiles, nothing stored

The same tissue, grid and reading as `pathjax tile` (wsi/); tiles are handed over
as pixels and never JPEG.
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
from pathjax.data.tile_source import Prepare
from pathjax.wsi.base import SUFFIXES, SlideError
from pathjax.wsi.cut import read_run, runs
from pathjax.wsi.grid import grid, tissue_share
from pathjax.wsi.overview import Overview, read_overview
from pathjax.wsi.scale import plan_reading, slide_mpp
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import find_tissue


def is_slide(path: Path) -> bool:
    """True for a file with the ending of a slide."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


class SlideTiles:
    """The tiles of one slide that hold tissue, a TileSource.

    Args:
      path: of the slide.
      mpp: micrometres per pixel that tiles are wanted at.
      tile_px: their side.
      stride_px: from one to the next, in their pixels.
      given_mpp: of the slide's level 0, where the file does not say it.
      min_tissue: share of a tile that has to be tissue.

    Attributes:
      mpp: of level 0.
      places: `[n, 2]` upper left corners, level-0 pixels.
      reading: how a tile is read; `reading.extent` is its side in level-0 pixels.
      overview: the slide at low magnification.

    Raises:
      SlideError: it cannot be opened, says no mpp, is too coarse or has no tissue.
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
        if self._slide.mpp is None and given_mpp is None:
            raise SlideError(
                f"{self.path}: micrometres per pixel unknown: "
                f"{self._slide.mpp_source}; give it with --slide-mpp"
            )
        self.mpp = slide_mpp(self._slide, given_mpp)
        self.reading = plan_reading(self._slide.levels, self.mpp, mpp, tile_px)
        self.overview: Overview = read_overview(self._slide, self.mpp)
        tissue = find_tissue(self.overview.pixels, self.overview.mpp)
        stride = stride_px * mpp / self.mpp
        places = grid(self._slide.bounds, stride, self.reading.extent)
        share = tissue_share(tissue, self.overview.scale, places, self.reading.extent)
        self.places: Int[np.ndarray, "n 2"] = places[share >= min_tissue]
        if not len(self.places):
            raise SlideError(
                f"{self.path}: no tile of {tile_px} px at {mpp:g} um/px has "
                f"{min_tissue:g} of tissue ({tissue.mean():.3f} of the slide is)"
            )
        self._asked = [mpp, tile_px, stride_px, self.mpp, min_tissue]

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of name, size and time of the file and of what tiles were asked for."""
        stat = self.path.stat()
        told = [self.path.name, stat.st_size, stat.st_mtime_ns, *self._asked]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def batches(
        self,
        rows: Int[np.ndarray, "n"],
        *,
        batch: int,
        px: int,
        prepare: Prepare,
        threads: int = 2,
    ) -> Iterator[Batch]:
        """See TileSource. A place that cannot be read is an error: the file is broken."""
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
        """Sizes and magnifications under TRIDENT's names."""
        return {
            "name": self.name,
            "patch_size": self.reading.tile_px,
            "patch_size_level0": round(self.reading.extent),
            "level0_magnification": 10 / self.mpp,
            "target_magnification": 10 / self._asked[0],
        }
