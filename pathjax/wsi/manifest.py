"""Which slides there are, whose they are, and at what mpp: folder or CSV -> rows.

A folder is searched recursively, because GDC downloads each slide into a folder of its
own. Opens no slide: a wrong path is found when the slide is tiled. Rows that cannot be
used are left out and named in `Manifest.unused`; the others are tiled.
"""

import contextlib
import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pathjax.data.study import listing
from pathjax.data.study_writer import SAFE_NAME
from pathjax.data.tables import (
    alike,
    file_name,
    filled_in_part,
    lookalikes,
    path_below,
    read_table,
)
from pathjax.data.tcga_barcodes import find
from pathjax.wsi.base import SUFFIXES, SlideError
from pathjax.wsi.scale import mpp_of

COLUMNS = ("path", "slide_id", "patient_id", "sample_id", "site", "mpp")
UNKNOWN_SITE = "unknown"
# Formats of slides that no reader here opens.
UNREAD = (
    *(".dcm", ".czi", ".vsi", ".isyntax", ".i2syntax", ".lif", ".nd2", ".zvi", ".jp2"),
    *(".sdpc", ".kfb"),
)


@dataclasses.dataclass(frozen=True)
class SlideRow:
    """One slide to tile.

    Attributes:
      slide_id: Unique; names the slide's shard.
      patient_id, sample_id, site: Whose it is.
      path: Absolute, as text: it travels to other machines.
      mpp: Micrometres per pixel of level 0, where the user gave it.
      mpp_source: "manifest" or "mpp-csv" where given, else "".
    """

    slide_id: str
    patient_id: str
    sample_id: str
    site: str
    path: str
    mpp: float | None = None
    mpp_source: str = ""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Slides to tile, and (what, why) of what was given and is not used."""

    rows: list[SlideRow]
    unused: list[tuple[str, str]]


def read_manifest(source: Path, mpp_csv: Path | None = None) -> Manifest:
    """The slides of a folder (sorted by path) or of a manifest (in its order).

    Args:
      source: Folder, or CSV with `path` (or `wsi`), relative to the CSV, and optionally
        `slide_id, patient_id, sample_id, site, mpp`.
      mpp_csv: CSV with `wsi` (file name, with or without its ending, or slide_id) and
        `mpp`. Takes precedence over the manifest's mpp, as both do over the slide's.

    Raises:
      ValueError: There is no slide that can be used, the patients are filled in for a
        part of the slides only, or written in several ways.
    """
    source = Path(source)
    unused: list[tuple[str, str]] = []
    if source.is_dir():
        table = _folder(source, unused)
    elif source.exists():
        bad: list[tuple[int, str]] = []
        table = read_table(source, COLUMNS, required=("path",), bad_rows=bad)
        unused += [(f"line {line} of {source.name}", why) for line, why in bad]
        unused += _columns(source, table, COLUMNS)
        _check_patients(source, table)
    else:
        raise SlideError(f"{source} does not exist: expected a folder or a CSV")
    if table.empty and not unused:
        raise SlideError(f"{source} lists no slide: expected a row for each")
    rows = {}
    for line, entry in zip(table.index, table.to_dict("records"), strict=True):
        where = entry["path"] if source.is_dir() else f"line {line} of {source.name}"
        try:
            rows[where] = _row(entry, source)
        except ValueError as error:
            unused.append((where, str(error)))
    rows = _consistent(rows, unused)
    if mpp_csv is not None:
        rows = _with_mpp(rows, Path(mpp_csv), unused)
    if not rows:
        reasons = listing([f"{what}: {why}" for what, why in unused])
        raise SlideError(f"{source} has no slide that can be used: {reasons}")
    return Manifest(list(rows.values()), unused)


def _folder(folder: Path, unused: list[tuple[str, str]]) -> pd.DataFrame:
    paths = []
    for below, folders, files in os.walk(folder):
        for name in folders:
            if os.path.islink(os.path.join(below, name)):
                path = os.path.relpath(os.path.join(below, name), folder)
                unused.append((path, "a link to a folder is not searched"))
        for name in files:
            path, suffix = os.path.join(below, name), os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and not name.startswith("."):
                paths.append(path)
            elif suffix in UNREAD:
                path = os.path.relpath(path, folder)
                unused.append((path, f"{suffix} is not read: convert it to TIFF"))
    if not paths:
        others = listing([f"{what}: {why}" for what, why in sorted(unused)], 300)
        raise SlideError(
            f"{folder} has no slide: no file below it ends in {', '.join(SUFFIXES)}"
            + (f" ({others})" if others else "")
        )
    return pd.DataFrame({"path": sorted(paths)})


def _columns(
    source: Path, table: pd.DataFrame, columns: Iterable[str]
) -> list[tuple[str, str]]:
    columns = tuple(columns)
    return [
        (f"column {name} of {source.name}", f"not read: expected {', '.join(columns)}")
        for name in lookalikes(table.columns, columns)
    ]


def _check_patients(source: Path, table: pd.DataFrame) -> None:
    """Refuses ids by which a patient's slides would be those of several patients."""
    if "patient_id" not in table:
        table = table.assign(patient_id="")
    # A barcode in the name of the slide says what the cell does not.
    ids = table["slide_id"] if "slide_id" in table else [""] * len(table)
    owners = map(_owner, ids, table["path"])
    unnamed = table[[site == UNKNOWN_SITE for _, site in owners]]
    parts = [filled_in_part(unnamed, name) for name in ("patient_id", "sample_id")]
    problems = [part for part in parts if part]
    problems += [
        f"patient_ids {', '.join(group)} differ only by case, leading zeros or '.0': "
        "write each in one way"
        for group in alike(table["patient_id"])
    ]
    if problems:
        raise SlideError(f"{source}: {listing(problems)}")


