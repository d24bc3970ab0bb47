"""The input of a prediction: a study, a folder of tiles or a slide, and tile positions.

    path -> TileSource (pixels) and a table: a row per tile with slide, position, scale

Positions are in level-0 pixels of the slide. The model sees of a tile what it saw in
training: its middle, or what `preprocess` asks for. A slide is tiled on the fly
(slide_tiles.py); nothing is stored.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.data.pipeline import Batch
from pathjax.data.study import Study
from pathjax.data.tcga_barcodes import find
from pathjax.data.tile_source import ImageFolder, StudyTiles, TileSource
from pathjax.models.model_file import Model
from pathjax.predict import PredictError
from pathjax.predict.slide_tiles import SlideTiles
from pathjax.wsi.base import SUFFIXES

# Scanners of the same nominal magnification differ by 8 % (wsi/scale.py).
SCALE_TOLERANCE = 0.10


def is_slide(path: Path) -> bool:
    """Whether a file has the suffix of a slide."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


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
    view = View(mpp, px, px, False)
    if asked:
        view = View(mpp, asked["crop"], asked["resize"], True)
    tiles = model.meta.get("tiles")
    if mpp is None and tiles:
        view = dataclasses.replace(view, mpp=view.mpp_of(tiles["mpp"], tiles["px"]))
    return view


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
    ids = ["tile_id", "sample_id", "patient_id", "slide_id", "site"]
    # Not `study.tiles`, which the study would keep beside this table.
    tiles = study.tile_rows(rows, [*ids, "x", "y", "mpp"])
    level0 = _level0(study, tiles)
    scale = tiles["mpp"] / level0
    half = study.tile_px * scale / 2
    table = tiles[ids].astype(str).assign(
        x=tiles["x"] + half,
        y=tiles["y"] + half,
        side=view.seen(study.tile_px) * scale,
        mpp=[view.mpp_of(one, study.tile_px) for one in tiles["mpp"]],
    )  # fmt: skip
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
    try:
        barcode = find(source.name)
        patient, site = barcode.patient, barcode.site
    except ValueError:
        patient, site = source.name, ""
    extent = source.reading.extent
    table = pd.DataFrame(
        {
            "tile_id": source.tile_ids(np.arange(len(source))),
            "sample_id": source.name,
            "patient_id": patient,
            "slide_id": source.name,
            "site": site,
            "x": source.places[:, 0] + extent / 2,
            "y": source.places[:, 1] + extent / 2,
            "side": extent * view.px / view.before_crop,
            "mpp": source.mpp * extent / view.before_crop,
        }
    )
    return Input(source, table, {source.name: source.mpp})


def _folder(source: ImageFolder) -> Input:
    rows = np.arange(len(source))
    corner = source.coords(rows).astype(float)
    notes = ["a folder of images has no scale and no patients: not checked"]
    notes += [f"not used: {what}: {reason}" for what, reason in source.unused[:10]]
    if not corner.any():
        notes.append("the images' names hold no positions: no map can be drawn")
        corner[:] = np.nan
    table = pd.DataFrame(
        {
            "tile_id": source.tile_ids(rows),
            "sample_id": source.name,
            "slide_id": source.name,
            "patient_id": "",
            "site": "",
            "x": corner[:, 0],
            "y": corner[:, 1],
            "side": np.nan,
            "mpp": np.nan,
        }
    )
    return Input(source, table, {source.name: np.nan}, None, tuple(notes))
