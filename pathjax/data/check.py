"""Verifies a study and says what is wrong where; changes nothing.

`check_study` looks at a study on disk: checksums, every record, the tables.
`table_problems` looks at the tables alone; the writer refuses what it finds. Tiles pass
as a stream (`IndexCheck`): memory is 8 bytes a tile and a few row groups.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse
from jaxtyping import Int

from pathjax.data import followup
from pathjax.data.expression_check import plausibility_problems
from pathjax.data.images import decode_tile, is_grey
from pathjax.data.measured import measured_problems
from pathjax.data.study import Split, Study, Target
from pathjax.data.study_tables import (
    OWNERS,
    SAMPLE_COLUMNS,
    TILE_COLUMNS,
    few,
    first_rows,
    slide_problems,
    stream,
)
from pathjax.data.tables import alike

TILES = "tiles.parquet"
READ_AT_ONCE = 256  # records per read: a few MB
KEYS = ["shard", *OWNERS]
# Ids of equal hash are compared themselves, up to so many: of 10^8 ids two share one of
# 2^64 hashes with a probability of 3e-4, and a thousand pairs never do.
COMPARED = 1000


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `check_study` found: `problems` make a study unfit, `notes` do not."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


class IndexCheck:
    """What a study's tiles say, gathered piece by piece.

    Args:
      columns: Of the table.
      rows: Its number of tiles.
      shards: Name to number of tiles, in the order of the study.
      targets: Those of the study; the ones of tiles are looked at.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: int,
        shards: Mapping[str, int],
        targets: Sequence[Target],
    ):
        own = [t for t in targets if t.level == "tile" and t.name in columns]
        self.lacking = [name for name in TILE_COLUMNS if name not in columns]
        self.missing = {target.name: 0 for target in own}
        self.values: dict[str, set[str]] = {
            target.name: set() for target in own if target.kind == "class"
        }
        self.rows = 0
        self._hashes = np.empty(rows, np.int64)
        self._names = pa.array(list(shards), pa.string())
        self._sizes = np.array(list(shards.values()), np.int64)
        self._ends = np.cumsum(self._sizes)
        self._pieces: list[pd.DataFrame] = []
        self._misplaced: list[int] = []  # the first of each piece
        self._n_misplaced = 0

    def add(self, table: pa.Table) -> None:
        """Looks at the next rows."""
        if self.lacking:
            return
        stop = self.rows + len(table)
        self._hashes[self.rows : stop] = _hashes(table["tile_id"])
        groups = table.select(KEYS).group_by(KEYS, use_threads=False)
        pieces = groups.aggregate([([], "count_all")]).to_pandas()
        self._pieces.append(pieces.rename(columns={"count_all": "tiles"}))
        for name in self.missing:
            null = pc.is_null(table[name], nan_is_null=True)
            self.missing[name] += pc.sum(null).as_py() or 0
        for name, values in self.values.items():
            values.update(map(str, pc.unique(table[name]).drop_null().to_pylist()))
        self._look_at_places(table, np.arange(self.rows, stop))
        self.rows = stop

    def _look_at_places(self, table: pa.Table, rows: Int[np.ndarray, "n"]) -> None:
        """Row r of the table has to be record r of the shards."""
        expected = np.searchsorted(self._ends, rows, side="right")
        inside = expected < len(self._ends)  # a table longer than its shards
        rows, expected = rows[inside], expected[inside]
        shard = pc.index_in(table["shard"].cast(pa.string()), self._names)
        wrong = shard.fill_null(-1).to_numpy()[inside] != expected
        place = rows - (self._ends - self._sizes)[expected]
        wrong |= table["row"].to_numpy()[inside] != place
        if wrong.any():
            self._misplaced.append(int(rows[wrong][0]))
            self._n_misplaced += int(wrong.sum())

    @property
    def owners(self) -> pd.DataFrame:
        """`shard, slide_id, patient_id, sample_id, tiles`: each combination once."""
        if not self._pieces:
            return pd.DataFrame({name: [] for name in [*KEYS, "tiles"]})
        joined = pd.concat(self._pieces, ignore_index=True)
        return joined.groupby(KEYS, sort=False, dropna=False, as_index=False).sum()

    def problems(self, ids: Iterable[pa.Table]) -> list[str]:
        """What is wrong with the tiles among themselves.

        Args:
          ids: The column tile_id of the same rows, read only where hashes repeat.
        """
        if self.lacking:
            return [f"tiles lack the columns {', '.join(self.lacking)}"]
        problems = self._repeated(ids)
        if self._misplaced:
            problems.append(
                f"{self._n_misplaced} rows of {TILES} are not in the order of the "
                f"records, first row {self._misplaced[0]}"
            )
        return problems

    def _repeated(self, ids: Iterable[pa.Table]) -> list[str]:
        hashes = self._hashes[: self.rows]
        hashes.sort()
        suspects = hashes[1:][hashes[1:] == hashes[:-1]]
        if not len(suspects):
            return []
        seen: set[str] = set()
        twice: list[str] = []
        compared = np.unique(suspects[:COMPARED])
        for table in ids:
            column = table["tile_id"]
            for place in np.flatnonzero(np.isin(_hashes(column), compared)).tolist():
                tile_id = column[place].as_py()
                if tile_id in seen:
                    twice.append(tile_id)
                seen.add(tile_id)
        count = len(twice) if len(suspects) <= COMPARED else len(suspects)
        return [f"{count} tile_ids occur twice, first {twice[0]!r}"] if twice else []