def _row(entry: dict[str, str], source: Path) -> SlideRow:
    """One row.

    Raises:
      ValueError: It cannot be used.
    """
    text = entry.get("path", "")
    if not text or "\0" in text:
        raise ValueError("no path")
    path = Path(text) if source.is_dir() else path_below(source.parent, text)
    slide_id = entry.get("slide_id", "")
    if not slide_id:
        # Characters that a shard's file name may not have become "_".
        stem = Path(file_name(text)).stem.removesuffix(".ome")
        slide_id = re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip("._-")
    if not SAFE_NAME.fullmatch(slide_id):
        raise ValueError(
            f"{slide_id[:40]!r} cannot name a slide: give a slide_id of at most 220 letters, "
            "digits, '.', '_' and '-', starting with a letter or digit"
        )
    patient, site = _owner(slide_id, text)
    return SlideRow(
        slide_id=slide_id,
        patient_id=entry.get("patient_id", "") or patient,
        sample_id=entry.get("sample_id", "") or slide_id,
        site=entry.get("site", "") or site,
        path=os.path.abspath(path),
        mpp=mpp_of(entry["mpp"]) if entry.get("mpp") else None,
        mpp_source="manifest" if entry.get("mpp") else "",
    )


def _owner(slide_id: str, path: str) -> tuple[str, str]:
    """Patient and site by the TCGA barcode in the id or the file's name, else by the id."""
    for name in (slide_id, file_name(path)):
        with contextlib.suppress(ValueError):
            barcode = find(name)
            return barcode.patient, barcode.site
    return slide_id, UNKNOWN_SITE


def _consistent(
    rows: dict[str, SlideRow], unused: list[tuple[str, str]]
) -> dict[str, SlideRow]:
    """`rows` without repeated ones, and without those that contradict each other."""
    by_id: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for where, row in rows.items():
        by_id[row.slide_id].append(where)
        owners[row.sample_id].setdefault((row.patient_id, row.site), row.slide_id)
    kept = {}
    for where, row in rows.items():
        same, first = by_id[row.slide_id], rows[by_id[row.slide_id][0]]
        if row == first and where != same[0]:
            unused.append((where, f"repeats {same[0]}"))
        elif any(rows[other] != first for other in same):
            paths = sorted({rows[other].path for other in same})
            reason = f"{len(same)} slides are called {row.slide_id}, such as "
            reason += f"{' and '.join(paths[:2])}: give each its own slide_id"
            unused.append((where, reason))
        elif len(owners[row.sample_id]) > 1:
            belongs = " and to ".join(
                f"patient {patient}, site {site} (by {slide_id})"
                for (patient, site), slide_id in owners[row.sample_id].items()
            )
            unused.append((where, f"sample {row.sample_id} belongs to {belongs}"))
        else:
            kept[where] = row
    return kept


def _with_mpp(
    rows: dict[str, SlideRow], path: Path, unused: list[tuple[str, str]]
) -> dict[str, SlideRow]:
    """`rows` with the mpp of a CSV; slides whose mpp there is invalid are left out."""
    bad: list[tuple[int, str]] = []
    table = read_table(path, ("wsi", "mpp"), required=("wsi", "mpp"), bad_rows=bad)
    unused += [(f"line {line} of {path.name}", why) for line, why in bad]
    unused += _columns(path, table, ("wsi", "mpp"))
    by_name: dict[str, set[str]] = defaultdict(set)
    by_stem: dict[str, set[str]] = defaultdict(set)
    for where, row in rows.items():
        name = Path(row.path).name
        for key in (name, row.slide_id):
            by_name[key].add(where)
        for key in (name, Path(name).stem, Path(name).stem.removesuffix(".ome")):
            by_stem[key.casefold()].add(where)
        by_stem[row.slide_id.casefold()].add(where)
    given: dict[str, set[float | str]] = defaultdict(set)
    for line, entry in zip(table.index, table.to_dict("records"), strict=True):
        name = file_name(entry["wsi"])
        matches = by_name.get(name) or by_stem.get(name.casefold(), set())
        if len(matches) > 1:  # folders tell files of one name apart
            end = "/" + entry["wsi"].replace("\\", "/").lstrip("./")
            inside = {where for where in matches if rows[where].path.endswith(end)}
            matches = inside or matches
        if not matches or (name not in by_name and len(matches) > 1):
            reason = f"{name!r} matches {'several slides' if matches else 'no slide'}"
            unused.append((f"line {line} of {path.name}", reason))
            continue
        try:
            value: float | str = mpp_of(entry["mpp"])
        except ValueError as error:
            value = f"line {line} of {path.name}: {error}"
        for where in matches:
            given[where].add(value)
    out = dict(rows)
    for where, values in given.items():
        row = out.pop(where)
        faults = sorted(value for value in values if isinstance(value, str))
        if len(values) > 1 and not faults:
            faults = [f"{path.name} has mpp {' and '.join(map(str, sorted(values)))}"]
        if faults:
            unused.append((row.slide_id, faults[0]))
        else:
            mpp = float(next(iter(values)))
            out[where] = dataclasses.replace(row, mpp=mpp, mpp_source="mpp-csv")
    return {where: out[where] for where in rows if where in out}
