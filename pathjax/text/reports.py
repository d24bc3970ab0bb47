"""Reads report texts from a table: one text per patient or sample, faults counted.

    TCGA_Reports.csv (patient_filename, text)        -> texts by patient barcode
    CSV, TSV or Parquet (sample_id or patient_id, text) -> texts by that id

A table may be gzipped or zipped. Several reports of one patient are all kept: in the
order of their file names in TCGA's corpus, of their rows elsewhere, a blank line
between. Nothing is corrected: OCR errors stay as they are.
"""

import dataclasses
import gzip
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pathjax.data.study import read_frame, sha256
from pathjax.data.tcga_barcodes import parse
from pathjax.data.text_store import TextError

TCGA_NAME = "patient_filename"
IDS = ("sample_id", "patient_id")
BETWEEN = "\n\n"
# Fewer words than this is a page that OCR could not read, or a cover sheet.
MIN_WORDS = 5
WORD = re.compile(r"[^\W\d_]{3,}")
REPLACED = "\ufffd"
# UTF-8 read as Windows-1252: the first character of what a quote, dash or umlaut of
# two or three bytes becomes, with one that may follow.
MISREAD = re.compile("\u00e2\u20ac|\u00c3[\u0080-\u00bf\u0192\u2018-\u203a]")


@dataclasses.dataclass(frozen=True)
class Reports:
    """Texts as read.

    Attributes:
      texts: columns `id` (unique), `text`, `reports` (how many were joined).
      kind: what `id` is: "patient_id" or "sample_id".
      source: file name and SHA-256.
      notes: what was left out or looks wrong, counted, a sentence each.
    """

    texts: pd.DataFrame
    kind: str
    source: dict[str, str]
    notes: tuple[str, ...]


def read_reports(
    path: Path, *, min_words: int = MIN_WORDS, encoding: str = "utf-8"
) -> Reports:
    """Reads one table of reports.

    Args:
      path: CSV, TSV or Parquet.
      min_words: texts with fewer words (three letters or more) are left out.
      encoding: of CSV and TSV. Bytes that are not in it, and NUL, become U+FFFD.

    Raises:
      TextError: it cannot be read, lacks columns, or has no text at all.
    """
    path = Path(path)
    table = _read_table(path, encoding)
    named = [one for one in (TCGA_NAME, *IDS) if one in table]
    if "text" not in table or not named:
        raise TextError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; expected text "
            f"and one of {', '.join((TCGA_NAME, *IDS))}"
        )
    tcga = named[0] == TCGA_NAME
    rows = pd.DataFrame({"name": table[named[0]].fillna("").astype(str).str.strip()})
    rows["text"] = table["text"].fillna("").astype(str)
    rows["id"], notes = _patients(rows["name"]) if tcga else (rows["name"], [])
    lacking = int((rows["id"] == "").sum())
    if lacking and not tcga:
        notes.append(f"{lacking} rows have no {named[0]}: left out")
    rows, more = _clean(rows[rows["id"] != ""], min_words)
    if tcga:
        rows = rows.sort_values(["id", "name"], kind="stable")
    texts = rows.groupby("id", sort=False).agg(
        text=("text", BETWEEN.join), reports=("text", "size")
    )
    if texts.empty:
        raise TextError(f"{path} has no text to use: {'; '.join([*notes, *more])}")
    several = texts.index[texts["reports"] > 1].tolist()
    if several:
        order = "of their file names" if tcga else "of their rows"
        what = f"have several reports, joined in the order {order}"
        notes += _note(several, what, "ids")
    return Reports(
        texts.reset_index(),
        "patient_id" if tcga else named[0],
        {"file": path.name, "sha256": sha256(path)},
        (*notes, *more),
    )


def _read_table(path: Path, encoding: str) -> pd.DataFrame:
    """All columns as text.

    Raises:
      TextError: it cannot be read.
    """
    if not path.is_file():
        raise TextError(f"there is no file {path}")
    try:
        if path.suffix == ".parquet":
            return read_frame(path)
        # pandas' parser ends a field at a NUL without a word.
        text = _content(path).decode(encoding, "replace").replace("\0", REPLACED)
        table = pd.read_csv(
            io.StringIO(text.removeprefix("\ufeff")),
            sep="\t" if ".tsv" in path.suffixes else ",",
            dtype=str,
            keep_default_na=False,
        )
        surplus = not isinstance(table.index, pd.RangeIndex)
        if surplus:
            raise ValueError("rows have more fields than the header: quote the texts")
        return table
    except (ValueError, OSError, LookupError, EOFError, zipfile.BadZipFile) as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise TextError(f"{path} cannot be read as {kind}: {error}") from error


def _content(path: Path) -> bytes:
    """The bytes of a table, unpacked where it is gzipped or the one file of a zip.

    Raises:
      ValueError: the archive holds several files.
    """
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            return file.read()
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        # macOS adds files of its own.
        names = [one for one in archive.namelist() if not one.startswith("__MACOSX")]
        if len(names) != 1:
            raise ValueError(f"the archive holds {names[:5]}, expected one table")
        return archive.read(names[0])


def _patients(names: pd.Series) -> tuple[pd.Series, list[str]]:
    """Patient barcodes of report file names, "" where there is none; and notes."""
    out = []
    for name in names:
        try:
            out.append(parse(name.split(".")[0]).patient)
        except ValueError:
            out.append("")
    found = pd.Series(out, names.index, dtype=object)
    strange = names[found == ""].tolist()
    return found, _note(strange, "name no TCGA patient: left out", "reports")


def _clean(rows: pd.DataFrame, min_words: int) -> tuple[pd.DataFrame, list[str]]:
    """Rows with a text that says something, each once; and notes."""
    text = rows["text"].str.replace("\r\n", "\n").str.replace("\r", "\n")
    notes = []
    text = text.str.replace("\0", REPLACED, regex=False).str.strip()
    rows = rows.assign(text=text)
    empty = text == ""
    notes += _note(rows["name"][empty], "are empty: left out")
    words = text.str.count(WORD)
    short = ~empty & (words < min_words)
    what = f"have fewer than {min_words} words, as of a failed OCR: left out"
    notes += _note(rows["name"][short], what)
    rows = rows[~empty & ~short]
    again = rows.duplicated(["id", "text"])
    notes += _note(rows["name"][again], "repeat another of the same id: left out")
    rows = rows[~again]
    shared = rows.duplicated("text", keep=False)
    notes += _note(
        rows["name"][shared], "are equal though of different ids: kept; look at them"
    )
    broken = rows["text"].str.contains(REPLACED, regex=False)
    what = "have NUL or bytes of another encoding (U+FFFD): kept; name --encoding"
    notes += _note(rows["name"][broken], what)
    misread = rows["text"].str.contains(MISREAD)
    what = "look like UTF-8 read as Windows-1252: kept; mend the file"
    notes += _note(rows["name"][misread], what)
    return rows, notes


def _note(names: Sequence[str], what: str, things: str = "texts") -> list[str]:
    """A counted sentence, if there is something to count."""
    names = list(names)
    return [f"{len(names)} {things} {what}, first {names[:3]}"] if names else []