def _hashes(column: pa.ChunkedArray) -> Int[np.ndarray, "n"]:
    """Python's own 64-bit hashes: SipHash with a new key in each process."""
    return np.fromiter(map(hash, column.to_pylist()), np.int64, len(column))


def check_study(
    study: Study, progress: Callable[[int, int], None] = lambda done, total: None
) -> Findings:
    """Reads everything in a study and lists what is wrong.

    Args:
      study: The study.
      progress: Called with (tiles done, tiles in all).
    """
    problems = []
    for name, entry in study.meta["files"].items():
        got = study.sha256(name)
        if got != entry["sha256"]:
            problems.append(
                f"{name} is not the file that was written: SHA-256 {got[:12]}..., "
                f"expected {entry['sha256'][:12]}..."
            )
    samples, targets = study.samples, list(study.targets.values())
    shards = {
        Path(shard["path"]).stem: shard["tiles"] for shard in study.meta["shards"]
    }
    meta = pq.read_metadata(study.root / TILES)
    index = IndexCheck(meta.schema.names, meta.num_rows, shards, targets)
    for table in stream(study.root / TILES):
        index.add(table)
    problems += index.problems(stream(study.root / TILES, ["tile_id"]))
    problems += _record_problems(study, index, shards, progress)
    expression = study.expression() if study.has_expression else None
    splits = [study.split(name) for name in study.split_names]
    problems += table_problems(index, samples, targets, splits, expression)
    if study.has_slide_table and not index.lacking:
        problems += slide_problems(study.slides, shards, index.owners)
    reports = study.reports()
    problems += report_problems(reports, samples)
    notes = []
    if len(reports):
        notes.append(f"{len(reports)} of {len(samples)} samples have a report")
    if expression is not None:
        without = sorted(set(samples["sample_id"]) - set(expression.obs_names))
        if without:
            notes.append(
                f"{len(without)} of {len(samples)} samples have no expression, first "
                f"{without[:3]}"
            )
    for name in ("patient_id", "sample_id"):
        for group in alike(samples[name])[:3]:
            notes.append(
                f"{name}s {', '.join(group)} differ only by case, leading zeros or "
                "'.0': if they are one, write it in one way"
            )
    for target in targets:
        if target.level == "tile":
            missing, count = index.missing.get(target.name, 0), index.rows
        else:
            missing, count = int(samples[target.name].isna().sum()), len(samples)
        if missing:
            notes.append(f"{missing} of {count} {target.level}s have no {target.name}")
    if study.meta["skipped"]:
        first = study.meta["skipped"][0]
        notes.append(
            f"{len(study.meta['skipped'])} things were skipped when it was built, "
            f"first {first['what']}: {first['reason']}"
        )
    return Findings(tuple(problems), tuple(notes))


def _record_problems(
    study: Study,
    index: IndexCheck,
    shards: Mapping[str, int],
    progress: Callable[[int, int], None],
) -> list[str]:
    """What is wrong with the records: their number, decoding and dimensions."""
    problems = []
    indexed = index.owners.groupby("shard")["tiles"].sum()
    for name, tiles in shards.items():
        if indexed.get(name, 0) != tiles:
            problems.append(
                f"{TILES} lists {indexed.get(name, 0)} tiles of shard {name}, "
                f"study.json {tiles}"
            )
    if len(study) != index.rows:
        problems.append(
            f"the shards hold {len(study)} records, {TILES} has {index.rows} rows: "
            "build the study again"
        )
        return problems
    for name, start in first_rows(shards).items():
        stop = start + shards[name]
        try:
            for first in range(start, stop, READ_AT_ONCE):
                rows = range(first, min(first + READ_AT_ONCE, stop))
                problems += _tile_problems(study, rows)
                progress(rows.stop, len(study))
        except (ValueError, RuntimeError, OSError) as error:
            problems.append(f"shard {name} cannot be read: {error}")
    return problems


def _tile_problems(study: Study, rows: range) -> Iterable[str]:
    problems, grey = [], []
    for row, data in zip(rows, study.tile_bytes(rows), strict=True):
        try:
            shape = decode_tile(data).shape
            if is_grey(data):
                grey.append(study.tile_id(row))
        except ValueError as error:
            problems.append(f"tile {study.tile_id(row)} is broken: {error}")
            continue
        if shape != (study.tile_px, study.tile_px, 3):
            problems.append(
                f"tile {study.tile_id(row)} is {shape[0]} x {shape[1]} px, "
                f"study.json says {study.tile_px}"
            )
    if grey:
        problems.append(
            f"{len(grey)} tiles have one channel, first {grey[0]}: expected RGB"
        )
    return problems


