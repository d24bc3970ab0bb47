"""Which slides there are, whose they are, and at what mpp: folder or CSV -> rows.

A folder is searched recursively, because GDC downloads each slide into a folder of its
own. Opens no slide: a wrong path is found when the slide is tiled.
"""

import dataclasses
import math
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from pathjax.data.study_writer import SAFE_NAME
from pathjax.data.tables import read_table
from pathjax.data.tcga_barcodes import find
from pathjax.wsi.base import SUFFIXES, SlideError

COLUMNS = ("path", "wsi", "slide_id", "patient_id", "sample_id", "site", "mpp")
UNKNOWN_SITE = "unknown"
MPP_RANGE = (0.01, 100.0)  # outside is a slip of unit or column
SHOWN = 20  # problems in one message


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


def read_manifest(source: Path, mpp_csv: Path | None = None) -> list[SlideRow]:
    """The slides of a folder (sorted by path) or of a manifest (in its order).

    Args:
      source: Folder, or CSV with `path` (or `wsi`), relative to the CSV, and optionally
        `slide_id, patient_id, sample_id, site, mpp`. Other columns are ignored.
      mpp_csv: CSV with `wsi` (file name or slide_id) and `mpp`. Takes precedence over
        the manifest's mpp, as both do over the slide's own.

    Raises:
      ValueError: All problems at once.
    """
    source = Path(source)
    if source.is_dir():
        table = _folder(source)
    elif source.exists():
        table = read_table(source, COLUMNS)
    else:
        raise SlideError(f"{source} does not exist: expected a folder or a CSV")
    if table.empty:
        raise SlideError(f"{source} lists no slide: expected a row for each")
    problems: list[str] = []
    rows = [
        _row(entry, number, source, problems)
        for number, entry in enumerate(table.to_dict("records"), start=2)
    ]
    counts = Counter(row.slide_id for row in rows)
    for slide_id in [name for name, count in counts.items() if count > 1]:
        paths = [row.path for row in rows if row.slide_id == slide_id]
        problems.append(
            f"{len(paths)} slides are called {slide_id}, such as {paths[0]} and "
            f"{paths[1]}: give each its own slide_id in a manifest"
        )
    owners: dict[str, SlideRow] = {}
    for row in rows:
        first = owners.setdefault(row.sample_id, row)
        if (first.patient_id, first.site) != (row.patient_id, row.site):
            problems.append(
                f"sample {row.sample_id} belongs to patient {first.patient_id}, site "
                f"{first.site} by {first.slide_id}, and to {row.patient_id}, "
                f"{row.site} by {row.slide_id}"
            )
    _check(source, problems)
    return rows if mpp_csv is None else _with_mpp(rows, Path(mpp_csv))


def _folder(folder: Path) -> pd.DataFrame:
    paths = sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise SlideError(
            f"{folder} has no slide: no file below it ends in {', '.join(SUFFIXES)}"
        )
    return pd.DataFrame({"path": paths})


def _row(
    entry: dict[str, str], number: int, source: Path, problems: list[str]
) -> SlideRow:
    text = entry.get("path") or entry.get("wsi") or ""
    where = f"line {number}"
    if not text or "\0" in text:
        problems.append(f"{where}: no path")
    path = Path(text) if source.is_dir() else source.parent / text
    slide_id = entry.get("slide_id", "")
    if not slide_id:
        # Characters that a shard's file name may not have become "_".
        stem = path.stem.removesuffix(".ome")
        slide_id = re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip("._-")
    if not SAFE_NAME.fullmatch(slide_id):
        problems.append(
            f"{where}: {slide_id!r} cannot name a slide: letters, digits, '.', '_' "
            "and '-' only, a letter or digit first"
        )
    patient, site = _owner(slide_id)
    return SlideRow(
        slide_id=slide_id,
        patient_id=entry.get("patient_id", "") or patient,
        sample_id=entry.get("sample_id", "") or slide_id,
        site=entry.get("site", "") or site,
        path=os.path.abspath(path),
        mpp=_mpp(entry.get("mpp", ""), where, problems),
        mpp_source="manifest" if entry.get("mpp", "") else "",
    )


def _owner(slide_id: str) -> tuple[str, str]:
    """Patient and site by the TCGA barcode in the name, else by the name alone."""
    try:
        barcode = find(slide_id)
    except ValueError:
        return slide_id, UNKNOWN_SITE
    return barcode.patient, barcode.site


def _mpp(text: str, where: str, problems: list[str]) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not MPP_RANGE[0] <= value <= MPP_RANGE[1]:
        problems.append(
            f"{where}: mpp is {text!r}, expected micrometres per pixel, such as 0.25"
        )
        return None
    return value


def _with_mpp(rows: list[SlideRow], path: Path) -> list[SlideRow]:
    table, problems = read_table(path, ("wsi", "mpp")), []
    missing = [name for name in ("wsi", "mpp") if name not in table]
    if missing:
        raise SlideError(
            f"{path} lacks the columns {', '.join(missing)}: expected wsi,mpp"
        )
    given: dict[str, float | None] = {}
    for number, entry in enumerate(table.to_dict("records"), start=2):
        where, name = f"line {number}", Path(entry["wsi"]).name
        value = _mpp(entry["mpp"], where, problems)
        if not entry["mpp"]:
            problems.append(f"{where}: no mpp for {name!r}")
        if name in given and given[name] != value:
            problems.append(
                f"{where}: {name} has mpp {given[name]} above, here {value}"
            )
        given[name] = value
    _check(path, problems)

    def with_mpp(row: SlideRow) -> SlideRow:
        for key in (Path(row.path).name, row.slide_id):
            if key in given:
                return dataclasses.replace(row, mpp=given[key], mpp_source="mpp-csv")
        return row

    return [with_mpp(row) for row in rows]


def _check(path: Path, problems: list[str]) -> None:
    """Raises one SlideError with all problems, if there are any."""
    if problems:
        lines = problems[:SHOWN]
        if len(problems) > SHOWN:
            lines.append(f"and {len(problems) - SHOWN} more")
        raise SlideError(f"{path}:\n  - " + "\n  - ".join(lines))
