"""Verifies a study and says what is wrong where; changes nothing.

`inconsistencies` looks at tables and guards the writer; `check_study` looks at a study
on disk: checksums, every record, and the same tables. Tiles pass by as a stream
(`index_check.py`), so that memory is 8 bytes a tile and a few row groups.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import scipy.sparse

from pathjax.data.images import decode_tile
from pathjax.data.index_check import IndexCheck
from pathjax.data.slide_table import slide_problems
from pathjax.data.study import (
    SAMPLE_COLUMNS,
    Split,
    Study,
    StudyError,
    Target,
    sha256,
)
from pathjax.data.tile_table import stream

TILES = "tiles.parquet"
READ_AT_ONCE = 256  # records per read: a few MB


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `check_study` found: `problems` make a study unfit, `notes` do not."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_study(
    study: Study, progress: Callable[[int, int], None] | None = None
) -> Findings:
    """Reads everything in a study and lists what is wrong.

    Args:
      study: the study.
      progress: called with (tiles done, tiles in all).

    Returns:
      Problems and notes, each a sentence that names the file, row or id.
    """
    problems = []
    for name, wanted in study.meta["files"].items():
        found = sha256(study.root / name)
        if found != wanted["sha256"]:
            problems.append(
                f"{name} is not the file that was written: SHA-256 {found[:12]}..., "
                f"wanted {wanted['sha256'][:12]}..."
            )
    samples, targets = study.samples, list(study.targets.values())
    index = read_index(study)
    problems += index.problems(stream(study.root / TILES, ["tile_id"]))
    problems += record_problems(study, index, progress)
    expression = study.expression() if study.has_expression else None
    splits: list[Split] = [study.split(name) for name in study.split_names]
    problems += inconsistencies(index, samples, targets, splits, expression)
    if study.has_slide_table and not index.lacking:
        problems += slide_problems(study.slides, shard_counts(study), index.owners)
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


def shard_counts(study: Study) -> dict[str, int]:
    """Name to number of tiles of each shard, as study.json has them, in order."""
    return {Path(one["path"]).stem: one["tiles"] for one in study.meta["shards"]}


def read_index(study: Study) -> IndexCheck:
    """Looks through tiles.parquet, a row group in memory at a time."""
    meta = pq.read_metadata(study.root / TILES)
    index = IndexCheck(
        meta.schema.names,
        meta.num_rows,
        shard_counts(study),
        list(study.targets.values()),
    )
    for table in stream(study.root / TILES):
        index.add(table)
    return index


def record_problems(
    study: Study,
    index: IndexCheck,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """What is wrong with the records: their number, decoding and dimensions."""
    found = []
    indexed = index.owners.groupby("shard")["tiles"].sum()
    for name, tiles in shard_counts(study).items():
        if indexed.get(name, 0) != tiles:
            found.append(
                f"tiles.parquet lists {indexed.get(name, 0)} tiles of shard {name}, "
                f"study.json {tiles}"
            )
    if len(study) != index.rows:
        found.append(
            f"the shards hold {len(study)} records, tiles.parquet has {index.rows} "
            "rows: index and shards disagree; build the study again"
        )
        return found
    start = 0
    for name, tiles in shard_counts(study).items():
        try:
            for first in range(start, start + tiles, READ_AT_ONCE):
                rows = range(first, min(first + READ_AT_ONCE, start + tiles))
                found += tile_problems(study, rows)
                if progress:
                    progress(rows.stop, len(study))
        except (ValueError, RuntimeError, OSError) as error:
            found.append(f"shard {name} cannot be read: {error}")
        start += tiles
    return found


def tile_problems(study: Study, rows: range) -> list[str]:
    """What is wrong with some tiles, each named.

    Raises:
      ValueError, RuntimeError, OSError: their shard cannot be read.
    """
    found = []
    for row, data in zip(rows, study.tile_bytes(rows), strict=True):
        try:
            shape = decode_tile(data).shape
        except ValueError as error:
            found.append(f"tile {study.tile_id(row)} is broken: {error}")
            continue
        if shape != (study.tile_px, study.tile_px, 3):
            found.append(
                f"tile {study.tile_id(row)} is {shape[0]} x {shape[1]} px, "
                f"study.json says {study.tile_px}"
            )
    return found


def refuse(name: str, problems: list[str]) -> None:
    """Raises one StudyError with all problems, if there are any."""
    if problems:
        listing = "\n  - ".join(problems)
        raise StudyError(f"study {name} is inconsistent:\n  - {listing}")


def inconsistencies(
    index: IndexCheck,
    samples: pd.DataFrame,
    targets: Sequence[Target],
    splits: Sequence[Split],
    expression,
) -> list[str]:
    """What does not fit together among a study's tables; empty when all does.

    Args:
      index: what has seen all tiles.
      samples, targets, splits, expression: as the writer takes them.
    """
    lacking = [column for column in SAMPLE_COLUMNS if column not in samples]
    if lacking:
        return [f"samples lack the columns {', '.join(lacking)}"]
    if index.lacking:
        return []  # `index.problems` says so
    found = []
    twice = samples["sample_id"][samples["sample_id"].duplicated()]
    if len(twice):
        found.append(f"{len(twice)} sample_ids occur twice, first {twice.iloc[0]!r}")
    owners = index.owners
    orphans = sorted(set(owners["sample_id"]) - set(samples["sample_id"]))
    if orphans:
        found.append(
            f"{len(orphans)} samples of tiles are not among the samples, first "
            f"{orphans[:3]}"
        )
    empty = sorted(set(samples["sample_id"]) - set(owners["sample_id"]))
    if empty:
        found.append(f"{len(empty)} samples have no tile, first {empty[:3]}")
    patients = samples.drop_duplicates("sample_id").set_index("sample_id")["patient_id"]
    wrong = owners[owners["patient_id"] != owners["sample_id"].map(patients)]
    if len(wrong) and not orphans:
        first = wrong.iloc[0]
        found.append(
            f"{int(wrong['tiles'].sum())} tiles name another patient than their sample "
            f"does, first {first['patient_id']!r} in shard {first['shard']!r} for "
            f"sample {first['sample_id']!r}"
        )
    for target in targets:
        found += target_problems(target, index, samples)
    for split in splits:
        found += split.problems(owners)
    if expression is not None:
        found += expression_problems(expression, samples)
    return found


def target_problems(
    target: Target, index: IndexCheck, samples: pd.DataFrame
) -> list[str]:
    """What is wrong with a target's column; empty when it is sound."""
    columns = {"tile": index.missing, "sample": samples}.get(target.level, ())
    if target.name not in columns:
        return [f"target {target.name} is no column of {target.level}s"]
    if target.kind not in ("class", "number"):
        return [
            f"target {target.name} is of kind {target.kind!r}, wanted class or number"
        ]
    if target.kind == "number":
        return []
    if target.level == "tile":
        values = index.values[target.name]
    else:
        values = set(samples[target.name].dropna().astype(str))
    strange = sorted(values - set(target.classes))
    if not strange:
        return []
    known = ", ".join(target.classes)
    text = f"target {target.name} has values that are no class of it: {strange[:5]}"
    return [f"{text}; its classes are {known}"]


