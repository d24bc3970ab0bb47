"""A study: the directory that trainers and probes read (docs/study.md lists its files).

Reads only. `study_writer.py` writes, `check.py` verifies, `show.py` describes. Tiles
are not decoded here, expression not normalised, batches not made.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.buckets import address_of, has, hold, local, most_open
from pathjax.data.row_ranges import RowRanges
from pathjax.data.split import UNITS, Split, Target
from pathjax.data.study_tables import (
    OWNERS,
    read_frame,
    read_rows,
    runs_of_slides,
    runs_of_tiles,
    slides_of_tiles,
    stream,
)
from pathjax.files import mismatch, read_json, sha256

SCHEMA = 1


class StudyError(ValueError):
    """A study, or what it is made from, cannot be used; says where and what to do."""


# Shapes of JSON, see `files.mismatch`.
STUDY = {
    "name": str,
    "tile_px": int,
    "mpp": float,
    "synthetic": bool,
    "targets": [
        {**dict.fromkeys(("name", "level", "kind"), str), "classes": [str],
         "description?": str}
    ],
    "files": {str: {"sha256": str, "bytes?": int}},
    "shards?": [{"path": str, "tiles": int}],
    "skipped?": [{"what": str, "reason": str}],
    "provenance?": dict,
}  # fmt: skip
SPLIT = {"folds": {str: [str]}, "unit": str, "shared_patients": [str], "note": str}


def listing(problems: Sequence[str], most: int = 450, separator: str = "; ") -> str:
    """Problems one after another; after `most` characters, how many more there are."""
    shown = [problem[:most] for problem in problems[:1]]
    for problem in problems[1:]:
        if len(separator.join([*shown, problem])) > most:
            shown.append(f"and {len(problems) - len(shown)} more")
            break
        shown.append(problem)
    return separator.join(shown)


def fingerprint_of(files: dict[str, dict[str, Any]]) -> str:
    """One hash for a study's content: of its files' names and checksums."""
    lines = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_split(path: Path) -> Split:
    """The split in splits/NAME.json.

    Raises:
      StudyError: The file is damaged.
    """
    try:
        entry = read_json(path, SPLIT)
    except ValueError as error:
        raise StudyError(f"{error}; make the split again") from error
    if entry["unit"] not in UNITS:
        raise StudyError(
            f"{path}: expected unit {' or '.join(UNITS)}, got {entry['unit']!r}"
        )
    return Split(
        name=path.stem,
        folds={fold: tuple(ids) for fold, ids in entry["folds"].items()},
        unit=entry["unit"],
        shared_patients=tuple(entry["shared_patients"]),
        note=entry["note"],
    )


class Study:
    """Reads a study. Opening one reads study.json only; the rest is read when asked.

    Args:
      root: The study's directory.

    Raises:
      StudyError: There is no study, its schema is another, or a file is missing.
    """

    def __init__(self, root: str | Path):
        self.root = local(root)
        path = self.root / "study.json"
        if not path.is_file():
            raise StudyError(
                f"{self.root} has no study.json: it is not a study, or building it was "
                "interrupted; run the command that builds it again to resume"
            )
        try:
            self.meta: dict[str, Any] = read_json(path, dict)
        except ValueError as error:
            raise StudyError(str(error)) from error
        if self.meta.get("schema") != SCHEMA:
            raise StudyError(
                f"{path}: expected schema {SCHEMA}, got {self.meta.get('schema')!r}: "
                "build the study again with this version"
            )
        problem = mismatch(self.meta, STUDY)
        if not problem and not (self.tile_px >= 1 and 0 < self.mpp < math.inf):
            got = f"{self.tile_px}, {self.mpp}"
            problem = f"expected tile_px and mpp above 0, got {got}"
        if problem:
            raise StudyError(f"{path} is damaged: {problem}; copy or build it again")
        missing = [name for name in self.meta["files"] if not self._is_there(name)]
        if missing:
            raise StudyError(
                f"{self.root} lacks {len(missing)} of its files, first {missing[:3]}: "
                "copy the study whole, or build it again"
            )

    def _is_there(self, name: str) -> bool:
        """Whether a file exists, inside the study or where a link of it leads.

        A study in the cache of a hub consists of links. One that leads outside has to
        be to a file of the recorded size (`pathjax data check` compares the content).
        """
        path = self.root / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise StudyError(f"{self.root}/study.json names {name}, outside the study")
        if not has(path):
            return False
        if address_of(path):  # its copy is what the bucket has
            return True
        size = self.meta["files"][name].get("bytes")
        inside = path.resolve().is_relative_to(self.root.resolve())
        if not inside and path.stat().st_size != size:
            raise StudyError(
                f"{path} is a link to {path.resolve()}, outside the study, and not to "
                f"the file of {size} bytes that was written: copy the study again"
            )
        return True

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def tile_px(self) -> int:
        return self.meta["tile_px"]

    @property
    def mpp(self) -> float:
        return self.meta["mpp"]

    @property
    def synthetic(self) -> bool:
        return self.meta["synthetic"]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the content: two studies with equal content have equal ones."""
        return fingerprint_of(self.meta["files"])

    def hashes(self, split: str) -> dict[str, str]:
        """SHA-256 of the tables, the expression and one split, as they are on disk.

        The fingerprint is of the files as they were when the study was built.
        """
        names = ["tiles.parquet", "samples.parquet", "slides.parquet"]
        names += ["expression.h5ad", f"splits/{split}.json"]
        return {name: self.sha256(name) for name in names if name in self.meta["files"]}

    def sha256(self, name: str) -> str:
        """SHA-256 of one file as it is on disk, or in the bucket."""
        with hold(self.root / name) or contextlib.nullcontext():
            return sha256(self.root / name)

    @functools.cached_property
    def targets(self) -> dict[str, Target]:
        known = [field.name for field in dataclasses.fields(Target)]
        targets = {}
        for entry in self.meta["targets"]:
            values = {key: entry[key] for key in known if key in entry}
            values["classes"] = tuple(entry["classes"])
            targets[entry["name"]] = Target(**values)
        return targets

    @functools.cached_property
    def tiles(self) -> pd.DataFrame:
        """A row per tile, in global record order."""
        return read_frame(self.root / "tiles.parquet")

    def tile_rows(
        self, rows: Int[np.ndarray, "n"], columns: Sequence[str]
    ) -> pd.DataFrame:
        """Columns of some tiles, by number; `tiles` need not fit into memory."""
        if not len(rows):
            return pd.DataFrame(columns=list(columns))
        return read_rows(self.root / "tiles.parquet", np.asarray(rows), columns)

    def tile_id(self, row: int) -> str:
        """The id of one tile."""
        return self.tile_rows(np.array([row]), ["tile_id"])["tile_id"].iloc[0]

    @functools.cached_property
    def samples(self) -> pd.DataFrame:
        """A row per sample."""
        return read_frame(self.root / "samples.parquet")

    @functools.cached_property
    def slides(self) -> pd.DataFrame:
        """A row per slide, columns `study_tables.SLIDE_COLUMNS`.

        From slides.parquet, or else from the tiles, which leaves path, width, tissue
        and so on missing.
        """
        if self.has_slide_table:
            return read_frame(self.root / "slides.parquet")
        return slides_of_tiles(self.tiles)

    @property
    def has_slide_table(self) -> bool:
        return "slides.parquet" in self.meta["files"]

    @property
    def has_expression(self) -> bool:
        return "expression.h5ad" in self.meta["files"]

    def expression(self):
        """The expression as AnnData; rows are samples, not necessarily all of them.

        Raises:
          StudyError: The study has no expression.
        """
        import anndata

        if not self.has_expression:
            raise StudyError(
                f"study {self.name} has no expression.h5ad: it can be probed, but not "
                "used for fine-tuning on expression"
            )
        return anndata.read_h5ad(self.root / "expression.h5ad")

    def to_anndata(self):
        """The samples as one AnnData that scanpy and squidpy plot.

        Expression as it is kept, all columns of `samples` in obs, and where samples are
        spots, obsm["spatial"] and a small image of each slide in uns["spatial"].

        Raises:
          StudyError: The study has no expression.
        """
        from pathjax.data.study_anndata import to_anndata

        return to_anndata(self)

    @classmethod
    def from_anndata(cls, adata, image, out: str | Path, **options) -> "Study":
        """Builds a study of sections in memory, for example

            Study.from_anndata(adata, "slide.tif", "study", mpp=0.5, patient="P1")

        Arguments are those of
        `pathjax.datasets.spatial.in_memory.study_from_anndata`.
        """
        return _spatial("study_from_anndata")(adata, image, out, **options)

    @classmethod
    def from_spatialdata(cls, sdata, out: str | Path, **options) -> "Study":
        """Builds a study of SpatialData objects.

        Arguments are those of
        `pathjax.datasets.spatial.in_memory.study_from_spatialdata`.
        """
        return _spatial("study_from_spatialdata")(sdata, out, **options)

    def reports(self) -> pd.DataFrame:
        """Report texts: columns sample_id and text; empty when there are none."""
        if "reports.parquet" not in self.meta["files"]:
            return pd.DataFrame({"sample_id": [], "text": []})
        return read_frame(self.root / "reports.parquet")

    @property
    def split_names(self) -> tuple[str, ...]:
        names = (Path(name) for name in self.meta["files"])
        return tuple(sorted(n.stem for n in names if n.parent.name == "splits"))

    def split(self, name: str) -> Split:
        """The split called `name`.

        Raises:
          StudyError: There is no such split.
        """
        if name not in self.split_names:
            raise StudyError(
                f"study {self.name} has no split {name!r}; it has "
                f"{', '.join(self.split_names) or 'none'}"
            )
        return read_split(self.root / f"splits/{name}.json")

    @functools.cached_property
    def runs(self) -> pd.DataFrame:
        """Stretches of consecutive tiles of one slide and one sample, in order.

        Columns `slide_id, patient_id, sample_id, first_row, tiles`. From slides.parquet
        where that has them, so that folds of 10^8 tiles cost as much as their slides.
        """
        if self.has_slide_table:
            runs = runs_of_slides(self.slides)
            if runs["sample_id"].notna().all():
                return runs
        parts = stream(self.root / "tiles.parquet", OWNERS)
        return runs_of_tiles(part.to_pandas() for part in parts)

    def run_of(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """The place in `runs` of each tile, by number."""
        first = self.runs["first_row"].to_numpy()
        return np.searchsorted(first, rows, side="right") - 1

    def fold_runs(self, split: str, fold: str) -> pd.DataFrame:
        """The rows of `runs` of one fold.

        Raises:
          StudyError: There is no such split or fold.
        """
        named = self.split(split)
        if fold not in named.folds:
            raise StudyError(
                f"split {split} of study {self.name} has no fold {fold!r}; it has "
                f"{', '.join(named.folds)}"
            )
        return self.runs[self.runs[named.unit].isin(named.folds[fold])]

    def fold_tiles(self, split: str, fold: str) -> np.ndarray:
        """Row numbers into `tiles` of one fold, int64, ascending: 8 bytes a tile."""
        return RowRanges.of_runs(self.fold_runs(split, fold)).to_array()

    def fold_samples(self, split: str, fold: str) -> np.ndarray:
        """Row numbers into `samples` of one fold (samples with at least one tile)."""
        inside = self.fold_runs(split, fold)["sample_id"]
        return np.flatnonzero(self.samples["sample_id"].isin(inside))

    @functools.cached_property
    def _records(self):
        from pathjax.data.records import OPEN_READERS, Records

        shards, files = self.meta["shards"], self.meta["files"]
        sizes = [files.get(one["path"], {}).get("bytes") or 0 for one in shards]
        return Records(
            [self.root / shard["path"] for shard in shards],
            [shard["tiles"] for shard in shards],
            most_open(self.root, sizes, OPEN_READERS),
        )

    def __len__(self) -> int:
        """The number of tiles in the shards."""
        return len(self._records)

    def tile_bytes(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Encoded tiles by global row number."""
        return self._records.read(rows)


def _spatial(name: str):
    """A function of a later package, by name as extensions are."""
    return getattr(importlib.import_module("pathjax.datasets.spatial.in_memory"), name)
