"""Verifies a study and says what is wrong where; changes nothing.

`inconsistencies` looks at tables in memory and guards the writer; `check_study` looks
at a study on disk: checksums, every record, and the same tables.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.images import decode_tile
from pathjax.data.study import (
    SAMPLE_COLUMNS,
    TILE_COLUMNS,
    Split,
    Study,
    StudyError,
    Target,
    sha256,
)

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
    tiles, samples = study.tiles, study.samples
    problems += record_problems(study, progress)
    expression = study.expression() if study.has_expression else None
    splits: list[Split] = [study.split(name) for name in study.split_names]
    problems += inconsistencies(
        tiles, samples, list(study.targets.values()), splits, expression
    )
    notes = []
    if expression is not None:
        without = sorted(set(samples["sample_id"]) - set(expression.obs_names))
        if without:
            notes.append(
                f"{len(without)} of {len(samples)} samples have no expression, first "
                f"{without[:3]}"
            )
    for target in study.targets.values():
        frame = tiles if target.level == "tile" else samples
        missing = int(frame[target.name].isna().sum())
        if missing:
            notes.append(
                f"{missing} of {len(frame)} {target.level}s have no {target.name}"
            )
    if study.meta["skipped"]:
        first = study.meta["skipped"][0]
        notes.append(
            f"{len(study.meta['skipped'])} things were skipped when it was built, "
            f"first {first['what']}: {first['reason']}"
        )
    return Findings(tuple(problems), tuple(notes))


def record_problems(
    study: Study, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """What is wrong with the records: their number, decoding and dimensions."""
    tiles = study.tiles
    indexed = tiles["shard"].value_counts()
    found = []
    for shard in study.meta["shards"]:
        name = shard["path"].removeprefix("tiles/").removesuffix(".array_record")
        if indexed.get(name, 0) != shard["tiles"]:
            found.append(
                f"tiles.parquet lists {indexed.get(name, 0)} tiles of {shard['path']}, "
                f"study.json {shard['tiles']}"
            )
    try:
        records = len(study)
    except (ValueError, RuntimeError, OSError) as error:
        return [*found, f"the shards cannot be read: {error}"]
    if records != len(tiles):
        found.append(
            f"the shards hold {records} records, tiles.parquet has {len(tiles)} rows: "
            "index and shards disagree; build the study again"
        )
        return found
    for start in range(0, records, READ_AT_ONCE):
        rows = range(start, min(start + READ_AT_ONCE, records))
        for row, data in zip(rows, study.tile_bytes(rows), strict=True):
            try:
                shape = decode_tile(data).shape
            except ValueError as error:
                found.append(f"tile {tiles['tile_id'].iloc[row]} is broken: {error}")
                continue
            if shape != (study.tile_px, study.tile_px, 3):
                found.append(
                    f"tile {tiles['tile_id'].iloc[row]} is {shape[0]} x {shape[1]} px, "
                    f"study.json says {study.tile_px}"
                )
        if progress:
            progress(rows.stop, records)
    return found


def refuse(name: str, problems: list[str]) -> None:
    """Raises one StudyError with all problems, if there are any."""
    if problems:
        listing = "\n  - ".join(problems)
        raise StudyError(f"study {name} is inconsistent:\n  - {listing}")


def inconsistencies(
    tiles: pd.DataFrame,
    samples: pd.DataFrame,
    targets: list[Target],
    splits: list[Split],
    expression,
) -> list[str]:
    """What does not fit together among a study's tables; empty when all does."""
    found = []
    for name, frame, columns in (
        ("tiles", tiles, TILE_COLUMNS),
        ("samples", samples, SAMPLE_COLUMNS),
    ):
        lacking = [column for column in columns if column not in frame]
        if lacking:
            return [*found, f"{name} lack the columns {', '.join(lacking)}"]
    for frame, column in ((tiles, "tile_id"), (samples, "sample_id")):
        twice = frame[column][frame[column].duplicated()]
        if len(twice):
            found.append(f"{len(twice)} {column}s occur twice, first {twice.iloc[0]!r}")
    orphans = sorted(set(tiles["sample_id"]) - set(samples["sample_id"]))
    if orphans:
        found.append(
            f"{len(orphans)} samples of tiles are not among the samples, first "
            f"{orphans[:3]}"
        )
    empty = sorted(set(samples["sample_id"]) - set(tiles["sample_id"]))
    if empty:
        found.append(f"{len(empty)} samples have no tile, first {empty[:3]}")
    owners = samples.drop_duplicates("sample_id").set_index("sample_id")["patient_id"]
    wrong = tiles["patient_id"] != tiles["sample_id"].map(owners)
    if wrong.any() and not orphans:
        found.append(
            f"{int(wrong.sum())} tiles name another patient than their sample does, "
            f"first {tiles['tile_id'][wrong].iloc[0]!r}"
        )
    for target in targets:
        frame = tiles if target.level == "tile" else samples
        if target.level not in ("tile", "sample") or target.name not in frame:
            found.append(f"target {target.name} is no column of {target.level}s")
        elif target.kind == "class":
            values = set(frame[target.name].dropna().astype(str))
            strange = sorted(values - set(target.classes))
            if strange:
                found.append(
                    f"target {target.name} has values that are no class of it: "
                    f"{strange[:5]}; its classes are {', '.join(target.classes)}"
                )
        elif target.kind != "number":
            found.append(
                f"target {target.name} is of kind {target.kind!r}, wanted class or "
                "number"
            )
    for split in splits:
        found += split.problems(tiles)
    if expression is not None:
        found += expression_problems(expression, samples)
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
