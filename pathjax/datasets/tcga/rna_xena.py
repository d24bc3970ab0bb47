"""Reads a matrix of genes by samples, as the Xena hubs give them: TSV, also packed.

    first pass: names of rows, widths  ->  one array  ->  second pass: values

The pan-cancer Toil matrix is 60,498 genes by 10,535 samples, 2.5 GB as float32: the
first pass counts, so that the second can write in place. Columns are sample barcodes of
15 or 16 characters or whole aliquots; others, such as GTEx samples, are left out by
name. What the numbers mean is `rna_units.py`'s to say.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.study import sha256
from pathjax.data.tcga_barcodes import Barcode, BarcodeError, parse
from pathjax.datasets.tcga.rna_matrix import table_from
from pathjax.datasets.tcga.rna_table import (
    Note,
    RnaError,
    RnaTable,
    observations,
    opened,
    text_of,
)

# Text parsed at a time. Parsing costs per column and piece, so that large is fast.
PIECE_BYTES = 32 << 20
PROJECT = re.compile(r"TCGA[-.]([A-Z]{2,8})(?=[-.])")
SHOWN = 5


def read_matrix(
    path: Path,
    *,
    units: str | None = None,
    gene_map: dict[str, tuple[str, str]] | None = None,
    keep_all: bool = False,
) -> RnaTable:
    """One matrix; see `rna_matrix.table_from` for the arguments and what is left out.

    Raises:
      RnaError: the file is no such matrix, is damaged, or cannot be understood.
    """
    header, ids = _survey(path)
    columns, barcodes, skipped = _columns(header, ids, path)
    values = _values(path, len(ids), columns)
    project = PROJECT.search(path.name)
    obs = observations(
        barcodes,
        [
            header[column] if barcode.is_aliquot else ""
            for column, barcode in zip(columns, barcodes, strict=True)
        ],
        [f"TCGA-{project[1]}" if project else ""] * len(columns),
        [path.name] * len(columns),
    )
    return table_from(
        values,
        ids,
        obs,
        name=path.name,
        units=units,
        gene_map=gene_map,
        keep_all=keep_all,
        files=[(path.name, sha256(path), path.stat().st_size)],
        skipped=skipped,
    )


def _lines(path: Path) -> Iterator[bytes]:
    with opened(path) as file:
        for line in file:
            if line.strip():
                yield line.rstrip(b"\r\n")


def header_of(line: bytes, path: Path) -> list[str]:
    """The fields of a tab-separated header, without quotes."""
    return [field.strip().strip('"') for field in text_of(line, path).split("\t")]


def _survey(path: Path) -> tuple[list[str], list[str]]:
    """Header and row names; every row has as many fields as the header.

    Raises:
      RnaError: no rows, or rows of other widths.
    """
    lines = _lines(path)
    header = header_of(next(lines, b""), path)
    ids: list[bytes] = []
    faults: list[str] = []
    width = len(header)
    for number, line in enumerate(lines, start=2):
        name, *_ = line.split(b"\t", 1)
        found = line.count(b"\t") + 1
        if number == 2 and found == width + 1:  # R names no corner
            header, width = ["", *header], found
        if found != width:
            faults.append(f"line {number} has {found}")
        ids.append(name)
    if not ids or width < 2:
        raise RnaError(
            f"{path.name} has {len(ids)} rows and {width} columns: wanted genes by "
            "samples, separated by tabs"
        )
    if faults:
        raise RnaError(
            f"{path.name} is damaged: its header has {width} fields, "
            f"{', '.join(faults[:SHOWN])}"
            + (f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        )
    return header, header_of(b"\t".join(ids), path)


def _columns(
    header: list[str], ids: list[str], path: Path
) -> tuple[list[int], list[Barcode], list[Note]]:
    """Places and barcodes of the columns to read, and the columns left out."""
    columns, barcodes, skipped = [], [], []
    for place, name in enumerate(header[1:], start=1):
        try:
            barcode = parse(name)
        except BarcodeError:
            skipped.append((name, f"{path.name}: no TCGA barcode"))
            continue
        if not barcode.sample_type:
            skipped.append((name, f"{path.name}: no sample type in its barcode"))
            continue
        columns.append(place)
        barcodes.append(barcode)
    if not columns:
        turned = sum(one.startswith("TCGA-") for one in ids) > len(ids) / 2
        raise RnaError(
            f"{path.name} has no column that is a TCGA sample, first {header[1:4]}: "
            + (
                "it has samples as rows; transpose it"
                if turned
                else "wanted names such as TCGA-3C-AALI-01"
            )
        )
    return columns, barcodes, skipped


def _values(path: Path, rows: int, columns: list[int]) -> np.ndarray:
    """`[samples, rows]` float32."""
    values = np.empty((len(columns), rows), np.float32)
    begin = 0
    piece: list[bytes] = []
    size = 0
    lines = _lines(path)
    next(lines)
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE_BYTES:
            begin = _fill(values, begin, piece, columns, path)
            piece, size = [], 0
    if piece:
        begin = _fill(values, begin, piece, columns, path)
    if begin != rows:
        raise RnaError(f"{path.name} changed while it was read: read it again")
    return values


def _fill(
    values: np.ndarray, begin: int, piece: list[bytes], columns: list[int], path: Path
) -> int:
    try:
        block = pd.read_csv(
            io.BytesIO(b"\n".join(piece)),
            sep="\t",
            header=None,
            usecols=columns,
            dtype=np.float32,
            quoting=3,  # csv.QUOTE_NONE: numbers need none, and a stray one is a fault
        )
    except (ValueError, OverflowError) as error:  # ParserError is a ValueError
        raise RnaError(
            f"{path.name}, lines {begin + 2} to {begin + 1 + len(piece)}: {error}"
        ) from error
    end = begin + len(block)
    if len(block) != len(piece) or end > values.shape[1]:
        raise RnaError(
            f"{path.name}, lines {begin + 2} to {begin + 1 + len(piece)}: "
            f"{len(block)} rows in {len(piece)} lines"
        )
    values[:, begin:end] = block.to_numpy().T
    return end