def table_problems(
    index: IndexCheck,
    samples: pd.DataFrame,
    targets: Sequence[Target],
    splits: Sequence[Split],
    expression,
) -> list[str]:
    """What does not fit together among a study's tables, in sentences.

    Args:
      index: Has seen all tiles.
      samples, targets, splits, expression: As for `StudyWriter.finish`.
    """
    lacking = [column for column in SAMPLE_COLUMNS if column not in samples]
    if lacking:
        return [f"samples lack the columns {', '.join(lacking)}"]
    if index.lacking:
        return []  # `index.problems` says so
    ids, owners = samples["sample_id"], index.owners
    problems = []
    for what, table in (("samples", samples), ("tiles", owners)):
        for name in {"sample_id", "patient_id", "slide_id"} & set(table):
            numbers = [
                value for value in set(table[name]) if not isinstance(value, str)
            ]
            if numbers:
                problems.append(
                    f"{name} of {what}: expected text, got {numbers[0]!r}: pandas reads "
                    "7 and 007 as one number; read tables with dtype=str"
                )
    if problems:
        return problems
    problems += few(ids[ids.duplicated()], "sample_ids occur twice")
    orphans = set(owners["sample_id"]) - set(ids)
    problems += few(orphans, "samples of tiles are not among the samples")
    problems += few(set(ids) - set(owners["sample_id"]), "samples have no tile")
    patients = samples.drop_duplicates("sample_id").set_index("sample_id")["patient_id"]
    wrong = owners[owners["patient_id"] != owners["sample_id"].map(patients)]
    if len(wrong) and not orphans:
        first = wrong.iloc[0]
        problems.append(
            f"{int(wrong['tiles'].sum())} tiles name another patient than their sample "
            f"does, first {first['patient_id']!r} in shard {first['shard']!r} for "
            f"sample {first['sample_id']!r}"
        )
    for target in targets:
        problems += _target_problems(target, index, samples)
    for split in splits:
        problems += split.problems(owners)
    if expression is not None:
        problems += expression_problems(expression, samples)
    return problems


def _target_problems(
    target: Target, index: IndexCheck, samples: pd.DataFrame
) -> list[str]:
    columns = {"tile": index.missing, "sample": samples}.get(target.level, ())
    if target.name not in columns:
        return [f"target {target.name} is no column of {target.level}s"]
    if target.kind == "survival" and target.level == "sample":
        return followup.target_problems(target.name, samples)
    if target.kind not in ("class", "number"):
        return [f"target {target.name}: expected class or number, got {target.kind!r}"]
    if target.kind == "number":
        return []
    if target.level == "tile":
        values = index.values[target.name]
    else:
        values = set(samples[target.name].dropna().astype(str))
    strange = sorted(values - set(target.classes))
    if not strange:
        return []
    text = f"target {target.name} has {len(strange)} values that are no class of it: "
    return [f"{text}{strange[:5]}; its classes are {', '.join(target.classes[:10])}"]


def report_problems(reports: pd.DataFrame, samples: pd.DataFrame) -> list[str]:
    """What is wrong with the texts of a study's samples."""
    ids = reports["sample_id"]
    unknown = set(ids) - set(samples["sample_id"])
    empty = ids[reports["text"].fillna("").astype(str).str.strip() == ""]
    return [
        *few(unknown, "reports are of no sample of the study"),
        *few(ids[ids.duplicated()], "samples have two reports"),
        *few(empty, "reports are empty"),
    ]


def expression_problems(expression, samples: pd.DataFrame) -> list[str]:
    """What is wrong with an AnnData as a study's expression."""
    genes = expression.var_names
    problems = few(
        genes[genes.duplicated()],
        "gene names occur more than once (sum or drop the duplicates before)",
    )
    if not expression.obs_names.is_unique:
        problems.append("expression has a sample more than once")
    problems += few(
        set(expression.obs_names) - set(samples["sample_id"]),
        "rows of expression are no sample of the study",
    )
    values = expression.X
    values = values.data if scipy.sparse.issparse(values) else np.asarray(values)
    if not np.isfinite(values).all():
        dense = expression.X
        dense = dense.toarray() if scipy.sparse.issparse(dense) else np.asarray(dense)
        row, column = np.argwhere(~np.isfinite(dense))[0]
        problems.append(
            f"expression has {int((~np.isfinite(values)).sum())} values that are not "
            f"finite, first sample {expression.obs_names[row]!r}, gene "
            f"{genes[column]!r}"
        )
        return problems
    return problems + measured_problems(expression) + plausibility_problems(expression)
