"""Reads report texts from a table and puts them into a study as reports.parquet.

    TCGA_Reports.csv (patient_filename, text)           -> texts by patient barcode
    CSV, TSV or Parquet (sample_id or patient_id, text) -> texts by that id
    Reports -> match -> add_reports -> STUDY/reports.parquet, study.json

A table may be gzipped or zipped. Several reports of a patient are joined, a blank line
between, in the order of their file names (TCGA) or of their rows. What is left out is
counted. Nothing is corrected: OCR errors stay as they are.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pathjax.data.additions import record
from pathjax.data.study import Study, sha256
from pathjax.data.study_tables import read_frame
from pathjax.data.tables import known_columns, read_table
from pathjax.data.tcga_barcodes import parse
from pathjax.data.text_store import TextError
from pathjax.files import atomic_path, write_json

FILE = "reports.parquet"
TCGA_NAME = "patient_filename"
IDS = ("sample_id", "patient_id")
BETWEEN = "\n\n"
MIN_WORDS = 5  # fewer are a page that OCR could not read, or a cover sheet
WORD = re.compile(r"[^\W\d_]{3,}")
REPLACED = "\ufffd"
# UTF-8 read as Windows-1252: the first character of what a quote, dash or umlaut of
# two or three bytes becomes, with one that may follow.
MISREAD = re.compile("\u00e2\u20ac|\u00c3[\u0080-\u00bf\u0192\u2018-\u203a]")


@dataclasses.dataclass(frozen=True)
class Reports:
    """Texts of a table.

    Attributes:
      texts: Columns `id` (unique), `text`, `reports` (how many were joined).
      kind: What `id` is: "patient_id" or "sample_id".
      source: File name and SHA-256.
      notes: What was left out or looks wrong, counted, a sentence each.
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
      min_words: Texts with fewer words (three letters or more) are left out.
      encoding: Of CSV and TSV. Bytes that are not in it, and NUL, become U+FFFD.

    Raises:
      TextError: It cannot be read, lacks columns, or has no text at all.
    """
    path = Path(path)
    notes: list[str] = []
    table = _read_table(path, encoding, notes)
    named = [name for name in (TCGA_NAME, *IDS) if name in table]
    if "text" not in table or not named:
        raise TextError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; expected text "
            f"and one of {', '.join((TCGA_NAME, *IDS))}"
        )
    tcga = named[0] == TCGA_NAME
    rows = pd.DataFrame({"name": table[named[0]].fillna("").astype(str).str.strip()})
    rows["text"] = table["text"].fillna("").astype(str)
    rows["id"] = rows["name"].map(_patient) if tcga else rows["name"]
    unknown = rows["name"][rows["id"] == ""].tolist()
    if tcga:
        notes += _note(unknown, "name no TCGA patient: left out", "reports")
    else:
        notes += [f"{len(unknown)} rows have no {named[0]}: left out"] * bool(unknown)
    rows, more = _clean(rows[rows["id"] != ""], min_words)
    if tcga:
        rows = rows.sort_values(["id", "name"], kind="stable")
    texts = rows.groupby("id", sort=False).agg(
        text=("text", BETWEEN.join), reports=("text", "size")
    )
    if texts.empty:
        raise TextError(f"{path} has no text to use: {'; '.join([*notes, *more])}")
    order = "file names" if tcga else "rows"
    several = texts.index[texts["reports"] > 1]
    what = f"have several reports, joined in the order of their {order}"
    return Reports(
        texts.reset_index(),
        "patient_id" if tcga else named[0],
        {"file": path.name, "sha256": sha256(path)},
        (*notes, *_note(several, what, "ids"), *more),
    )


def _read_table(path: Path, encoding: str, notes: list[str]) -> pd.DataFrame:
    """All columns of CSV and TSV as text."""
    if not path.is_file():
        raise TextError(f"there is no file {path}")
    columns = ("text", *IDS)
    try:
        if path.suffix == ".parquet":
            table = read_frame(path)
            return table.set_axis(known_columns(list(table), columns), axis=1)
        bad: list[tuple[int, str]] = []
        table = read_table(path, columns, encoding=encoding, bad_rows=bad)
    except (ValueError, OSError) as error:
        if path.suffix != ".parquet":
            raise TextError(str(error)) from error
        raise TextError(f"{path} cannot be read as Parquet: {error}") from error
    lines = [f"line {line}" for line, _ in bad]
    what = "have more or fewer cells than the header (quote the texts): left out"
    notes += _note(lines, what, "rows")
    return table


def _patient(name: str) -> str:
    """The barcode in a report's file name; "" if there is none."""
    try:
        return parse(name.split(".")[0]).patient
    except ValueError:
        return ""


