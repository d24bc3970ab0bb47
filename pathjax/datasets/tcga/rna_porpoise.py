"""Reads tables of z-scores as PORPOISE publishes them: a row per slide, a CSV a cohort.

    case_id, slide_id, ..., <GENE>_rnaseq columns -> one row per case -> RnaTable

Several slides of a case repeat its expression; rows of a case that disagree leave the
case out, for none is known to be right. The tables name no RNA sample: the sample type
is that of the slides, which their authors paired with it. Column `site` is not read: as
a number it has lost its leading zero there; the barcode still has it.

Chen et al., Cancer Cell 40:865 (2022), doi:10.1016/j.ccell.2022.07.004.
"""

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv

from pathjax.data.study import sha256
from pathjax.data.tcga_barcodes import Barcode, BarcodeError, find, parse
from pathjax.datasets.tcga.rna_matrix import table_from
from pathjax.datasets.tcga.rna_table import (
    Note,
    RnaError,
    RnaTable,
    observations,
    opened,
    text_of,
)

SUFFIX = "_rnaseq"
COHORT = re.compile(r"tcga[_-]([a-z]+)", re.IGNORECASE)
KEYS = ("case_id", "slide_id")
# A row has to fit into one of pyarrow's blocks; the widest known has 40 kB.
BLOCK_BYTES = 16 << 20


def header_of(line: bytes, path: Path) -> list[str]:
    """The fields of a CSV's header.

    Raises:
      RnaError: it is no text, or no CSV.
    """
    try:
        return next(csv.reader([text_of(line, path).strip()]), [])
    except csv.Error as error:
        raise RnaError(f"{path.name} is no CSV ({error})") from error


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
      RnaError: it is no such table, is damaged, or no case can be used.
    """
    with opened(path) as file:
        data = file.read()
    first, _, rest = data.partition(b"\n")
    header = header_of(first, path)
    lacking = [name for name in KEYS if name not in header]
    if lacking or not has_expression(header) or not rest.strip():
        raise RnaError(
            f"{path.name} lacks {', '.join(lacking) or f'rows or <GENE>{SUFFIX}'}: "
            f"wanted a CSV with {', '.join(KEYS)} and <GENE>{SUFFIX} columns"
        )
    genes = [place for place, name in enumerate(header) if name.endswith(SUFFIX)]
    keys = [header.index(name) for name in KEYS]
    table = _parsed(rest, len(header), keys, genes, path)
    values = np.empty((table.num_rows, len(genes)), np.float32)
    for column, place in enumerate(genes):
        values[:, column] = table[str(place)].to_numpy()
    cases, slides = (table[str(place)].to_pylist() for place in keys)
    rows, barcodes, skipped = _one_row_per_case(values, cases, slides, path)
    cohort = COHORT.search(path.name)
    obs = observations(
        barcodes,
        [""] * len(rows),
        [f"TCGA-{cohort[1].upper()}" if cohort else ""] * len(rows),
        [path.name] * len(rows),
    )
    return table_from(
        values[rows],
        [header[place].removesuffix(SUFFIX) for place in genes],
        obs,
        name=path.name,
        units=units,
        gene_map=gene_map,
        keep_all=keep_all,
        files=[(path.name, sha256(path), path.stat().st_size)],
        skipped=skipped,
    )


def _parsed(
    data: bytes, width: int, keys: list[int], genes: list[int], path: Path
) -> pyarrow.Table:
    """Columns by place, for names may repeat.

    Raises:
      RnaError: a row of another width, or a value that is no number.
    """
    types = {str(place): pyarrow.string() for place in keys}
    types |= {str(place): pyarrow.float32() for place in genes}
    try:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(data),
            pyarrow.csv.ReadOptions(
                column_names=[str(place) for place in range(width)],
                block_size=BLOCK_BYTES,
                use_threads=False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(types)
            ),
        )
    except pyarrow.ArrowException as error:
        raise RnaError(f"{path.name} is damaged: {error}") from error


def _one_row_per_case(
    values: np.ndarray, cases: list[str], slides: list[str], path: Path
) -> tuple[list[int], list[Barcode], list[Note]]:
    """The first row of each case that can be used, and its sample."""
    of_case: dict[str, list[int]] = {}
    for row, case in enumerate(cases):
        of_case.setdefault(case, []).append(row)
    rows, barcodes, skipped = [], [], []
    for case, mine in of_case.items():
        try:
            patient = parse(case).patient
            found = [find(slides[row]) for row in mine]
        except BarcodeError as error:
            skipped.append((case, f"{path.name}: {error}"))
            continue
        types = sorted({one.sample_type for one in found})
        if {one.patient for one in found} != {patient}:
            fault = f"slides of others: {', '.join(slides[row] for row in mine)}"
        elif len(types) > 1 or not types[0]:
            fault = f"slides of the sample types {', '.join(types) or 'none'}"
        elif not (_same(values[mine])).all():
            genes = int((~_same(values[mine])).sum())
            fault = f"its {len(mine)} rows differ in {genes} genes"
        else:
            rows.append(mine[0])
            barcodes.append(
                Barcode(found[0].site, found[0].person, sample_type=types[0])
            )
            continue
        skipped.append((case, f"{path.name}: {fault}"))
    if not rows:
        raise RnaError(
            f"{path.name} has no case that can be used, first {skipped[0][0]}: "
            f"{skipped[0][1]}"
        )
    return rows, barcodes, skipped


def _same(rows: np.ndarray) -> np.ndarray:
    """Per gene, whether all rows agree; missing agrees with missing."""
    return ((rows == rows[0]) | (np.isnan(rows) & np.isnan(rows[0]))).all(axis=0)
