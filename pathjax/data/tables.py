"""Tables and lists that users write: CSV or TSV with a header, each cell as text.

The one reader for all of them: encodings, separators, line ends, column names in the
usual spellings (`Patient_ID`, `case_id`, ...), words for missing values, decimal
commas, Windows paths. What a table means is up to its caller.
"""

import codecs
import contextlib
import csv
import gzip
import io
import logging
import os
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from pathjax.buckets import local
from pathjax.files import UNREADABLE

log = logging.getLogger(__name__)

# Canonical name -> other names of the same column, as `_plain` writes them.
ALIASES = {
    "patient_id": (
        *("patient", "case", "caseid", "submitterid", "casesubmitterid", "subject"),
        *("subjectid", "participant", "participantid", "bcrpatientbarcode"),
        *("patientbarcode",),
    ),
    "sample_id": ("sample", "samplesubmitterid", "samplebarcode", "bcrsamplebarcode"),
    "slide_id": ("slide", "slidename", "slidesubmitterid", "imageid"),
    "path": ("wsi", "file", "filename", "filepath", "slidepath", "imagepath"),
    "wsi": (
        *("slide", "slideid", "slidename", "path", "file", "filename", "filepath"),
        *("image", "imageid"),
    ),
    "site": ("center", "centre", "hospital", "institution", "tissuesourcesite", "tss"),
    "mpp": ("micronsperpixel", "umperpixel", "umperpx", "mppumpx", "mppum"),
    "text": ("report", "reporttext"),
}
# Parts of names that make an unused column look like a known one.
STEMS = {
    "patient_id": ("patient", "case", "subject", "participant", "submitter"),
    "sample_id": ("sample", "specimen"),
    "slide_id": ("slide", "wsi", "image"),
    "path": ("path", "file", "wsi"),
    "wsi": ("slide", "wsi", "file", "image"),
    "site": ("site", "center", "centre", "hospital", "institution"),
    "mpp": ("mpp", "micron", "perpixel", "resolution"),
    "cancer_type": ("cancertype", "tumortype", "tumourtype"),
    "oncotree_code": ("oncotree",),
    "pam50": ("pam50",),
    "tp53": ("tp53",),
}
MISSING = frozenset(
    (
        *("", "na", "n/a", "#n/a", "<na>", "nan", "#nan", "nat", "null", "#null!"),
        *("nil", "none", "empty", "missing", "-", "--", "?", "not available"),
        # As TCGA's clinical tables and the GDC's XML write them.
        *(
            "not reported",
            "[not available]",
            "[not applicable]",
            "[unknown]",
            "not_rep",
        ),
    )
)
NOT_TEXT = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"SQLite format": "a database: export the table as CSV",
    b"PAR1": "a Parquet file: write it as CSV",
    b"version https://git-lfs": "a Git LFS pointer: run `git lfs pull`",
    b"<!DOCTYPE": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}
SEPARATORS = (",", ";", "\t", "|")
MOST_BAD_ROWS = 3  # named in an error
HEADER_BYTES = 1 << 20  # in which a header ends
csv.field_size_limit(1 << 30)  # reports are longer than the default of 131,072


