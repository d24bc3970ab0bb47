"""Reads expression matrices: those of the Xena hubs, and PORPOISE's tables.

Xena: TSV, genes by samples. Columns are barcodes of samples or aliquots; others, such
as GTEx samples, are skipped and listed.

PORPOISE (Chen et al., Cancer Cell 40:865, 2022, doi:10.1016/j.ccell.2022.07.004): CSV, a
row per slide, z-scores in <GENE>_rnaseq columns. Slides of a case repeat its expression;
a case whose rows differ is skipped, because none is known to be right. The sample type
is that of the slides. Column `site` has lost its leading zero and is not read.

Determines no units: `rna_table.table_from` does.
"""

import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float32

from pathjax.data.study import sha256
from pathjax.data.tcga_barcodes import Barcode, find, parse
from pathjax.datasets.tcga.rna_table import (
    FFPE,
    Note,
    RnaTable,
    is_ffpe,
    observations,
    table_from,
)
from pathjax.datasets.tcga.tables import TcgaError, header_of, opened, read_values

XENA_PROJECT = re.compile(r"TCGA[-.]([A-Z]{2,8})(?=[-.])")
PORPOISE_COHORT = re.compile(r"tcga[_-]([a-z]+)", re.IGNORECASE)
SUFFIX = "_rnaseq"
KEYS = ("case_id", "slide_id")


class _Matrix(NamedTuple):
    values: Float32[np.ndarray, "samples rows"]
    ids: list[str]
    barcodes: list[Barcode]
    aliquots: list[str]
    project: re.Match[str] | None
    skipped: list[Note]


def read_matrix(
    path: Path,
    *,
    units: str | None = None,
    gene_map: dict[str, tuple[str, str]] | None = None,
    keep_all: bool = False,
    ffpe: bool = False,
) -> RnaTable:
    """One file; see `rna_table.table_from` for the arguments and what is skipped.

    The pan-cancer Toil matrix is 60,498 genes by 10,535 samples, 2.5 GB as float32.

    Raises:
      TcgaError: The file is not such a matrix, is damaged, or has unknown units.
    """
    with opened(path) as file:
        read = _read_xena if b"\t" in file.readline() else _read_porpoise
        file.seek(0)
        matrix = read(file, path, ffpe)
    project = f"TCGA-{matrix.project[1].upper()}" if matrix.project else ""
    return table_from(
        matrix.values,
        matrix.ids,
        observations(matrix.barcodes, matrix.aliquots, project, path.name),
        name=path.name,
        units=units,
        gene_map=gene_map,
        keep_all=keep_all,
        files=[(path.name, sha256(path), path.stat().st_size)],
        skipped=matrix.skipped,
    )


def _read_xena(file: BinaryIO, path: Path, ffpe: bool) -> _Matrix:
    line, first = file.readline(), file.readline()
    header = header_of(line, "\t")
    # R writes TCGA.3C.AALI.01 for TCGA-3C-AALI-01.
    header = [re.sub(r"\.", "-", n) if n.startswith("TCGA.") else n for n in header]
    if first.count(b"\t") == len(header):  # R writes no name for the first column
        header = ["", *header]
    if not first.strip() or len(header) < 2 or header[0].startswith("TCGA-"):
        what = "no rows" if not first.strip() else "no column of gene names"
        raise TcgaError(f"{path.name}: expected genes by samples, got {what}")
    columns, barcodes, skipped = [], [], []
    for place, name in enumerate(header[1:], start=1):
        try:
            barcode = parse(name)
        except ValueError:
            skipped.append((name, f"{path.name}: no TCGA barcode"))
            continue
        if not barcode.sample_type:
            skipped.append((name, f"{path.name}: no sample type in its barcode"))
            continue
        if is_ffpe(barcode) and not ffpe:
            skipped.append((name, FFPE))
            continue
        columns.append(place)
        barcodes.append(barcode)
    if not columns:
        transposed = first.lstrip(b'"').startswith(b"TCGA-")
        advice = "it has samples as rows; transpose it"
        raise TcgaError(
            f"{path.name} has no column that is a TCGA sample, first {header[1:4]}: "
            f"{advice if transposed else 'expected names such as TCGA-3C-AALI-01'}"
        )
    file.seek(len(line))
    [ids], values = read_values(
        file, width=len(header), keys=[0], columns=columns, delimiter="\t"
    )
    ids = [name.strip().strip('"') for name in ids]
    aliquots = [
        header[column] if barcode.is_aliquot else ""
        for column, barcode in zip(columns, barcodes, strict=True)
    ]
    project = XENA_PROJECT.search(path.name)
    return _Matrix(values, ids, barcodes, aliquots, project, skipped)


def _read_porpoise(file: BinaryIO, path: Path, ffpe: bool) -> _Matrix:
    """Slides are FFPE by nature, which says nothing of the RNA: `ffpe` is not used."""
    line = file.readline()
    header = header_of(line, ",")
    genes = [place for place, name in enumerate(header) if name.endswith(SUFFIX)]
    if not genes:
        raise TcgaError(
            f"{path.name} is neither a tab-separated matrix of genes by samples nor a "
            f"CSV with <GENE>{SUFFIX} columns"
        )
    lacking = [name for name in KEYS if name not in header]
    if lacking or not file.readline().strip():
        raise TcgaError(
            f"{path.name} lacks {', '.join(lacking) or 'rows'}: expected a CSV with "
            f"{', '.join(KEYS)} and <GENE>{SUFFIX} columns"
        )
    file.seek(len(line))
    (cases, slides), columns = read_values(
        file,
        width=len(header),
        keys=[header.index(name) for name in KEYS],
        columns=genes,
        delimiter=",",
    )
    values = np.ascontiguousarray(columns.T)
    rows_of: dict[str, list[int]] = {}
    for row, case in enumerate(cases):
        rows_of.setdefault(case, []).append(row)
    rows, barcodes, skipped = [], [], []
    for case, mine in rows_of.items():
        try:
            barcodes.append(_sample(case, [slides[row] for row in mine], values[mine]))
            rows.append(mine[0])
        except ValueError as error:
            skipped.append((case, f"{path.name}: {error}"))
    if not rows:
        raise TcgaError(
            f"{path.name} has no case that can be used, first {': '.join(skipped[0])}"
        )
    ids = [header[place].removesuffix(SUFFIX) for place in genes]
    cohort = PORPOISE_COHORT.search(path.name)
    return _Matrix(values[rows], ids, barcodes, [""] * len(rows), cohort, skipped)


def _sample(case: str, slides: list[str], values: np.ndarray) -> Barcode:
    """The sample of a case, of whose slides `values` has a row each."""
    patient = parse(case).patient
    found = [find(slide) for slide in slides]
    if {barcode.patient for barcode in found} != {patient}:
        raise ValueError(f"slides of others: {', '.join(slides)}")
    types = sorted({barcode.sample_type for barcode in found})
    if len(types) > 1 or not types[0]:
        raise ValueError(f"slides of the sample types {', '.join(types) or 'none'}")
    # Missing agrees with missing.
    same = (values == values[0]) | (np.isnan(values) & np.isnan(values[0]))
    differ = int((~same.all(axis=0)).sum())
    if differ:
        raise ValueError(f"its {len(slides)} rows differ in {differ} genes")
    return Barcode(found[0].site, found[0].person, sample_type=types[0])
