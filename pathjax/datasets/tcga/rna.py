"""TCGA bulk RNA, from whichever files a user has, as one AnnData with its history.

    folder or file -> kind by content -> reader -> joined by gene -> AnnData -> .h5ad

Three kinds are known: GDC STAR-counts folders (`rna_star.py`), Xena matrices
(`rna_xena.py`), tables of z-scores per slide (`rna_porpoise.py`). Which samples pair
with which slides is `pairing.py`'s to decide: all aliquots are kept.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

import pathjax
from pathjax.datasets.tcga.genes import read_gene_map
from pathjax.datasets.tcga.rna_porpoise import has_expression, read_cases
from pathjax.datasets.tcga.rna_star import find_star_files, read_star
from pathjax.datasets.tcga.rna_table import Note, RnaTable, named
from pathjax.datasets.tcga.rna_units import UNITS
from pathjax.datasets.tcga.rna_xena import read_matrix
from pathjax.datasets.tcga.tables import TcgaError, header_of, opened
from pathjax.files import atomic_path

GENE_RULES = (
    "Ensembl ids without version; copies of the pseudo-autosomal region on Y added to "
    "those on X; rows of one symbol without Ensembl id added; names are symbols where "
    "one gene only has it, else Ensembl ids"
)
NOT_FILTERED = "gene types are not known: no filter for protein-coding genes"


def read_rna(
    source: str | Path,
    *,
    sample_sheet: str | Path | Sequence[str | Path] = (),
    gene_map: str | Path | None = None,
    units: str | None = None,
    keep_all_genes: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> anndata.AnnData:
    """Reads the RNA of TCGA samples.

    Args:
      source: a folder of GDC STAR counts, or a Xena matrix, or a PORPOISE table, or a
        folder of either of the last two. Files of a folder are joined by the genes that
        all have.
      sample_sheet: for STAR counts, GDC's sample sheets or cart metadata; those in
        `source` if left.
      gene_map: for matrices of Ensembl ids, symbols and types (`genes.read_gene_map`).
      units: for matrices, the scale (a key of `rna_units.UNITS`) where it cannot be
        told; mean-normalised values are taken only when asked for.
      keep_all_genes: also genes that code for no protein.
      strict: refuse when anything had to be left out.
      progress: called with (files done, files in all).

    Returns:
      AnnData, a row per sample. `X` float32 dense, on the scale in
      `uns["pathjax"]["x"]`: log2(TPM+1) for STAR counts and TPM. `layers["counts"]`
      int32 where there are raw counts. `obs`, by sample barcode (by aliquot or number
      where that repeats): case_id, sample_type, sample, aliquot, project, site, file.
      `var`, by symbol or Ensembl id: ensembl, symbol, gene_type. `uns["pathjax"]`: how
      `X` was made, units found and the evidence, genes by fate, files, skipped.

    Raises:
      TcgaError: nothing can be used, units cannot be told, files do not go together, or
        something was left out and `strict` is set.
    """
    source = Path(source)
    if units is not None and units not in UNITS:
        raise TcgaError(
            f"units {units!r} are not known, expected one of {', '.join(UNITS)}"
        )
    if not source.exists():
        raise TcgaError(f"{source} does not exist")
    if isinstance(sample_sheet, str | Path):
        sample_sheet = [sample_sheet]
    if source.is_dir() and find_star_files(source):
        if units is not None:
            raise TcgaError("STAR counts have known units: leave --units out")
        table = read_star(
            source,
            sheets=[Path(one) for one in sample_sheet],
            keep_all=keep_all_genes,
            progress=progress,
        )
    else:
        mapped = None if gene_map is None else read_gene_map(gene_map)
        tables, skipped = _read_files(source, units, mapped, keep_all_genes, progress)
        table = _joined(tables)
        table.skipped = skipped + table.skipped
    if strict and table.skipped:
        raise TcgaError(
            f"{len(table.skipped)} samples or files of {source} cannot be used:\n"
            + _listing(table.skipped)
        )
    return _anndata(table)


def write_rna(rna: anndata.AnnData, out: str | Path) -> None:
    """Saves to `.h5ad`, whole or not at all."""
    out = Path(out)
    if out.suffix != ".h5ad":
        raise TcgaError(f"{out} should end in .h5ad")
    with atomic_path(out) as partial:
        rna.write_h5ad(partial, compression="gzip")


def skipped_of(rna: anndata.AnnData) -> list[dict[str, str]]:
    """What was left out, as dictionaries of `what` and `reason`."""
    return rna.uns["pathjax"]["skipped"].to_dict("records")


def _listing(skipped: list[Note]) -> str:
    lines = [f"  - {what}: {reason}" for what, reason in skipped[:20]]
    if len(skipped) > 20:
        lines.append(f"  ... and {len(skipped) - 20} more")
    return "\n".join(lines)


def _reader(path: Path) -> Callable[..., RnaTable]:
    """The reader of a file, by its first line.

    Raises:
      TcgaError: none reads it.
    """
    with opened(path) as file:
        line = file.readline()
    if b"\t" in line:
        return read_matrix
    if has_expression(header_of(line, path, ",")):
        return read_cases
    raise TcgaError(
        f"{path.name} is neither a tab-separated matrix of genes by samples nor a CSV "
        "with <GENE>_rnaseq columns"
    )


def _read_files(
    source: Path,
    units: str | None,
    gene_map: dict[str, tuple[str, str]] | None,
    keep_all: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[RnaTable], list[Note]]:
    files = [source]
    if source.is_dir():
        files = sorted(
            one
            for one in source.iterdir()
            if one.is_file() and not one.name.startswith(".")
        )
    tables: list[RnaTable] = []
    skipped: list[Note] = []
    for done, path in enumerate(files, start=1):
        try:
            table = _reader(path)(
                path, units=units, gene_map=gene_map, keep_all=keep_all
            )
            if table.units == "mean-normalised" and units is None:
                raise TcgaError(
                    f"{path.name} is mean-normalised ({'; '.join(table.evidence)}): "
                    "levels between genes are gone. Use the matrix before that step "
                    "(HiSeqV2), or ask for it with --units mean-normalised"
                )
        except TcgaError as error:
            skipped.append((path.name, str(error)))
        else:
            tables.append(table)
        if progress:
            progress(done, len(files))
    if not tables:
        raise TcgaError(
            f"{source} has no RNA that can be used:\n" + _listing(skipped)
            if skipped
            else f"{source} holds no file"
        )
    return tables, skipped


def _joined(tables: list[RnaTable]) -> RnaTable:
    """One table of all samples and the genes that every table has.

    Raises:
      TcgaError: scales differ, or no gene is common.
    """
    scales = {table.x_units: table.files[0][0] for table in tables}
    if len(scales) > 1:
        raise TcgaError(
            "files of different scales cannot be joined: "
            + ", ".join(f"{name} is in {scale}" for scale, name in scales.items())
        )
    if len(tables) == 1:
        return tables[0]
    names = tables[0].var.index
    for table in tables[1:]:
        names = names[names.isin(table.var.index)]
    if names.empty:
        raise TcgaError(
            "no gene is common to all files: "
            + ", ".join(
                f"{table.files[0][0]} has {table.var.index[0]}" for table in tables
            )
        )
    genes: dict[str, int] = {}
    for table in tables:
        for key, value in table.genes.items():
            genes[key] = max(value, genes.get(key, 0))
    union = len(set().union(*(table.var.index for table in tables)))
    genes |= {"kept": len(names), "not_in_all_files": union - len(names)}
    places = [table.var.index.get_indexer(names) for table in tables]
    counted = all(table.counts is not None for table in tables)
    return RnaTable(
        x=np.concatenate(
            [table.x[:, place] for table, place in zip(tables, places, strict=True)]
        ),
        counts=np.concatenate(
            [
                table.counts[:, place]
                for table, place in zip(tables, places, strict=True)
            ]
        )
        if counted
        else None,
        obs=pd.concat([table.obs for table in tables], ignore_index=True),
        var=tables[0].var.loc[names],
        units=tables[0].units,
        x_units=tables[0].x_units,
        evidence=[one for table in tables for one in table.evidence],
        genes=genes,
        files=[one for table in tables for one in table.files],
        skipped=[one for table in tables for one in table.skipped],
    )


def _anndata(table: RnaTable) -> anndata.AnnData:
    notes = []
    if not (table.var["gene_type"] != "").any():
        notes.append(NOT_FILTERED)
    history = {
        "x": table.x_units,
        "units": UNITS[table.units].title,
        "evidence": table.evidence,
        "genes": table.genes,
        "gene_rules": GENE_RULES,
        "notes": notes,
        "files": pd.DataFrame(table.files, columns=["name", "sha256", "bytes"]),
        "skipped": pd.DataFrame(
            table.skipped, columns=["what", "reason"], dtype=object
        ),
        "version": pathjax.__version__,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    if table.units == "z-score":
        history["z_scored_within"] = "cohort"
    # Row numbers as text, as AnnData wants them.
    for name in ("files", "skipped"):
        history[name].index = history[name].index.astype(str)
    return anndata.AnnData(
        X=table.x,
        obs=named(table.obs),
        var=table.var,
        layers=None if table.counts is None else {"counts": table.counts},
        uns={"pathjax": history},
    )
