"""Reads tables of z-scores as PORPOISE publishes them: a row per slide, a CSV a cohort.

    case_id, slide_id, ..., <GENE>_rnaseq columns -> one row per case -> RnaTable

Slides of a case repeat its expression; a case whose rows differ is skipped, because
none is known to be right. The tables name no RNA sample: the sample type is that of the
slides that their authors paired with it. Column `site` is not read: as a number it has
lost its leading zero, which the barcode still has.

Chen et al., Cancer Cell 40:865 (2022), doi:10.1016/j.ccell.2022.07.004.
"""

import re
from pathlib import Path

import numpy as np

from pathjax.data.study import sha256
from pathjax.data.tcga_barcodes import Barcode, find, parse
from pathjax.datasets.tcga.rna_matrix import table_from
from pathjax.datasets.tcga.rna_table import Note, RnaTable, observations
from pathjax.datasets.tcga.tables import TcgaError, header_of, opened, read_values

SUFFIX = "_rnaseq"
COHORT = re.compile(r"tcga[_-]([a-z]+)", re.IGNORECASE)
KEYS = ("case_id", "slide_id")


def has_expression(header: list[str]) -> bool:
    """True when a CSV's header is that of such a table."""
    return any(name.endswith(SUFFIX) for name in header)


def read_cases(
    path: Path,
    *,
    units: str | None = None,
    gene_map: dict[str, tuple[str, str]] | None = None,
    keep_all: bool = False,
) -> RnaTable:
    """One table, a row per case; see `rna_matrix.table_from` for the arguments.

    Raises:
      TcgaError: It is no such table, is damaged, or no case can be used.
    """
    with opened(path) as file:
        line = file.readline()
        header = header_of(line, path, ",")
        lacking = [name for name in KEYS if name not in header]
        no_rows = not file.readline().strip()
        if lacking or no_rows or not has_expression(header):
            raise TcgaError(
                f"{path.name} lacks {', '.join(lacking) or f'rows or <GENE>{SUFFIX}'}: "
                f"expected a CSV with {', '.join(KEYS)} and <GENE>{SUFFIX} columns"
            )
        file.seek(len(line))
        genes = [place for place, name in enumerate(header) if name.endswith(SUFFIX)]
        (cases, slides), columns = read_values(
            file,
            path,
            width=len(header),
            keys=[header.index(name) for name in KEYS],
            columns=genes,
            delimiter=",",
        )
    values = np.ascontiguousarray(columns.T)
    rows, barcodes, skipped = _one_row_per_case(values, cases, slides, path)
    cohort = COHORT.search(path.name)
    project = f"TCGA-{cohort[1].upper()}" if cohort else ""
    return table_from(
        values[rows],
        [header[place].removesuffix(SUFFIX) for place in genes],
        observations(barcodes, [""] * len(rows), project, path.name),
        name=path.name,
        units=units,
        gene_map=gene_map,
        keep_all=keep_all,
        files=[(path.name, sha256(path), path.stat().st_size)],
        skipped=skipped,
    )


def _one_row_per_case(
    values: np.ndarray, cases: list[str], slides: list[str], path: Path
) -> tuple[list[int], list[Barcode], list[Note]]:
    """The first row of each usable case, and its sample."""
    rows_of: dict[str, list[int]] = {}
    for row, case in enumerate(cases):
        rows_of.setdefault(case, []).append(row)
    rows, barcodes, skipped = [], [], []
    for case, mine in rows_of.items():
        try:
            patient = parse(case).patient
            found = [find(slides[row]) for row in mine]
        except ValueError as error:
            skipped.append((case, f"{path.name}: {error}"))
            continue
        types = sorted({barcode.sample_type for barcode in found})
        # Missing agrees with missing.
        differ = ~np.all(
            (values[mine] == values[mine[0]])
            | (np.isnan(values[mine]) & np.isnan(values[mine[0]])),
            axis=0,
        )
        if {barcode.patient for barcode in found} != {patient}:
            fault = f"slides of others: {', '.join(slides[row] for row in mine)}"
        elif len(types) > 1 or not types[0]:
            fault = f"slides of the sample types {', '.join(types) or 'none'}"
        elif differ.any():
            fault = f"its {len(mine)} rows differ in {differ.sum()} genes"
        else:
            rows.append(mine[0])
            site, person = found[0].site, found[0].person
            barcodes.append(Barcode(site, person, sample_type=types[0]))
            continue
        skipped.append((case, f"{path.name}: {fault}"))
    if not rows:
        raise TcgaError(
            f"{path.name} has no case that can be used, first {skipped[0][0]}: "
            f"{skipped[0][1]}"
        )
    return rows, barcodes, skipped
