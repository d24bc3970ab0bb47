"""Reads tables of labels: a row per patient, sample or slide, columns known by name.

    CSV or TSV, plain, .gz or .zip -> claims (patient, label, value, source)

One reader for what is in use: a map from patient to cancer type, the tables of slides
with `oncotree_code` and `<GENE>_mut`, Xena's and TCGAbiolinks' PAM50 calls, a user's
own CSV. A cell whose word is not known is an error, never a guess. The tables' own
`site` columns are not read (they have lost leading zeros): a site is in the barcode.
"""

import contextlib
import csv
import dataclasses
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.tables import TcgaError, opened
from pathjax.datasets.tcga.vocabulary import CLASSES, MISSING, claims_of


@dataclasses.dataclass(frozen=True)
class Claim:
    """One source's word on one patient.

    Attributes:
      patient: 12 characters.
      label: a key of `vocabulary.CLASSES`.
      value: one of its classes.
      source: the file's name, with the sample where a patient can have several.
    """

    patient: str
    label: str
    value: str
    source: str


# The first that a table has is its key. Slide and sample names hold the patient.
KEYS = (
    "patient_id",
    "patient",
    "case_id",
    "case",
    "submitter_id",
    "bcr_patient_barcode",
    "sample_id",
    "sample",
    "sampleID",
    "slide_id",
)
COLUMNS = {
    **{label: label for label in CLASSES},
    "project_id": "cancer_type",  # GDC: TCGA-BRCA
    "oncotree_code": "oncotree",
    "TP53_mut": "tp53",
    "TP53": "tp53",
    "PAM50": "pam50",
    "PAM50Call_RNAseq": "pam50",  # Xena's clinical matrix of BRCA
    "BRCA_Subtype_PAM50": "pam50",  # TCGAbiolinks' PanCancerAtlas_subtypes
}
SHOWN = 10  # problems per file in a message
COMMENTS = 50  # lines in which a header is looked for


@dataclasses.dataclass(frozen=True)
class Header:
    """The first line of a table that is neither blank nor a comment.

    Attributes:
      names: of the columns.
      separator: a tab where the line has one, else a comma.
      lines: how many lines stand before it, as in the GDC's MAFs.
    """

    names: tuple[str, ...]
    separator: str
    lines: int


@contextlib.contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """A text file, unpacked where it is gzip or a zip of one file.

    Raises:
      TcgaError: also when what is read in the block turns out to be broken.
    """
    try:
        with opened(path) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    except (UnicodeDecodeError, csv.Error) as error:
        raise TcgaError(
            f"{path} cannot be read: {error}. Wanted a CSV or TSV file, plain, .gz or "
            "alone in a .zip"
        ) from error


def header_of(path: Path) -> Header:
    """The header of a table.

    Raises:
      TcgaError: the file cannot be read as text, or has no header.
    """
    with text_file(path) as file:
        for number, line in enumerate(itertools.islice(file, COMMENTS)):
            if line.strip() and not line.startswith("#"):
                separator = "\t" if "\t" in line else ","
                names = next(csv.reader([line], delimiter=separator))
                return Header(tuple(map(str.strip, names)), separator, number)
    raise TcgaError(f"{path} has no header in its first {COMMENTS} lines")


def read_table(path: Path) -> list[Claim]:
    """The claims of one table, in its order.

    Rows of normal tissue (sample types 10 to 19) say nothing of a tumour and are left
    out; so are empty cells.

    Raises:
      TcgaError: the file cannot be read, has no key or no label column, or has rows
        of another length than its header or cells that are no barcode or no known
        word: all at once.
    """
    header = header_of(path)
    key = next((name for name in KEYS if name in header.names), None)
    labels = [name for name in header.names if name in COLUMNS and name != key]
    if key is None or not labels:
        shown = ", ".join(header.names[:8]) + (", ..." if header.names[8:] else "")
        raise TcgaError(
            f"{path} is no table of labels: it has the columns {shown}; expected one of "
            f"{', '.join(KEYS)} and at least one of {', '.join(COLUMNS)}"
        )
    twice = sorted({one for one in (key, *labels) if header.names.count(one) > 1})
    if twice:
        raise TcgaError(f"{path} has the columns {', '.join(twice)} more than once")
    places = {name: header.names.index(name) for name in (key, *labels)}
    claims: dict[Claim, None] = {}
    problems: list[str] = []
    rows = 0
    with text_file(path) as file:
        reader = csv.reader(
            itertools.islice(file, header.lines + 1, None), delimiter=header.separator
        )
        for row in filter(None, reader):
            rows += 1
            if len(row) != len(header.names):
                fault = f"{len(row)} fields where the header has {len(header.names)}"
                found, faults = {}, [fault]
            else:
                cells = {name: row[place] for name, place in places.items()}
                found, faults = _row(cells.pop(key), cells, path.name)
            claims |= found
            line = header.lines + 1 + reader.line_num
            problems += [f"line {line}: {fault}" for fault in faults]
    if not rows:
        raise TcgaError(f"{path} has a header and no row")
    if problems:
        more = len(problems) - SHOWN
        raise TcgaError(
            f"{path} has {len(problems)} things that cannot be used:\n  - "
            + "\n  - ".join(problems[:SHOWN])
            + (f"\n  - and {more} more" if more > 0 else "")
        )
    return list(claims)


def _row(
    name: str, cells: dict[str, str], source: str
) -> tuple[dict[Claim, None], list[str]]:
    """What one row claims, and what is wrong with it."""
    try:
        barcode = find(name)
    except ValueError as error:
        return {}, [str(error)]
    claims, faults = {}, []
    for column, text in cells.items():
        if barcode.is_normal or text.strip().lower() in MISSING:
            continue
        said = claims_of(COLUMNS[column], text)
        if said is None:
            faults.append(f"{column} {text!r} is not known{_expected(column)}")
            continue
        for label, value in said.items():
            claims[Claim(barcode.patient, label, value, source)] = None
    return claims, faults


def _expected(column: str) -> str:
    classes = CLASSES.get(COLUMNS[column])
    return (
        f", expected one of {', '.join(classes)}" if classes else ", an OncoTree code"
    )