def read_table(
    path: Path,
    columns: Sequence[str] = (),
    *,
    required: Sequence[str] = (),
    only: bool = False,
    comment: str = "# ",
    encoding: str | None = None,
    bad_rows: list[tuple[int, str]] | None = None,
) -> pd.DataFrame:
    """Reads a table; cells are stripped text, the index is the number of each line.

    In the recognised `columns` words for missing values become "" (`is_missing`).

    Args:
      path: CSV or TSV; plain, gzipped, or the only file of a zip archive. The separator
        is the one that divides the header most.
      columns: Columns to recognise in other spellings, see `known_columns`.
      required: Columns that have to be there.
      only: Keeps nothing but `columns`, as of a table with thousands of genes.
      comment: How lines before the header start that are skipped.
      encoding: Of the text, where bytes that are not in it become U+FFFD; None detects
        UTF-8, UTF-16 and Windows-1252. A byte-order mark of UTF-16 is always obeyed.
      bad_rows: Takes line number and reason of rows that are left out because they have
        more or fewer cells than the header; None refuses them.

    Raises:
      ValueError: It is not such a table, lacks a column, or has two of one name.
    """
    bad: list[tuple[int, str]] = []
    cells, lines = [], []
    try:
        rows = _rows(read_text(path, encoding), comment)
        _, header = next(rows)
        names = known_columns(header, columns)
        kept = [i for i, name in enumerate(names) if not only or name in columns]
        for line, row in rows:
            surplus = any(cell.strip() for cell in row[len(names) :])
            if surplus or any(names[len(row) :]):  # cells of others may have moved
                bad.append((line, f"{len(row)} cells for {len(names)} columns"))
            else:
                cells.append([row[i].strip() if i < len(row) else "" for i in kept])
                lines.append(line)
    except UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as a CSV table: {error or type(error).__name__}"
        ) from error
    if bad_rows is not None:
        bad_rows += bad
    elif bad:
        named = ", ".join(f"line {n}: {why}" for n, why in bad[:MOST_BAD_ROWS])
        raise ValueError(
            f"{path} cannot be read as a CSV table: {len(bad)} rows have too "
            f"many or few cells ({named}); put quotes around cells that contain the separator"
        )
    kept_names = [names[i] for i in kept]
    table = pd.DataFrame(cells, index=lines, columns=kept_names, dtype=object)
    table = table.loc[:, _used(table, [header[i] for i in kept])]
    repeated = sorted(name for name, n in Counter(table.columns).items() if n > 1)
    if repeated:
        raise ValueError(
            f"{path} has several columns for {', '.join(repeated) or 'no name'}: keep "
            "one of each"
        )
    lacking = [name for name in required if name not in table]
    if lacking:
        raise ValueError(
            f"{path} lacks the columns {', '.join(lacking)}; it has "
            f"{', '.join(header[:8])}{', ...' if len(header) > 8 else ''}"
        )
    for name in columns:
        if name in table:
            table[name] = ["" if is_missing(cell) else cell for cell in table[name]]
    return table


def read_header(
    path: Path, columns: Sequence[str] = (), comment: str = "#"
) -> list[str]:
    """The column names of a table, as `read_table` has them; none if it is no table.

    Reads the start of a file that is not packed only.
    """
    with open(path, "rb") as file:
        start = file.read(HEADER_BYTES)
    if len(start) == HEADER_BYTES:
        start = start[: start.rfind(b"\n") + 1]
    try:
        _, names = next(_rows(_decoded(start, path), comment))
    except (ValueError, csv.Error):
        return []
    return known_columns(names, columns)


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text of a file, unpacked if it is gzipped or alone in a zip archive.

    Raises:
      ValueError: It is no text.
      OSError: It cannot be opened.
    """
    with opened(path) as file:
        data = file.read()
    return _decoded(data, path, encoding)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The bytes of a file, unpacked if it is gzipped or alone in a zip archive.

    By content, because downloads often lack an extension.

    Raises:
      ValueError: It is an archive of several files, or a workbook.
      OSError: It cannot be opened.
    """
    with open(path, "rb") as raw, contextlib.ExitStack() as stack:
        magic = raw.read(4)
        raw.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            yield stack.enter_context(gzip.open(raw))
        elif magic == b"PK\x03\x04":
            archive = stack.enter_context(zipfile.ZipFile(raw))
            yield stack.enter_context(archive.open(_member(archive)))
        else:
            yield raw