def report_problems(reports: pd.DataFrame, samples: pd.DataFrame) -> list[str]:
    """What is wrong with the texts of a study's samples; empty when sound."""
    found = []
    ids = reports["sample_id"]
    unknown = sorted(set(ids) - set(samples["sample_id"]))
    if unknown:
        found.append(
            f"{len(unknown)} reports are of no sample of the study, first {unknown[:3]}"
        )
    twice = sorted(set(ids[ids.duplicated()]))
    if twice:
        found.append(f"{len(twice)} samples have two reports, first {twice[:3]}")
    empty = ids[reports["text"].fillna("").astype(str).str.strip() == ""].tolist()
    if empty:
        found.append(f"{len(empty)} reports are empty, first {empty[:3]}")
    return found


def expression_problems(expression, samples: pd.DataFrame) -> list[str]:
    """What is wrong with an AnnData as a study's expression; empty when sound."""
    found = []
    genes = expression.var_names
    if not genes.is_unique:
        twice = sorted(set(genes[genes.duplicated()]))
        found.append(
            f"{len(twice)} gene names occur more than once, first {twice[:3]}: sum or "
            "drop the duplicates before"
        )
    if not expression.obs_names.is_unique:
        found.append("expression has a sample more than once")
    unknown = sorted(set(expression.obs_names) - set(samples["sample_id"]))
    if unknown:
        found.append(
            f"{len(unknown)} rows of expression are no sample of the study, first "
            f"{unknown[:3]}"
        )
    values = expression.X
    values = values.data if scipy.sparse.issparse(values) else np.asarray(values)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        dense = expression.X
        dense = dense.toarray() if scipy.sparse.issparse(dense) else np.asarray(dense)
        row, column = np.argwhere(~np.isfinite(dense))[0]
        found.append(
            f"expression has {bad} values that are not finite, first sample "
            f"{expression.obs_names[row]!r}, gene {genes[column]!r}"
        )
    return found
