"""Reads which sample a GDC file belongs to: from sample sheets or cart metadata.

    gdc_sample_sheet.DATE.tsv or metadata.cart.DATE.json -> file name -> SheetRow

Sheets of all dates are read. Only the metadata has the aliquot. Rows that contradict
themselves are skipped and listed.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pathjax.data.tables import read_table
from pathjax.data.tcga_barcodes import Barcode, parse
from pathjax.datasets.tcga.rna_table import Note
from pathjax.datasets.tcga.tables import TcgaError, opened

PATTERNS = ("gdc_sample_sheet*.tsv", "metadata.cart*.json")
# "Tissue Type" replaced "Sample Type"; both say Normal for normal tissue.
TISSUE = ("Tissue Type", "Sample Type")
COLUMNS = ("File Name", "Case ID", "Sample ID", "Project ID", *TISSUE)
COLUMNS += ("Preservation Method",)
LOOKS_PRESERVED = re.compile("preserv|ffpe", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SheetRow:
    """What a sheet says about one file.

    Attributes:
      file: Its name, without `.gz`.
      barcode: Of the sample.
      aliquot: Whole barcode, "" if unknown.
      project: Such as "TCGA-LUAD", "" if unknown.
      preservation: "FFPE", "Frozen", "OCT", ...; "" if unknown.
    """

    file: str
    barcode: Barcode
    aliquot: str = ""
    project: str = ""
    preservation: str = ""


def plain_name(name: str) -> str:
    """A file's name without the `.gz` that a user may have added."""
    return name.removesuffix(".gz")


def find_sheets(folder: Path) -> list[Path]:
    """The sheets in a folder, by the names that the GDC gives them."""
    return sorted(path for pattern in PATTERNS for path in folder.glob(pattern))


def read_sheets(paths: Sequence[Path]) -> tuple[dict[str, SheetRow], list[Note]]:
    """Rows of all sheets by file name, and rows skipped.

    Two rows of one file complete each other; if they contradict each other, the file is
    skipped.

    Raises:
      TcgaError: A sheet cannot be read, lacks columns, or none has a usable row.
    """
    found: dict[str, SheetRow] = {}
    refused: set[str] = set()
    notes: list[Note] = []
    for path in paths:
        with opened(path) as file:
            is_json = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        for row in (_metadata if is_json else _sheet)(path):
            if not isinstance(row, SheetRow):
                notes.append((row[0], f"{path.name}: {row[1]}"))
                continue
            known = found.setdefault(row.file, row)
            aliquots = {row.aliquot, known.aliquot} - {""}
            if known.barcode.sample != row.barcode.sample or len(aliquots) > 1:
                refused.add(row.file)
                both = [one.aliquot or one.barcode.sample for one in (known, row)]
                reason = f"{path.name}: it is of both {' and '.join(both)}"
                notes.append((row.file, reason))
            else:
                found[row.file] = SheetRow(
                    file=row.file,
                    barcode=row.barcode if row.aliquot else known.barcode,
                    aliquot=row.aliquot or known.aliquot,
                    project=row.project or known.project,
                    preservation=row.preservation or known.preservation,
                )
    for name in refused:
        del found[name]
    if not found:
        names = ", ".join(path.name for path in paths)
        reason = f", first: {': '.join(notes[0])}" if notes else ""
        raise TcgaError(f"{names} names no file of a TCGA sample{reason}")
    return found, notes


def _sheet(path: Path) -> Iterator[SheetRow | Note]:
    bad: list[tuple[int, str]] = []
    try:
        table = read_table(path, COLUMNS, required=COLUMNS[:3], bad_rows=bad)
    except ValueError as error:
        raise TcgaError(f"{error}: give GDC's sample sheet as downloaded") from error
    for name in table.columns:
        if name not in COLUMNS and LOOKS_PRESERVED.search(name):
            yield f"column {name}", "not read: expected Preservation Method"
    for line, reason in bad:
        yield f"line {line}", reason
    for line, entry in zip(table.index, table.to_dict("records"), strict=True):
        file = plain_name(entry["File Name"])
        kept = entry.get("Preservation Method", "")
        try:
            if not file:
                raise ValueError("no file name")
            yield SheetRow(
                file,
                _barcode(entry),
                project=entry.get("Project ID", ""),
                preservation="" if kept.lower() == "unknown" else kept,
            )
        except ValueError as error:
            yield file or f"line {line}", str(error)


def _barcode(entry: dict[str, str]) -> Barcode:
    """The sample of a row."""
    # Files of several samples list them: "TCGA-86-8076-10A, TCGA-86-8076-01A".
    samples = sorted({one.strip() for one in entry["Sample ID"].split(",")})
    if len(samples) > 1:
        raise ValueError(f"of several samples: {', '.join(samples)}")
    barcode = parse(samples[0])
    cases = {one.strip() for one in entry["Case ID"].split(",")}
    if not barcode.sample_type or cases != {barcode.patient}:
        raise ValueError(
            f"sample {samples[0]!r} is no sample of case {', '.join(sorted(cases))!r}"
        )
    tissue = next((entry[name] for name in TISSUE if entry.get(name)), "")
    if tissue and ("normal" in tissue.lower()) != barcode.is_normal:
        raise ValueError(f"sample {samples[0]} is called {tissue!r}")
    return barcode


def _metadata(path: Path) -> Iterator[SheetRow | Note]:
    with opened(path) as file:
        entries = json.load(file)
    for number, entry in enumerate(entries, start=1):
        try:
            file = plain_name(str(entry["file_name"]))
            [entity] = entry["associated_entities"]
            aliquot = str(entity["entity_submitter_id"])
        except (KeyError, TypeError, ValueError):
            yield f"entry {number}", "no file_name with one aliquot"
            continue
        try:
            barcode = parse(aliquot)
        except ValueError as error:
            yield file, str(error)
            continue
        if barcode.is_aliquot:
            yield SheetRow(file, barcode, aliquot)
        else:
            yield file, f"{aliquot} is no aliquot"
