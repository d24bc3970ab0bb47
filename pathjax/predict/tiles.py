"""The input of a prediction: a study, a folder of tiles or a slide, and tile positions.

    path -> TileSource (pixels) and a table: a row per tile with slide, position, scale

Positions are in level-0 pixels of the slide. The model sees of a tile what it saw in
training: its middle, or what `preprocess` asks for. A slide is tiled on the fly with the
tissue, grid and reading of `pathjax tile` (wsi/); nothing is stored.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.data.pipeline import Batch, read_ahead
from pathjax.data.study import Study
from pathjax.data.tcga_barcodes import find
from pathjax.data.tile_source import ImageFolder, Prepare, StudyTiles, TileSource
from pathjax.models.model_file import Model
from pathjax.predict import PredictError
from pathjax.wsi.base import SUFFIXES, SlideError
from pathjax.wsi.cut import read_run, runs
from pathjax.wsi.grid import grid, tissue_share
from pathjax.wsi.overview import Overview, read_overview
from pathjax.wsi.scale import plan_reading, slide_mpp
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import find_tissue

# Scanners that are called alike differ by 8 % (wsi/scale.py).
SCALE_TOLERANCE = 0.10


def is_slide(path: Path) -> bool:
    """Whether a file has the suffix of a slide."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


class SlideTiles:
    """The tiles of one slide that contain tissue, a TileSource.

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
        self._tiling = [mpp, tile_px, stride_px, self.mpp, min_tissue]

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of name, size and time of the file, and of the tiling."""
        stat = self.path.stat()
        parts = [self.path.name, stat.st_size, stat.st_mtime_ns, *self._tiling]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def batches(
        self,
        rows: Int[np.ndarray, "n"],
        *,
        batch: int,
        px: int,
        prepare: Prepare,
        threads: int = 2,
    ) -> Iterator[Batch]:
        """See TileSource. An unreadable tile is an error: the file is broken."""
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
            "target_magnification": 10 / self._tiling[0],
        }


@dataclasses.dataclass(frozen=True)
class View:
    """How the model sees tissue.

    Attributes:
      mpp: Micrometres per pixel of its input; None where the checkpoint lacks it.
      px: Side of its input.
      before_crop: Side that a tile is resized to before the middle is cut out; `px`
        where nothing is resized.
      resizes: Whether tiles are resized at all.
    """

    mpp: float | None
    px: int
    before_crop: int
    resizes: bool

    def seen(self, tile_px: int) -> float:
        """The side of the visible part of a tile, in the tile's pixels."""
        return tile_px * min(1, self.px / self.before_crop) if self.resizes else self.px

    def mpp_of(self, tile_mpp: float, tile_px: int) -> float:
        """Micrometres per pixel of the input made from such a tile."""
        return tile_mpp * tile_px / self.before_crop if self.resizes else tile_mpp


def view_of(model: Model, mpp: float | None = None) -> View:
    """The view of a model; `mpp` overrides its checkpoint."""
    asked, px = model.meta.get("preprocess"), model.meta["image_px"]
    before = asked["resize"] if asked else px
    view = View(None, asked["crop"] if asked else px, before, asked is not None)
    tiles = model.meta.get("tiles")
    if mpp is None and tiles:
        mpp = view.mpp_of(tiles["mpp"], tiles["px"])
    return dataclasses.replace(view, mpp=mpp)


@dataclasses.dataclass(frozen=True)
class StudyPart(StudyTiles):
    """Some tiles of a study, by row."""

    rows: Int[np.ndarray, "n"]
    part: str

    @property
    def fingerprint(self) -> str:
        return f"{self.study.fingerprint} {self.part}".strip()

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, rows: Int[np.ndarray, "n"], **options) -> Iterator[Batch]:
        return super().batches(self.rows[rows], **options)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        return super().tile_ids(self.rows[rows])

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return super().coords(self.rows[rows])


@dataclasses.dataclass(frozen=True)
class Input:
    """The tiles to predict on.

    Attributes:
      source: Of the pixels.
      table: A row per tile: `tile_id, sample_id, patient_id, slide_id, site`; `x` and
        `y` of the centre and `side` of what the model sees, in level-0 pixels; `mpp` of
        the model's input. NaN where unknown.
      level0: Slide to micrometres per pixel of level 0, NaN where unknown.
      study: The study, if it is one.
      notes: What could not be checked.
    """

    source: TileSource
    table: pd.DataFrame
    level0: dict[str, float]
    study: Study | None = None
    notes: tuple[str, ...] = ()