def _decoded(data: bytes, path: Path, encoding: str | None = None) -> str:
    for magic, what in NOT_TEXT.items():
        if data.lstrip()[: len(magic)].lower() == magic.lower():
            raise ValueError(f"it is {what}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if encoding is not None:
        return data.decode(encoding, "replace").removeprefix("\ufeff")
    start = data[:200]
    if start[1::2].count(0) > len(start) // 3:
        return data.decode("utf-16-le")
    if b"\0" in data:
        raise ValueError("it is not text: it has NUL bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
        log.warning("%s is not UTF-8: read as Windows-1252", path)
        return text


def read_list(path: Path) -> list[str]:
    """The lines of a file that are not blank, such as names of genes, stripped.

    Raises:
      ValueError: It is no text, or cannot be opened.
    """
    try:
        lines = read_text(local(path)).splitlines()
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a list: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _member(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/")]
    # macOS adds files of its own.
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if "[Content_Types].xml" in names:
        raise ValueError("it is an Excel workbook: save the sheet as CSV")
    if len(names) != 1:
        raise ValueError(f"the archive has {len(names)} files, expected one table")
    return names[0]


def _rows(text: str, comment: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of the header and of the rows that are not empty.

    "sep=;" before the header names the separator, as Excel writes it.
    """
    lines = io.StringIO(text, newline="").readlines()
    skipped, separator = 0, None
    while skipped < len(lines):
        line = lines[skipped].strip("\r\n\ufeff")
        if match := re.fullmatch(r'"?sep=(.)"?', line, re.IGNORECASE):
            separator = match[1]
        elif line.strip() and not line.startswith(comment):
            break
        skipped += 1
    else:
        raise ValueError("it has no header")
    if separator is None:
        widths = [len(next(csv.reader([line], delimiter=s))) for s in SEPARATORS]
        separator = SEPARATORS[widths.index(max(widths))]
    reader = csv.reader(lines[skipped:], delimiter=separator, strict=True)
    yield skipped + 1, [name.strip() for name in next(reader)]
    line_number = skipped + reader.line_num + 1
    for row in reader:
        if any(cell and not cell.isspace() for cell in row):
            yield line_number, row
        line_number = skipped + reader.line_num + 1


def _used(table: pd.DataFrame, header: Sequence[str]) -> list[bool]:
    """Which columns to keep: neither empty ones without a name, which spreadsheets
    leave, nor another spelling of a column with the same cells.
    """
    names, used = list(table.columns), []
    for i, name in enumerate(names):
        first = names.index(name)
        if name == "":
            used.append(bool((table.iloc[:, i] != "").any()))
        elif i > first and header[i] != header[first]:
            used.append(not table.iloc[:, i].equals(table.iloc[:, first]))
        else:
            used.append(True)
    return used


def known_columns(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """`names` with those that mean one of `columns` renamed to it.

    Case, spaces and punctuation do not matter, and ALIASES are taken for the name that
    they stand for, unless that is present under its own name.
    """
    plain = [_plain(name) for name in names]
    out = list(names)
    taken: set[int] = set()
    for own in (True, False):
        for column in columns:
            spellings = (_plain(column),) if own else ALIASES.get(column, ())
            exact = [i for i, name in enumerate(names) if name == column]
            places = [i for i, name in enumerate(plain) if name in spellings]
            places = [i for i in (exact or places) if i not in taken]
            if places and column not in [out[i] for i in taken]:
                for i in places:
                    out[i] = column
                taken.update(places)
    return out


def lookalikes(names: Iterable[str], columns: Sequence[str]) -> list[str]:
    """Names that are none of `columns`, but look like one of them."""
    stems = [stem for column in columns for stem in STEMS.get(column, ())]
    others = [name for name in names if name not in columns]
    return [name for name in others if any(stem in _plain(name) for stem in stems)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def is_missing(text: str) -> bool:
    """Whether a cell is empty or a word for a missing value, such as NA or None."""
    return text.strip().lower() in MISSING


def number(text: str) -> float:
    """A number with a decimal point or a decimal comma.

    Raises:
      ValueError: It is no number, or may have a comma between thousands.
    """
    if "," in text:
        if not re.fullmatch(r"[+-]?(0|\d+(?!,\d{3}$)),\d+", text.strip()):
            raise ValueError(f"expected a number such as 0.25, got {text!r}")
        text = text.replace(",", ".")
    return float(text)


def alike(ids: Iterable[str]) -> list[list[str]]:
    """Groups of different ids that differ only by case, leading zeros or ".0"."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(ids)):
        key = unicodedata.normalize("NFKC", name).casefold()
        key = re.sub(r"\.0+$", "", key) if re.fullmatch(r"\d+\.0+", key) else key
        key = re.sub(r"(?<![a-z\d.])0+(?=\d)", "", key)
        groups.setdefault(key, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def filled_in_part(table: pd.DataFrame, column: str) -> str:
    """What is wrong with a column of ids that some rows lack; "" if nothing is.

    Such as the merged cells of a spreadsheet: only the first of them has the id.
    """
    if column not in table or (table[column] == "").all():
        return ""
    empty = table.index[table[column] == ""]
    if not len(empty):
        return ""
    return (
        f"{column} is empty in {len(empty)} of {len(table)} rows, first line "
        f"{empty[0]}: fill in every row (as where a spreadsheet had merged cells), or "
        "remove the column"
    )


def file_name(text: str) -> str:
    """The last part of a path, with slashes or with backslashes."""
    return PureWindowsPath(text).name


def path_below(folder: Path, text: str) -> Path:
    """A path in a table, relative to the table's folder; `~` and backslashes too."""
    path = folder / Path(text).expanduser()
    if "\\" in text and not os.path.lexists(path):
        return folder / text.replace("\\", "/")
    return path
