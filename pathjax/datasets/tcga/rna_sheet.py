"""Reads which sample a GDC file is of: the sample sheet, or the cart's metadata.

    gdc_sample_sheet.DATE.tsv or metadata.cart.DATE.json -> file name -> SheetRow

Sheets of all dates are read: columns by name, `Sample Type` of the older ones and
`Tissue Type` of the newer where there. Only the metadata knows the aliquot. Rows that
contradict themselves are left out and named.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from pathjax.data.tcga_barcodes import Barcode, parse
from pathjax.datasets.tcga.rna_table import Note
from pathjax.datasets.tcga.tables import TcgaError, opened, read_tsv, text_of

FOUND_BY = ("gdc_sample_sheet*.tsv", "metadata.cart*.json")
# "Tissue Type" took the place of "Sample Type"; both say Normal of normal tissue.
TISSUE = ("Tissue Type", "Sample Type")
NEEDED = ("File Name", "Case ID", "Sample ID")


@dataclasses.dataclass(frozen=True)
class SheetRow:
    """What a sheet says of one file.

    Attributes:
      file: its name, without `.gz`.
      barcode: of the sample.
      aliquot: whole barcode, "" where the sheet does not know it.
      project: such as "TCGA-LUAD", "" where not known.
    """

    file: str
    barcode: Barcode
    aliquot: str
    project: str


def plain_name(name: str) -> str:
    """A file's name without the `.gz` that a user may have added."""
    return name.removesuffix(".gz")


def find_sheets(folder: Path) -> list[Path]:
    """The sheets that lie in a folder under the names GDC gives them."""
    return sorted(path for pattern in FOUND_BY for path in folder.glob(pattern))


def read_sheets(paths: Sequence[Path]) -> tuple[dict[str, SheetRow], list[Note]]:
    """Rows by file name of all sheets together, and rows left out.

    Two rows of one file complete each other; if they contradict each other, the file is
    left out.

    Raises:
      TcgaError: a sheet cannot be read, lacks columns, or none has a usable row.
    """
    found: dict[str, SheetRow] = {}
    refused: set[str] = set()
    notes: list[Note] = []
    for path in paths:
        with opened(path) as file:
            is_json = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        rows, faults = (_metadata if is_json else _sheet)(path)
        notes += faults
        for row in rows:
            known = found.setdefault(row.file, row)
            aliquots = {row.aliquot, known.aliquot} - {""}
            if known.barcode.sample != row.barcode.sample or len(aliquots) > 1:
                refused.add(row.file)
                what = " and ".join(
                    one.aliquot or one.barcode.sample for one in (known, row)
                )
                notes.append((row.file, f"{path.name}: it is of both {what}"))
            else:
                found[row.file] = SheetRow(
                    file=row.file,
                    barcode=row.barcode if row.aliquot else known.barcode,
                    aliquot=row.aliquot or known.aliquot,
                    project=row.project or known.project,
                )
    for name in refused:
        del found[name]
    if not found:
        reason = f", first: {notes[0][0]}: {notes[0][1]}" if notes else ""
        raise TcgaError(
            f"{', '.join(path.name for path in paths)} names no file of a TCGA sample"
            f"{reason}"
        )
    return found, notes


def _sheet(path: Path) -> tuple[list[SheetRow], list[Note]]:
    header, table = read_tsv(path)
    lacking = [name for name in NEEDED if name not in header]
    if lacking:
        raise TcgaError(
            f"{path.name} lacks the columns {', '.join(lacking)}; it has "
            f"{', '.join(header[:8]) or 'none'}: give GDC's sample sheet as downloaded"
        )
    rows, notes = [], []
    for number, fields in table:
        if len(fields) != len(header):
            fault = f"{len(fields)} fields where the header has {len(header)}"
            notes.append((f"line {number}", f"{path.name}: {fault}"))
            continue
        entry = dict(zip(header, fields, strict=True))
        file = plain_name(entry["File Name"])
        try:
            rows.append(_row(file, entry))
        except ValueError as error:
            notes.append((file, f"{path.name}: {error}"))
    return rows, notes


def _row(file: str, entry: dict[str, str]) -> SheetRow:
    """One row of a sheet.

    Raises:
      ValueError: it names no TCGA sample, several, or one that is not the case's.
    """
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
    return SheetRow(file, barcode, "", entry.get("Project ID", ""))


def _metadata(path: Path) -> tuple[list[SheetRow], list[Note]]:
    with opened(path) as file:
        text = text_of(file.read(), path)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TcgaError(
            f"{path.name} is no JSON ({error}): download it again"
        ) from error
    rows, notes = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            file = plain_name(str(entry["file_name"]))
            [entity] = entry["associated_entities"]
            aliquot = str(entity["entity_submitter_id"])
        except (KeyError, TypeError, ValueError):
            notes.append(
                (f"entry {number}", f"{path.name}: no file_name with one aliquot")
            )
            continue
        try:
            barcode = parse(aliquot)
        except ValueError as error:
            notes.append((file, f"{path.name}: {error}"))
            continue
        if barcode.is_aliquot:
            rows.append(SheetRow(file, barcode, aliquot, ""))
        else:
            notes.append((file, f"{path.name}: {aliquot} is no aliquot"))
    return rows, notes
