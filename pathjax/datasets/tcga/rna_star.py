"""Reads a folder of GDC STAR counts: one TSV per aliquot, into one array.

    sheet -> files -> (bytes -> counts, TPM) in threads -> rows of X and counts

Each file is checked: its genes are those of the first good file, its counts are whole,
its TPM sum to a million, which those of a file cut short do not. One that fails is
skipped and listed. All rows are written into two arrays allocated beforehand.

Format: GDC, "mRNA Analysis Pipeline"; columns as of data release 32 (2022).
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.csv

from pathjax.datasets.dataset import Progress
from pathjax.datasets.tcga.genes import reconcile
from pathjax.datasets.tcga.rna_sheet import (
    SheetRow,
    find_sheets,
    plain_name,
    read_sheets,
)
from pathjax.datasets.tcga.rna_table import (
    FFPE,
    Note,
    RnaTable,
    is_ffpe,
    listing,
    observations,
)
from pathjax.datasets.tcga.rna_units import MILLION
from pathjax.datasets.tcga.tables import TcgaError, first_few, opened
from pathjax.files import sha256

ENDING = ".rna_seq.augmented_star_gene_counts.tsv"
TYPES = {
    "gene_id": pyarrow.string(),
    "gene_name": pyarrow.string(),
    "gene_type": pyarrow.string(),
    "unstranded": pyarrow.int64(),
    "tpm_unstranded": pyarrow.float64(),
}
TPM_WITHIN = 0.01
BLOCK_BYTES = 16 << 20  # a whole file (4 MB), so that it is parsed in one piece
THREADS = min(8, os.cpu_count() or 1)
LARGEST_COUNT = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True)
class StarFile:
    """One parsed file.

    Attributes:
      genes: Columns gene_id, gene_name, gene_type.
      counts, tpm: `[rows]`, unstranded.
      sha256, size: Of the file as it is on disk.
    """

    genes: pyarrow.Table
    counts: np.ndarray
    tpm: np.ndarray
    sha256: str
    size: int


def find_star_files(folder: Path) -> list[Path]:
    """STAR-counts files below a folder, by name."""
    return sorted(
        path
        for path in folder.rglob("*")
        if plain_name(path.name).endswith(ENDING) and path.is_file()
    )


def parse_star(path: Path) -> StarFile:
    """One file, checked by itself.

    Raises:
      TcgaError: It cannot be read, lacks a column, has a line of another width, or
        values that are not counts or not TPM.
    """
    with opened(path) as file:
        data = file.read()
        comments = begin = 0
        while data.startswith(b"#", begin):
            end = data.find(b"\n", begin)
            begin = len(data) if end < 0 else end + 1
            comments += 1
        header = data[begin : data.find(b"\n", begin)].rstrip(b"\r").split(b"\t")
        lacking = [name for name in TYPES if name.encode() not in header]
        if lacking:
            raise TcgaError(
                f"{path.name} lacks the columns {', '.join(lacking)}: expected a "
                "STAR-counts file as GDC gives it"
            )
        table = pyarrow.csv.read_csv(
            pyarrow.BufferReader(data),
            pyarrow.csv.ReadOptions(
                skip_rows=comments, block_size=BLOCK_BYTES, use_threads=False
            ),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types=TYPES, include_columns=list(TYPES), null_values=[""]
            ),
        )
        checksum = sha256(path)
    names = table["gene_id"]
    table = table.filter(pyarrow.compute.starts_with(names, "ENSG")).combine_chunks()
    if pyarrow.compute.count_distinct(table["gene_id"]).as_py() < table.num_rows:
        raise TcgaError(f"{path.name} has genes more than once: download it again")
    counts, tpm = table["unstranded"], table["tpm_unstranded"]
    if counts.null_count or tpm.null_count:
        raise TcgaError(f"{path.name} has genes without a count or TPM")
    counts, tpm = counts.to_numpy(), tpm.to_numpy()
    if not len(counts) or counts.min() < 0 or counts.max() > LARGEST_COUNT:
        raise TcgaError(f"{path.name} has no genes, or counts below 0 or above 2^31")
    total = float(tpm.sum())
    # Written so that a NaN fails too.
    if not (tpm.min() >= 0 and abs(total / MILLION - 1) < TPM_WITHIN):
        raise TcgaError(
            f"{path.name}: tpm_unstranded sums to {total:,.0f} over {len(tpm)} genes, "
            "expected 1,000,000: it is cut short, or not TPM"
        )
    return StarFile(
        genes=table.select(["gene_id", "gene_name", "gene_type"]),
        counts=counts,
        tpm=tpm,
        sha256=checksum,
        size=path.stat().st_size,
    )


def read_star(
    folder: Path,
    *,
    sheets: Sequence[Path] = (),
    keep_all: bool = False,
    ffpe: bool = False,
    progress: Progress = lambda done, total: None,
) -> RnaTable:
    """A folder of files, as GDC's client lays them out or flat, with its sheets.

    Args:
      folder: Holds `UUID/UUID.rna_seq.augmented_star_gene_counts.tsv` or the files
        themselves, gzipped or not.
      sheets: Sample sheets or metadata; default: those in `folder`.
      keep_all: Also keep non-coding genes.
      ffpe: Also read formalin-fixed samples.
      progress: Called with (files done, total number of files).

    Raises:
      TcgaError: There is no sheet, or no file that can be used.
    """
    sheets = list(sheets) or find_sheets(folder)
    if not sheets:
        raise TcgaError(
            f"{folder} has no sample sheet: download it from the GDC cart and give it "
            "as --sample-sheet; file names do not say which sample they are of"
        )
    rows, skipped = read_sheets(sheets)
    pairs, unmatched = _matched(find_star_files(folder), rows)
    skipped += unmatched
    if not ffpe:
        fixed = [path for path, row in pairs if is_ffpe(row.barcode, row.preservation)]
        skipped += [(path.name, FFPE) for path in fixed]
        pairs = [(path, row) for path, row in pairs if path not in fixed]
    files = [path for path, _ in pairs]
    # The genes of the first good file are those of all.
    faults: list[Note] = []
    reference = None
    for path in files:
        try:
            reference = parse_star(path).genes
            break
        except TcgaError as error:
            faults.append((path.name, str(error)))
    if reference is None:
        raise TcgaError(
            f"no STAR-counts file of {folder} can be used:\n{listing(skipped + faults)}"
        )
    genes = reconcile(
        *(reference[name].to_pylist() for name in reference.column_names),
        keep_all=keep_all,
    )
    x = np.empty((len(files), len(genes.var)), np.float32)
    counts = np.empty(x.shape, np.int32)

    def fill(place: int) -> tuple[str, str, int] | TcgaError:
        """Writes a file's row; returns name, SHA-256 and size."""
        path = files[place]
        try:
            star = parse_star(path)
        except TcgaError as error:
            return error
        if not star.genes["gene_id"].equals(reference["gene_id"]):
            return TcgaError(
                f"{path.name} has other genes ({star.genes.num_rows}) than the first "
                f"file ({reference.num_rows}): expected one gene model"
            )
        counts[place] = genes.gather(star.counts)
        x[place] = np.log2(genes.gather(star.tpm) + 1.0)
        return path.name, star.sha256, star.size

    read: list[tuple[str, str, int]] = []
    good: list[int] = []
    # Parsing and hashing release Python's lock; each file's row is its own.
    with ThreadPoolExecutor(THREADS) as pool:
        for place, info in enumerate(pool.map(fill, range(len(files)))):
            if isinstance(info, TcgaError):
                skipped.append((files[place].name, str(info)))
            else:
                read.append(info)
                good.append(place)
            progress(place + 1, len(files))
    for target, place in enumerate(good):  # in place: the arrays may be most of memory
        x[target], counts[target] = x[place], counts[place]
    used = [pairs[place][1] for place in good]
    obs = observations(
        [row.barcode for row in used],
        [row.aliquot for row in used],
        [row.project for row in used],
        [files[place].name for place in good],
        [row.preservation for row in used],
    )
    return RnaTable(
        rna=anndata.AnnData(
            X=x[: len(good)],
            obs=obs,
            var=genes.var,
            layers={"counts": counts[: len(good)]},
        ),
        units="tpm",
        evidence=["column tpm_unstranded; every file's TPM sum to 1,000,000"],
        genes=genes.report,
        files=read,
        skipped=skipped,
        notes=_vials_note(used),
    )