def _clean(rows: pd.DataFrame, min_words: int) -> tuple[pd.DataFrame, list[str]]:
    """Distinct rows with enough text; and notes."""
    text = rows["text"].str.replace("\r\n", "\n").str.replace("\r", "\n")
    rows = rows.assign(text=text.str.replace("\0", REPLACED, regex=False).str.strip())
    notes: list[str] = []

    def drop(rows: pd.DataFrame, marked: pd.Series, what: str) -> pd.DataFrame:
        notes.extend(_note(rows["name"][marked], f"{what}: left out"))
        return rows[~marked]

    rows = drop(rows, rows["text"] == "", "are empty")
    short = f"have fewer than {min_words} words, as of a failed OCR"
    rows = drop(rows, rows["text"].str.count(WORD) < min_words, short)
    rows = drop(rows, rows.duplicated(["id", "text"]), "repeat another of the same id")
    for marked, what in (
        (
            rows.duplicated("text", keep=False),
            "are equal though of different ids: kept; look at them",
        ),
        (
            rows["text"].str.contains(REPLACED, regex=False),
            "have NUL or bytes of another encoding (U+FFFD): kept; name --encoding",
        ),
        (
            rows["text"].str.contains(MISREAD),
            "look like UTF-8 read as Windows-1252: kept; correct the file",
        ),
    ):
        notes += _note(rows["name"][marked], what)
    return rows, notes


def _note(names: Sequence[str], what: str, things: str = "texts") -> list[str]:
    """A counted sentence, if there is something to count."""
    names = list(names)
    return [f"{len(names)} {things} {what}, first {names[:3]}"] if names else []


@dataclasses.dataclass(frozen=True)
class Joined:
    """Reports of a study's samples.

    Attributes:
      texts: Columns `sample_id` and `text`, in the order of the study's samples.
      unmatched: Ids of reports without a sample in the study.
      without: Samples that have no report.
      notes: For the user.
    """

    texts: pd.DataFrame
    unmatched: tuple[str, ...]
    without: tuple[str, ...]
    notes: tuple[str, ...] = ()


def match(study: Study, reports: Reports) -> Joined:
    """Finds the samples of each report; a patient's report is for all its samples.

    Raises:
      TextError: no report is of the study.
    """
    samples = study.samples
    ids = samples[reports.kind].astype(str)
    by_id = reports.texts.set_index("id")["text"]
    has = ids.isin(by_id.index)
    if not has.any():
        raise TextError(
            f"none of {len(by_id)} reports is of study {study.name}: they are of "
            f"{reports.kind}s such as {list(by_id.index[:3])}, the study has "
            f"{sorted(set(ids))[:3]}"
        )
    owners = samples["patient_id"][has]
    notes = []
    if reports.kind == "patient_id" and owners.duplicated().any():
        notes.append(
            f"{len(owners)} samples of {owners.nunique()} patients: the samples of a "
            "patient share the report, and are not independent"
        )
    names = samples["sample_id"].astype(str)
    return Joined(
        pd.DataFrame(
            {"sample_id": names[has].to_numpy(), "text": ids[has].map(by_id).to_numpy()}
        ),
        tuple(sorted(set(by_id.index) - set(ids))),
        tuple(names[~has]),
        tuple(notes),
    )


def add_reports(
    study: Study, joined: Joined, source: dict[str, str], *, replace: bool = False
) -> tuple[Study, bool]:
    """Writes reports into a study, which changes its fingerprint.

    study.json is written last. Reports to be replaced are first taken out of it, so that
    a process killed at any moment leaves a whole study, with or without reports.

    Args:
      study, joined: Where to write what.
      source: File and SHA-256 of the table; goes into study.json.
      replace: Replace other reports.

    Returns:
      The study afterwards, and False if the same reports were there.

    Raises:
      TextError: the study has other reports.
    """
    meta = dict(study.meta)
    if FILE in meta["files"]:
        present = study.reports().astype(str)
        if present.reset_index(drop=True).equals(joined.texts.astype(str)):
            return study, False
        if not replace:
            raise TextError(
                f"study {study.name} has {len(present)} other reports already: name "
                "--replace to write over them"
            )
        meta["files"] = {k: v for k, v in meta["files"].items() if k != FILE}
        write_json(study.root / "study.json", meta)
    path = study.root / FILE
    with atomic_path(path) as partial:
        joined.texts.to_parquet(partial, index=False)
    return record(Study(study.root), FILE, source=source), True
