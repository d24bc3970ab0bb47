"""A study: the one contract on disk that trainers and probes read (docs/study.md).

    STUDY/study.json          what it is, provenance, targets, shards, checksums
          tiles/*.array_record  encoded tiles, one record each
          tiles.parquet       a row per tile, in global record order
          samples.parquet     a row per sample (spot, slide or patient)
          slides.parquet      optional; a row per slide, skipped ones too
          expression.h5ad     optional; obs_names are sample ids
          reports.parquet     optional; sample_id, text
          splits/NAME.json    fold -> patient ids (or declared slide ids)

This module reads. `writer.py` writes, `check.py` verifies, `show.py` describes. It
does not decode tiles, normalise expression or make batches.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.row_ranges import RowRanges
from pathjax.data.slide_table import runs_of_slides, runs_of_tiles, slides_of_tiles

SCHEMA = 1

TILE_COLUMNS = (
    "tile_id",
    "sample_id",
    "patient_id",
    "site",
    "slide_id",
    "x",
    "y",
    "mpp",
    "shard",
    "row",
)
SAMPLE_COLUMNS = ("sample_id", "patient_id", "site")


class StudyError(ValueError):
    """A study is not what it should be; the message says where and what to do."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A label that tiles or samples carry.

    Attributes:
      name: column in tiles.parquet or samples.parquet.
      level: "tile" or "sample".
      kind: "class" (strings, missing is None) or "number" (floats, missing is NaN).
      classes: the class names in index order; empty for numbers.
      description: one line for a person.
    """

    name: str
    level: str
    kind: str
    classes: tuple[str, ...] = ()
    description: str = ""


@dataclasses.dataclass(frozen=True)
class Split:
    """Named folds of patients. Tiles and samples inherit their patient's fold.

    Attributes:
      name: file name without its ending.
      folds: fold name to ids.
      unit: what the ids are: "patient_id", or "slide_id" where a study's design holds
        sections of one patient apart. The latter shares patients between folds, so
        they have to be declared in `shared_patients` and stand in every table.
      shared_patients: patients that occur in several folds; only for "slide_id".
      note: one line for a person.
    """

    name: str
    folds: dict[str, tuple[str, ...]]
    unit: str = "patient_id"
    shared_patients: tuple[str, ...] = ()
    note: str = ""

    def problems(self, tiles: pd.DataFrame) -> list[str]:
        """What is wrong with the split; empty when it is sound.

        Args:
          tiles: the study's tiles, or a table that has each of their pairs of
            `slide_id` and `patient_id` once or more, such as `Study.runs`.
        """
        found = []
        if self.unit not in ("patient_id", "slide_id"):
            wanted = "patient_id or slide_id: nothing is ever split by tile"
            return [f"split {self.name}: unit is {self.unit!r}, wanted {wanted}"]
        owners: dict[str, str] = {}
        for fold, ids in self.folds.items():
            for one in ids:
                if one in owners:
                    found.append(
                        f"split {self.name}: {one} is in folds {owners[one]} and {fold}"
                    )
                owners[one] = fold
        known = set(tiles[self.unit])
        unknown = sorted(set(owners) - known)
        if unknown:
            found.append(
                f"split {self.name}: {len(unknown)} {self.unit}s are not in the study, "
                f"first {unknown[:3]}"
            )
        if self.unit == "slide_id":
            pairs = tiles[["slide_id", "patient_id"]].drop_duplicates()
            folds = pairs.assign(fold=pairs["slide_id"].map(owners)).dropna()
            counts = folds.groupby("patient_id")["fold"].nunique()
            shared = sorted(counts.index[counts > 1])
            if shared != sorted(self.shared_patients):
                found.append(
                    f"split {self.name}: patients {shared} are in several folds, "
                    f"declared are {sorted(self.shared_patients)}: declare them in "
                    "shared_patients, or split by patient"
                )
        elif self.shared_patients:
            found.append(
                f"split {self.name}: shared_patients is for splits by slide_id; "
                "a split by patient shares none"
            )
        return found


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A Parquet table, opened by Arrow itself.

    pandas would open the file and hand it to Arrow, whose threads may let go of it when
    Python is at its end: the process then aborts, or hangs, with all its work done
    (apache/arrow#34314 and #50482).
    """
    from pyarrow.fs import LocalFileSystem

    return pd.read_parquet(path, columns=columns, filesystem=LocalFileSystem())


