"""Which slides there are, whose they are, and at what mpp: folder or CSV -> rows.

A folder is searched with all below it, as GDC's downloads put each slide in a folder of
its own. Opens no slide: a path that leads nowhere is found when the slide is tiled.
"""

import dataclasses
import math
import os
import re
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from pathjax.data.study_writer import SAFE_NAME
from pathjax.data.tcga_barcodes import BarcodeError, find
from pathjax.wsi.slide import SUFFIXES

COLUMNS = ("slide_id", "patient_id", "sample_id", "site", "mpp")
PATH_COLUMNS = ("path", "wsi")
UNKNOWN_SITE = "unknown"
MPP_RANGE = (0.01, 100.0)  # outside is a slip of unit or column


class ManifestError(ValueError):
    """A manifest, a folder of slides or an mpp table is not what it should be."""


@dataclasses.dataclass(frozen=True)
class SlideRow:
    """One slide to tile.

    Attributes:
      slide_id: names its shard; unique.
      patient_id, sample_id, site: whose it is.
      path: absolute, as text: it travels to other machines.
      mpp: micrometres per pixel of level 0, where the user gave it.
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
      source: folder, or CSV with `path` (or `wsi`, relative to the CSV) and, as wanted,
        `slide_id, patient_id, sample_id, site, mpp`; other columns are left alone.
      mpp_csv: CSV with `wsi` (file name or slide_id) and `mpp`. Goes before the
        manifest's mpp, and both before what the slide says.

    Raises:
      ManifestError: everything that is wrong, at once.
    """
    source = Path(source)
    if source.is_dir():
        table = _folder(source)
    elif source.exists():
        table = _read_csv(source)
    else:
        raise ManifestError(f"{source} is not there: wanted a folder or a CSV")
    if table.empty:
        raise ManifestError(f"{source} lists no slide: wanted a row for each")
    problems: list[str] = []
    rows = [
        _row(entry, number, source, problems)
        for number, entry in enumerate(table.to_dict("records"), start=2)
    ]
    counts = Counter(row.slide_id for row in rows)
    for slide_id in [one for one, count in counts.items() if count > 1]:
        paths = [row.path for row in rows if row.slide_id == slide_id]
        problems.append(
            f"{len(paths)} slides are called {slide_id}, {paths[0]} and {paths[1]} "
            "among them: give them a slide_id each in a manifest"
        )
    owners: dict[str, SlideRow] = {}
    for row in rows:
        first = owners.setdefault(row.sample_id, row)
        if (first.patient_id, first.site) != (row.patient_id, row.site):
            problems.append(
                f"sample {row.sample_id} is of patient {first.patient_id}, site "
                f"{first.site} by {first.slide_id}, and of {row.patient_id}, "
                f"{row.site} by {row.slide_id}"
            )
    _refuse(source, problems)
    return rows if mpp_csv is None else _with_mpp(rows, Path(mpp_csv))


def _folder(folder: Path) -> pd.DataFrame:
    paths = sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise ManifestError(
            f"{folder} has no slide: no file below it ends in {', '.join(SUFFIXES)}"
        )
    return pd.DataFrame({"path": paths})


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # A row with more cells than there are columns would lose the last ones.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    # pandas' parser errors are ValueErrors
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise ManifestError(f"{path} is no CSV table ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    twice = sorted(name for name, count in Counter(table).items() if count > 1)
    if twice:
        raise ManifestError(f"{path} has columns of the same name: {', '.join(twice)}")
    return table.apply(lambda column: column.str.strip())


def _row(
    entry: dict[str, str], number: int, source: Path, problems: list[str]
) -> SlideRow:
    text = next((entry[name] for name in PATH_COLUMNS if entry.get(name)), "")
    where = f"line {number}"
    if not text or "\0" in text:
        problems.append(f"{where}: no path")
    path = Path(text) if source.is_dir() else source.parent / text
    slide_id = entry.get("slide_id", "")
    if not slide_id:
        # What a shard's file name may hold; the rest becomes "_".
        slide_id = re.sub(r"[^A-Za-z0-9._-]", "_", _stem(path)).lstrip("._-")
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


def _stem(path: Path) -> str:
    """The file's name less its ending; of an OME-TIFF less both."""
    return path.stem.removesuffix(".ome")


def _owner(slide_id: str) -> tuple[str, str]:
    """Patient and site by the TCGA barcode in the name, else by the name alone."""
    try:
        barcode = find(slide_id)
    except BarcodeError:
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
            f"{where}: mpp is {text!r}, wanted micrometres per pixel, such as 0.25"
        )
        return None
    return value


def _with_mpp(rows: list[SlideRow], path: Path) -> list[SlideRow]:
    table, problems = _read_csv(path), []
    lacking = [name for name in ("wsi", "mpp") if name not in table]
    if lacking:
        raise ManifestError(
            f"{path} lacks the columns {', '.join(lacking)}: wanted wsi,mpp"
        )
    given: dict[str, float | None] = {}
    for number, (wsi, text) in enumerate(
        zip(table["wsi"], table["mpp"], strict=True), start=2
    ):
        where, name = f"line {number}", Path(wsi).name
        value = _mpp(text, where, problems)
        if value is None and not text:
            problems.append(f"{where}: no mpp for {name!r}")
        if name in given and given[name] != value:
            problems.append(
                f"{where}: {name} has mpp {given[name]} above, here {value}"
            )
        given[name] = value
    _refuse(path, problems)

    def with_mpp(row: SlideRow) -> SlideRow:
        for key in (Path(row.path).name, row.slide_id):
            if key in given:
                return dataclasses.replace(row, mpp=given[key], mpp_source="mpp-csv")
        return row

    return [with_mpp(row) for row in rows]


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        listing = "\n  - ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ManifestError(f"{path}:\n  - {listing}{more}")