def _vials_note(rows: list[SheetRow]) -> list[str]:
    """Says so where one of several vials of a sample may be FFPE and nothing tells."""
    vials: dict[str, set[str]] = {}
    for row in rows:
        if not row.preservation:
            vials.setdefault(row.barcode.sample, set()).add(row.barcode.vial)
    unclear = [sample for sample, known in vials.items() if len(known) > 1]
    text = (
        f"{len(unclear)} samples have several vials, of which some may be FFPE "
        f"({first_few(unclear)}): give a sample sheet with the column Preservation "
        "Method"
    )
    return [text] if unclear else []


def _matched(
    paths: list[Path], rows: dict[str, SheetRow]
) -> tuple[list[tuple[Path, SheetRow]], list[Note]]:
    """Files and their rows, by sample and aliquot; and what has no partner."""
    of_name: dict[str, list[Path]] = {}
    for path in paths:
        of_name.setdefault(plain_name(path.name), []).append(path)
    notes: list[Note] = []
    for name, mine in of_name.items():
        if name not in rows:
            notes.append((name, "not in the sample sheet"))
            continue
        notes += [
            (str(path), f"the same file as {mine[0]}, by its name") for path in mine[1:]
        ]
    notes += [
        (name, f"of {row.barcode.sample}: in the sample sheet, not in the folder")
        for name, row in rows.items()
        if name.endswith(ENDING) and name not in of_name
    ]
    notes += [
        (name, f"of {row.barcode.sample}: in the sample sheet, but not STAR counts")
        for name, row in rows.items()
        if not name.endswith(ENDING)
    ]

    def order(pair: tuple[Path, SheetRow]) -> tuple[str, str, str, str]:
        path, row = pair
        return row.barcode.sample, row.barcode.vial, row.aliquot, path.name

    pairs = [(mine[0], rows[name]) for name, mine in of_name.items() if name in rows]
    return sorted(pairs, key=order), notes