def fingerprint_of(files: dict[str, dict[str, Any]]) -> str:
    """One hash for a study's content: of its files' names and checksums."""
    lines = "".join(f"{name} {files[name]['sha256']}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


class Study:
    """Reads a study. Opening one reads study.json only; the rest is read when asked.

    Args:
      root: the study's directory.

    Raises:
      StudyError: there is no study, its schema is another, or a file is missing.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        path = self.root / "study.json"
        if not path.is_file():
            raise StudyError(
                f"{self.root} holds no study.json: it is no study, or its building was "
                "interrupted; run the command that builds it again, it goes on where "
                "it stopped"
            )
        try:
            self.meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise StudyError(f"{path} is not JSON: {error}") from error
        if self.meta.get("schema") != SCHEMA:
            raise StudyError(
                f"{path} has schema {self.meta.get('schema')!r}, this pathjax reads "
                f"{SCHEMA}: build the study again with this version"
            )
        missing = [name for name in self.meta["files"] if not self._path(name).exists()]
        if missing:
            raise StudyError(
                f"{self.root} lacks {len(missing)} of its files, first {missing[:3]}: "
                "copy the study whole, or build it again"
            )

    def _path(self, name: str) -> Path:
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise StudyError(
                f"{self.root}/study.json names {name}, outside the study: refused"
            )
        return path

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

    @functools.cached_property
    def targets(self) -> dict[str, Target]:
        return {
            entry["name"]: Target(**{**entry, "classes": tuple(entry["classes"])})
            for entry in self.meta["targets"]
        }

    @functools.cached_property
    def tiles(self) -> pd.DataFrame:
        """A row per tile, in global record order."""
        return read_frame(self.root / "tiles.parquet")

    def tile_id(self, row: int) -> str:
        """The id of one tile; reads its row group of tiles.parquet and no other."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.root / "tiles.parquet") as file:
            groups = range(file.metadata.num_row_groups)
            sizes = [file.metadata.row_group(group).num_rows for group in groups]
            ends = np.cumsum(sizes)
            group = int(np.searchsorted(ends, row, side="right"))
            ids = file.read_row_group(group, ["tile_id"])["tile_id"]
            return ids[int(row - ends[group])].as_py()

    @functools.cached_property
    def samples(self) -> pd.DataFrame:
        """A row per sample."""
        return read_frame(self.root / "samples.parquet")

    @functools.cached_property
    def slides(self) -> pd.DataFrame:
        """A row per slide, columns `slide_table.SLIDE_COLUMNS`.

        From slides.parquet, or from the tiles in a study that has none; what they do
        not say (path, width, tissue, ...) is then missing.
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
          StudyError: the study has no expression.
        """
        import anndata

        if not self.has_expression:
            raise StudyError(
                f"study {self.name} has no expression.h5ad: it can be probed, but not "
                "used for fine-tuning on expression"
            )
        return anndata.read_h5ad(self.root / "expression.h5ad")

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
          StudyError: there is no such split.
        """
        if name not in self.split_names:
            raise StudyError(
                f"study {self.name} has no split {name!r}; it has "
                f"{', '.join(self.split_names) or 'none'}"
            )
        text = self._path(f"splits/{name}.json").read_text(encoding="utf-8")
        entry = json.loads(text)
        return Split(
            name=name,
            folds={fold: tuple(ids) for fold, ids in entry["folds"].items()},
            unit=entry["unit"],
            shared_patients=tuple(entry["shared_patients"]),
            note=entry["note"],
        )

    @functools.cached_property
    def runs(self) -> pd.DataFrame:
        """Stretches of consecutive tiles of one slide and one sample, in their order.

        Columns `slide_id, patient_id, sample_id, first_row, tiles`. Tiles are not read
        where slides.parquet says it all: whatever asks for folds, samples or slides
        asks this table, so that a study of 10^8 tiles costs as much as its slides.
        """
        if self.has_slide_table:
            runs = runs_of_slides(self.slides)
            if runs["sample_id"].notna().all():
                return runs
        return runs_of_tiles(self.tiles)

    def fold_runs(self, split: str, fold: str) -> pd.DataFrame:
        """The rows of `runs` of one fold.

        Raises:
          StudyError: there is no such split or fold.
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
        runs = self.fold_runs(split, fold)
        return RowRanges(
            runs["first_row"].to_numpy(), runs["tiles"].to_numpy()
        ).to_array()

    def fold_samples(self, split: str, fold: str) -> np.ndarray:
        """Row numbers into `samples` of one fold (samples with at least one tile)."""
        inside = self.fold_runs(split, fold)["sample_id"]
        return np.flatnonzero(self.samples["sample_id"].isin(inside))

    @functools.cached_property
    def _records(self):
        from pathjax.data.records import Records

        shards = self.meta["shards"]
        return Records(
            [self.root / shard["path"] for shard in shards],
            [shard["tiles"] for shard in shards],
        )

    def __len__(self) -> int:
        """The number of tiles in the shards."""
        return len(self._records)

    def tile_bytes(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Encoded tiles by global row number."""
        return self._records.read(rows)
