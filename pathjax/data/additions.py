"""What a finished study was given after it was built: splits, reports, columns by hand.

`files` in study.json names each added file, and `added` says by which command. A study
that is built again keeps those files; what it would lose is an error. Building itself is
in study_writer.py.
"""

import io
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

import pathjax
from pathjax.data.study import Study, StudyError, listing, read_split, sha256
from pathjax.data.study_tables import read_frame
from pathjax.files import command_line, read_json, write_json

log = logging.getLogger(__name__)

Entries = tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]


def record(study: Study, file: str, **more: Any) -> Study:
    """Lists a file that was just written into a study in its study.json."""
    path = study.root / file
    made = {"sha256": sha256(path), "bytes": path.stat().st_size}
    entry = {
        "file": file,
        **more,
        "pathjax": pathjax.__version__,
        "command": command_line(),
    }
    meta = study.meta | {
        "files": study.meta["files"] | {file: made},
        "added": [*study.meta.get("added", ()), entry],
    }
    write_json(study.root / "study.json", meta)
    return Study(study.root)


def kept(
    root: Path,
    written: Collection[str],
    samples: pd.DataFrame,
    tile_columns: Collection[str],
    owners: pd.DataFrame,
) -> Entries:
    """The entries `files` and `added` that a study keeps when it is built again.

    Args:
      root: Where a study may be already.
      written: Names of the files that the new study writes itself.
      samples, tile_columns: Of the new study.
      owners: Each sample, patient and slide of its tiles.

    Raises:
      StudyError: Something that was added would be overwritten, or does not fit.
    """
    if not (root / "study.json").is_file():
        return {}, []
    try:
        meta = read_json(root / "study.json", dict)
    except ValueError as error:
        log.warning("%s: what was added to the study is not kept", error)
        return {}, []
    files: dict[str, Any] = meta.get("files", {})
    entries = [one for one in meta.get("added", ()) if one["file"] in files]
    problems = list(_edited(root, files, samples, tile_columns))
    names = dict.fromkeys(entry["file"] for entry in entries)
    for name in names:
        if name in written:
            problems.append(f"{name} was added and would be overwritten")
        elif name.startswith("splits/"):
            split = read_split(root / name)
            problems += split.problems(owners)
            ids = {member for fold in split.folds.values() for member in fold}
            if missing := len(set(owners[split.unit]) - ids):
                log.warning(
                    "split %s was made before: %d of the study's %ss are in none of "
                    "its folds",
                    *(split.name, missing, split.unit),
                )
        elif name == "reports.parquet":
            ids = set(read_frame(root / name, ["sample_id"])["sample_id"].astype(str))
            if unknown := ids - set(samples["sample_id"]):
                problems.append(f"{len(unknown)} samples with reports would be gone")
    if problems:
        raise StudyError(
            f"{root} was changed after it was built, and building it again would lose "
            f"that: {listing(problems)}. Build into another directory, or first remove "
            "study.json to lose it"
        )
    return {name: files[name] for name in names}, entries


def _edited(root: Path, files, samples: pd.DataFrame, tile_columns: Collection[str]):
    """What someone changed in the tables without a command."""

    def changed(name: str) -> bool:
        path = root / name
        there = name in files and path.is_file()
        return there and sha256(path) != files[name]["sha256"]

    if changed("samples.parquet"):
        path = root / "samples.parquet"
        new = io.BytesIO()
        samples.to_parquet(new, index=False)
        # They are equal where a build was killed before it wrote study.json.
        if new.getvalue() != path.read_bytes():
            more = [name for name in pq.read_schema(path).names if name not in samples]
            own = f", columns {', '.join(more)}" if more else ""
            yield f"samples.parquet differs from what was written{own}"
    path = root / "tiles.parquet"
    if path.is_file():
        more = [name for name in pq.read_schema(path).names if name not in tile_columns]
        if more and changed("tiles.parquet"):
            yield f"tiles.parquet was given the columns {', '.join(more)}"
