"""What is predicted on: a study, a folder of tiles or a slide, and where tiles lie.

    path -> TileSource (pixels) and a table: a row per tile with slide, place and scale

Places are in the pixels of the slide's level 0. What the model sees of a tile is the
same as when it was trained and embedded: its middle, or what `preprocess` asks for.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.data.image_folder import ImageFolder
from pathjax.data.pipeline import Batch
from pathjax.data.study import Study
from pathjax.data.tcga_barcodes import BarcodeError, find
from pathjax.data.tile_source import StudyTiles, TileSource
from pathjax.models.model_file import Model
from pathjax.predict.slide_tiles import SlideTiles, is_slide

# Scanners that are called alike differ by 8 % (wsi/scale.py).
SCALE_TOLERANCE = 0.10


class InputError(ValueError):
    """What is to be predicted on does not fit the model; the message says why."""


@dataclasses.dataclass(frozen=True)
class View:
    """How the model looks at tissue.

    Attributes:
      mpp: micrometres per pixel of its input; None where the checkpoint does not say.
      px: side of its input.
      before_crop: side that a tile is resized to before the middle is cut out; the same
        as `px` where nothing is resized.
      resizes: whether tiles are resized at all.
    """

    mpp: float | None
    px: int
    before_crop: int
    resizes: bool

    def seen(self, tile_px: int) -> float:
        """The side of what is seen of a tile, in the tile's pixels."""
        return tile_px * min(1, self.px / self.before_crop) if self.resizes else self.px

    def mpp_of(self, tile_mpp: float, tile_px: int) -> float:
        """Micrometres per pixel of the input made of such a tile."""
        return tile_mpp * tile_px / self.before_crop if self.resizes else tile_mpp


def view_of(model: Model, mpp: float | None = None) -> View:
    """The view of a model; `mpp` goes before what its checkpoint says."""
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
    """What is predicted on.

    Attributes:
      source: of the pixels.
      table: a row per tile: `tile_id, sample_id, patient_id, slide_id, site`, `x` and
        `y` of the centre in level-0 pixels, `side` of what the model sees in the same,
        and `mpp` of the model's input. NaN where nobody knows.
      level0: slide to micrometres per pixel of level 0, NaN where nobody knows.
      study: the study, where it is one.
      notes: what could not be checked.
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
      path: of it.
      view: of the model.
      split, fold: of a study, both or neither; else all its tiles.
      slide_mpp: of a slide's level 0, where its file does not say.
      min_tissue: share of a slide's tile that has to be tissue.

    Raises:
      InputError: the scale is another than the model's, or options do not go together.
      StudyError, ImageFolderError, SlideError: it cannot be used.
    """
    path = Path(path)
    study = (path / "study.json").is_file()
    if (split is None) != (fold is None) or (split is not None and not study):
        raise InputError(
            "--split and --fold go together and are of a study: "
            f"found split {split!r}, fold {fold!r} and {path}"
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
        notes.append("the checkpoint does not say its scale: not checked")
    elif abs(mpp / view.mpp - 1) > SCALE_TOLERANCE:
        raise InputError(
            f"study {study.name} shows the model {mpp:.3g} um/px, and it was trained at "
            f"{view.mpp:.3g}: build the study again at that scale; --mpp {mpp:.3g} says "
            "that this one is right"
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

    Of the slide table, else what samples were cut from; else x and y are taken to count
    the tiles' own pixels.
    """
    found = pd.Series(np.nan, tiles.index)
    if study.has_slide_table:
        known = study.slides.set_index("slide_id")["mpp"]
        found = tiles["slide_id"].map(known).astype(float)
    if "source_mpp" in study.samples:
        known = study.samples.set_index("sample_id")["source_mpp"]
        found = found.fillna(tiles["sample_id"].map(known).astype(float))
    return found.fillna(tiles["mpp"])


def _slide(path: Path, view: View, slide_mpp: float | None, min_tissue: float) -> Input:
    if view.mpp is None:
        raise InputError(
            "the checkpoint does not say at how many micrometres per pixel it was "
            f"trained, so {path.name} cannot be tiled for it: give it with --mpp"
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
    except BarcodeError:
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
    notes = ["a folder of images does not say its scale or its patients: not checked"]
    if not corner.any():
        notes.append("the images' names say no places: no map can be drawn")
        table["x"] = table["y"] = np.nan
    return Input(source, table, {source.name: np.nan}, None, tuple(notes))