def open_input(
    path: str | Path,
    view: View,
    *,
    split: str | None = None,
    fold: str | None = None,
    slide_mpp: float | None = None,
    min_tissue: float = 0.35,
) -> Input:
    """Opens a study, a folder of images or a slide.

    Args:
      path: Of it.
      view: Of the model.
      split, fold: Of a study, both or neither; by default all its tiles.
      slide_mpp: Of a slide's level 0, where its file does not say it.
      min_tissue: Minimum share of tissue in a slide's tile.

    Raises:
      PredictError: Its scale is not the model's, or options do not go together.
      StudyError, SlideError: It cannot be read.
    """
    path = Path(path)
    study = (path / "study.json").is_file()
    if (split is None) != (fold is None) or (split is not None and not study):
        raise PredictError(
            "--split and --fold go together and need a study: "
            f"got split {split!r}, fold {fold!r} and {path}"
        )
    if study:
        return _study(Study(path), view, split, fold)
    if is_slide(path):
        return _slide(path, view, slide_mpp, min_tissue)
    return _folder(ImageFolder(path))


def _study(study: Study, view: View, split: str | None, fold: str | None) -> Input:
    notes = []
    mpp = view.mpp_of(study.mpp, study.tile_px)
    if view.mpp is None:
        notes.append("the checkpoint does not record its scale: not checked")
    elif abs(mpp / view.mpp - 1) > SCALE_TOLERANCE:
        raise PredictError(
            f"study {study.name} shows the model {mpp:.3g} um/px, and it was trained at "
            f"{view.mpp:.3g}: rebuild the study at that scale, or pass --mpp {mpp:.3g} "
            "if this one is right"
        )
    if split is None:
        rows, part = np.arange(len(study)), ""
    else:
        rows, part = study.fold_tiles(split, fold), f"{split}/{fold}"
    tiles = study.tiles.iloc[rows].reset_index(drop=True)
    level0 = _level0(study, tiles)
    scale = tiles["mpp"] / level0
    table = tiles[["tile_id", "sample_id", "patient_id", "slide_id", "site"]].astype(
        str
    )
    half = study.tile_px * scale / 2
    table["x"], table["y"] = tiles["x"] + half, tiles["y"] + half
    table["side"] = view.seen(study.tile_px) * scale
    table["mpp"] = [view.mpp_of(one, study.tile_px) for one in tiles["mpp"]]
    by_slide = dict(zip(table["slide_id"], level0, strict=True))
    return Input(StudyPart(study, rows, part), table, by_slide, study, tuple(notes))


def _level0(study: Study, tiles: pd.DataFrame) -> pd.Series:
    """Micrometres per level-0 pixel of each tile's slide.

    From the slide table, else from what samples were cut from; else x and y are assumed
    to be in the tiles' own pixels.
    """
    mpp = pd.Series(np.nan, tiles.index)
    if study.has_slide_table:
        recorded = study.slides.set_index("slide_id")["mpp"]
        mpp = tiles["slide_id"].map(recorded).astype(float)
    if "source_mpp" in study.samples:
        recorded = study.samples.set_index("sample_id")["source_mpp"]
        mpp = mpp.fillna(tiles["sample_id"].map(recorded).astype(float))
    return mpp.fillna(tiles["mpp"])


def _slide(path: Path, view: View, slide_mpp: float | None, min_tissue: float) -> Input:
    if view.mpp is None:
        raise PredictError(
            "the checkpoint does not record its micrometres per pixel, so "
            f"{path.name} cannot be tiled for it: give them with --mpp"
        )
    source = SlideTiles(
        path,
        mpp=view.mpp,
        tile_px=view.before_crop,
        stride_px=view.px,
        given_mpp=slide_mpp,
        min_tissue=min_tissue,
    )
    count = len(source)
    half = source.reading.extent / 2
    try:
        barcode = find(source.name)
        patient, site = barcode.patient, barcode.site
    except ValueError:
        patient, site = source.name, ""
    table = pd.DataFrame(
        {
            "tile_id": source.tile_ids(np.arange(count)),
            "sample_id": source.name,
            "patient_id": patient,
            "slide_id": source.name,
            "site": site,
            "x": source.places[:, 0] + half,
            "y": source.places[:, 1] + half,
            "side": source.reading.extent * view.px / view.before_crop,
            "mpp": source.mpp * source.reading.extent / view.before_crop,
        }
    )
    return Input(source, table, {source.name: source.mpp})


def _folder(source: ImageFolder) -> Input:
    rows = np.arange(len(source))
    corner = source.coords(rows)
    table = pd.DataFrame({"tile_id": source.tile_ids(rows)})
    for column in ("sample_id", "slide_id"):
        table[column] = source.name
    for column in ("patient_id", "site"):
        table[column] = ""
    table["x"], table["y"] = corner.astype(float).T
    table["side"] = table["mpp"] = np.nan
    notes = ["a folder of images has no scale and no patients: not checked"]
    if not corner.any():
        notes.append("the images' names hold no positions: no map can be drawn")
        table["x"] = table["y"] = np.nan
    return Input(source, table, {source.name: np.nan}, None, tuple(notes))
