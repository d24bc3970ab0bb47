"""Reads a matrix of genes by samples in the format of the Xena hubs: TSV, also packed.

Columns are sample barcodes of 15 or 16 characters or whole aliquots; others, such as
GTEx samples, are skipped and listed. `rna_units.py` determines the units.
"""

import re
from pathlib import Path

from pathjax.data.study import sha256
from pathjax.data.tcga_barcodes import Barcode, parse
from pathjax.datasets.tcga.rna_matrix import table_from
from pathjax.datasets.tcga.rna_table import Note, RnaTable, observations
from pathjax.datasets.tcga.tables import TcgaError, header_of, opened, read_values

PROJECT = re.compile(r"TCGA[-.]([A-Z]{2,8})(?=[-.])")


def read_matrix(
    path: Path,
    *,
    units: str | None = None,
    gene_map: dict[str, tuple[str, str]] | None = None,
    keep_all: bool = False,
) -> RnaTable:
    """One matrix; see `rna_matrix.table_from` for the arguments and what is skipped.

    The pan-cancer Toil matrix is 60,498 genes by 10,535 samples, 2.5 GB as float32.

    Raises:
      TcgaError: The file is no such matrix, is damaged, or has unknown units.
    """
    with opened(path) as file:
        line = file.readline()
        header = header_of(line, path, "\t")
        first = file.readline()
        width = first.count(b"\t") + 1
        if width == len(header) + 1:  # R writes no name for the first column
            header = ["", *header]
        if not first.strip() or len(header) < 2:
            raise TcgaError(
                f"{path.name}: expected genes by samples, separated by tabs; got "
                f"{len(header)} columns{'' if first.strip() else ' and no rows'}"
            )
        columns, barcodes, skipped = _columns(header, path, first)
        file.seek(len(line))
        [ids], values = read_values(
            file,
            path,
            width=len(header),
            keys=[0],
            columns=columns,
            delimiter="\t",
        )
    project = PROJECT.search(path.name)
    obs = observations(
        barcodes,
        [
            header[column] if barcode.is_aliquot else ""
            for column, barcode in zip(columns, barcodes, strict=True)
        ],
        f"TCGA-{project[1]}" if project else "",
        path.name,
    )
    return table_from(
        values,
        [name.strip().strip('"') for name in ids],
        obs,
        name=path.name,
        units=units,
        gene_map=gene_map,
        keep_all=keep_all,
        files=[(path.name, sha256(path), path.stat().st_size)],
        skipped=skipped,
    )


def _columns(
    header: list[str], path: Path, first: bytes
) -> tuple[list[int], list[Barcode], list[Note]]:
    """Places and barcodes of the columns to read, and the columns skipped."""
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
        columns.append(place)
        barcodes.append(barcode)
    if not columns:
        turned = first.lstrip(b'"').startswith(b"TCGA-")
        raise TcgaError(
            f"{path.name} has no column that is a TCGA sample, first {header[1:4]}: "
            + (
                "it has samples as rows; transpose it"
                if turned
                else "expected names such as TCGA-3C-AALI-01"
            )
        )
    return columns, barcodes, skipped
