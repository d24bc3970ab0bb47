"""The input of a prediction: a study, a folder of tiles or a slide, and tile positions.

    path -> TileSource (pixels), stretches of tiles of one slide and sample, and on demand
            a table of some tiles: a row each with slide, position, scale

Positions are in level-0 pixels of the slide. The model sees of a tile what it saw in
training: its middle, or what `preprocess` asks for. A slide is tiled on the fly
(slide_tiles.py); nothing is stored.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.data.pipeline import Batch
from pathjax.data.row_ranges import RowRanges
from pathjax.data.study import Study
from pathjax.data.study_tables import OWNERS
from pathjax.data.tcga_barcodes import find
from pathjax.data.tile_source import ImageFolder, StudyTiles, TileSource
from pathjax.embeddings.embedding_file import NAMED_AT_ONCE
from pathjax.evals.audit import ID_COLUMNS, ids_of
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
class _Sliced:
    """Rows of a study by their numbers in a part of it, looked up where it is sliced."""

    rows: RowRanges
    numbers: Int[np.ndarray, "n"] | range

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice) -> Int[np.ndarray, "m"]:
        return self.rows.take(self.numbers[part])


@dataclasses.dataclass(frozen=True)
class StudyPart(StudyTiles):
    """Some tiles of a study, by row."""

    rows: RowRanges
    part: str

    @property
    def fingerprint(self) -> str:
        return f"{self.study.fingerprint} {self.part}".strip()

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, rows: Int[np.ndarray, "n"], **options) -> Iterator[Batch]:
        return super().batches(_Sliced(self.rows, rows), **options)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        return super().tile_ids(self.rows.take(rows))

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return super().coords(self.rows.take(rows))


@dataclasses.dataclass(frozen=True)
class Input:
    """The tiles to predict on, by number; memory does not grow with a study's.

    Attributes:
      source: Of the pixels.
      runs: Stretches of consecutive tiles that have `slide_id, patient_id, sample_id` in
        common, with how many `tiles` each has.
      table: Of some tiles by number, a row each: `tile_id, sample_id, patient_id,
        slide_id, site`; `x` and `y` of the centre and `side` of what the model sees, in
        level-0 pixels; `mpp` of the model's input; `level0`, micrometres per level-0
        pixel. NaN where unknown.
      study: The study, if it is one.
      notes: What could not be checked.
    """

    source: TileSource
    runs: pd.DataFrame
    table: Callable[[Int[np.ndarray, "n"]], pd.DataFrame]
    study: Study | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.runs["tiles"].sum())

    @functools.cached_property
    def _ends(self) -> Int[np.ndarray, "r"]:
        return np.cumsum(self.runs["tiles"].to_numpy())

    def run_of(self, tiles: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """The place in `runs` of each tile."""
        return np.searchsorted(self._ends, tiles, side="right")

    def of_runs(self, places: Int[np.ndarray, "r"]) -> Int[np.ndarray, "n"]:
        """The tiles of some of `runs`."""
        sizes = self.runs["tiles"].to_numpy()[places]
        return RowRanges(self._ends[places] - sizes, sizes).to_array()

    def parts(self) -> Iterator[Int[np.ndarray, "n"]]:
        """All tiles in order, as many at a time as a study's index is read."""
        for start in range(0, len(self), NAMED_AT_ONCE):
            yield np.arange(start, min(start + NAMED_AT_ONCE, len(self)))

    @functools.cached_property
    def ids(self) -> pd.DataFrame:
        """Distinct patients, samples, slides and sites; of tile ids only barcodes matter."""
        if self.study is None:
            return self.table(np.arange(len(self)))[[*ID_COLUMNS, "site"]]
        rows = map(self.source.rows.take, self.parts())
        found = [ids_of(self.study, part) for part in rows]
        return pd.concat(found).drop_duplicates(ignore_index=True)

    def embedded(self, broken: Collection[str], side: float) -> "Input":
        """A folder of images that were read: all but some, with a side in pixels."""
        names = self.source.tile_ids(range(len(self)))
        kept = np.flatnonzero([name not in broken for name in names])

        def table(tiles: Int[np.ndarray, "n"]) -> pd.DataFrame:
            rows = self.table(kept[tiles])
            centre = {name: rows[name] + side / 2 for name in ("x", "y")}
            return rows.assign(side=side, **centre)

        runs = self.runs.assign(tiles=len(kept))
        return dataclasses.replace(self, runs=runs, table=table)


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
    runs, part = study.runs, ""
    if split is not None:
        runs, part = study.fold_runs(split, fold), f"{split}/{fold}"
    if runs.empty:
        raise PredictError(
            f"fold {part} of study {study.name} has no tile: name another"
        )
    rows = RowRanges.of_runs(runs)
    level0_of = _level0(study)
    ids = ["tile_id", "sample_id", "patient_id", "slide_id", "site"]

    def table(places: Int[np.ndarray, "n"]) -> pd.DataFrame:
        tiles = study.tile_rows(rows.take(places), [*ids, "x", "y", "mpp"])
        level0 = level0_of(tiles)
        scale = tiles["mpp"] / level0
        half = study.tile_px * scale / 2
        return tiles[ids].astype(str).assign(
            x=tiles["x"] + half,
            y=tiles["y"] + half,
            side=view.seen(study.tile_px) * scale,
            mpp=[view.mpp_of(one, study.tile_px) for one in tiles["mpp"]],
            level0=level0,
        )  # fmt: skip

    owners = runs[[*OWNERS, "tiles"]].astype(dict.fromkeys(OWNERS, str))
    return Input(StudyPart(study, rows, part), owners, table, study, tuple(notes))


def _level0(study: Study) -> Callable[[pd.DataFrame], pd.Series]:
    """Tiles to micrometres per level-0 pixel of each one's slide.

    From the slide table, else from what samples were cut from; else x and y are assumed
    to be in the tiles' own pixels.
    """
    recorded = []
    if study.has_slide_table:
        recorded.append(study.slides.set_index("slide_id")["mpp"])
    if "source_mpp" in study.samples:
        recorded.append(study.samples.set_index("sample_id")["source_mpp"])

    def level0(tiles: pd.DataFrame) -> pd.Series:
        mpp = pd.Series(np.nan, tiles.index)
        for known in recorded:
            mpp = mpp.fillna(tiles[known.index.name].map(known).astype(float))
        return mpp.fillna(tiles["mpp"])

    return level0


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
            "level0": source.mpp,
        }
    )
    return Input(source, _one_run(table), lambda tiles: table.iloc[tiles])


def _one_run(table: pd.DataFrame) -> pd.DataFrame:
    return table[list(OWNERS)].iloc[:1].assign(tiles=len(table))


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
            "level0": np.nan,
        }
    )
    return Input(
        source, _one_run(table), lambda tiles: table.iloc[tiles], None, tuple(notes)
    )
