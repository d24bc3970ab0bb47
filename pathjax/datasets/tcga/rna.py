"""TCGA bulk RNA, from whichever files a user has, as one AnnData with its history.

    folder or file -> kind by content -> reader -> joined by gene -> AnnData -> .h5ad

Three kinds are known: GDC STAR-counts folders (`rna_star.py`), Xena matrices and tables
of z-scores per slide (`rna_matrix.py`). All aliquots are kept: `pairing.py` decides
which samples pair with which slides.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata
import pandas as pd

import pathjax
from pathjax.datasets.dataset import Progress
from pathjax.datasets.tcga.genes import read_gene_map
from pathjax.datasets.tcga.rna_matrix import read_matrix
from pathjax.datasets.tcga.rna_star import find_star_files, read_star
from pathjax.datasets.tcga.rna_table import FFPE, Note, RnaTable, listing, named
from pathjax.datasets.tcga.rna_units import UNITS
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.files import atomic_path, command_line

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
    ffpe: bool = False,
    strict: bool = False,
    progress: Progress = lambda done, total: None,
) -> anndata.AnnData:
    """Reads the RNA of TCGA samples.

    Args:
      source: Folder of GDC STAR counts, or a Xena matrix, or a PORPOISE table, or a
        folder of either of the last two. Files of a folder are joined by the genes that
        all have.
      sample_sheet: For STAR counts, GDC's sample sheets or cart metadata; default: those
        in `source`.
      gene_map: For matrices of Ensembl ids, symbols and types (`genes.read_gene_map`).
      units: For matrices, the scale (a key of `rna_units.UNITS`) where it cannot be
        determined; mean-normalised values are read only with this.
      keep_all_genes: Also keep non-coding genes.
      ffpe: Also read formalin-fixed samples (by the sheet's Preservation Method, or
        vial Z); their RNA is degraded.
      strict: Fail when anything has to be skipped, other than FFPE samples.
      progress: Called with (files done, total number of files).

    Returns:
      AnnData, a row per sample. `X` float32 dense, on the scale in
      `uns["pathjax"]["x"]`: log2(TPM+1) for STAR counts and TPM. `layers["counts"]`
      int32 where there are raw counts. `obs`, by sample barcode (by aliquot or number
      where that repeats): case_id, sample_type, sample, aliquot, project, site, file,
      preservation.
      `var`, by symbol or Ensembl id: ensembl, symbol, gene_type. `uns["pathjax"]`: how
      `X` was made, units and the evidence, numbers of genes, files, skipped.

    Raises:
      TcgaError: Nothing can be used, units are unknown, files do not fit together, or
        something was skipped and `strict` is set.
    """
    source = Path(source)
    if units is not None and units not in UNITS:
        raise TcgaError(f"units: expected one of {', '.join(UNITS)}; got {units!r}")
    if not source.exists():
        raise TcgaError(f"{source} does not exist")
    if isinstance(sample_sheet, str | Path):
        sample_sheet = [sample_sheet]
    if source.is_dir() and find_star_files(source):
        if units is not None:
            raise TcgaError("STAR counts have known units: leave --units out")
        sheets = [Path(one) for one in sample_sheet]
        table = read_star(
            source, sheets=sheets, keep_all=keep_all_genes, ffpe=ffpe, progress=progress
        )
    else:
        mapped = None if gene_map is None else read_gene_map(gene_map)
        if sample_sheet:
            raise TcgaError("--sample-sheet is for STAR counts: leave it out")
        options = {"gene_map": mapped, "keep_all": keep_all_genes, "ffpe": ffpe}
        tables, skipped = _read_files(source, units, options, progress)
        table = _joined(tables)
        table.skipped = skipped + table.skipped
    faults = [note for note in table.skipped if note[1] != FFPE]
    if strict and faults:
        raise TcgaError(
            f"{len(faults)} samples, genes or files of {source} cannot be used:\n"
            + listing(faults)
        )
    return _with_history(table)


def write_rna(rna: anndata.AnnData, out: str | Path) -> None:
    """Saves to `.h5ad`, whole or not at all."""
    out = Path(out)
    if out.suffix != ".h5ad":
        raise TcgaError(f"{out}: expected a name that ends in .h5ad")
    with atomic_path(out) as partial:
        rna.write_h5ad(partial, compression="gzip")


def skipped_of(rna: anndata.AnnData) -> list[dict[str, str]]:
    """What was skipped, as dictionaries of `what` and `reason`."""
    return rna.uns["pathjax"]["skipped"].to_dict("records")


def _read_files(
    source: Path,
    units: str | None,
    options: dict[str, Any],
    progress: Progress,
) -> tuple[list[RnaTable], list[Note]]:
    files = [source]
    if source.is_dir():
        entries = sorted(source.iterdir())
        files = [e for e in entries if e.is_file() and not e.name.startswith(".")]
    tables: list[RnaTable] = []
    skipped: list[Note] = []
    for done, path in enumerate(files, start=1):
        try:
            table = read_matrix(path, units=units, **options)
            if table.units == "mean-normalised" and units is None:
                raise TcgaError(
                    f"{path.name} is mean-normalised ({'; '.join(table.evidence)}): "
                    "levels between genes are lost. Use the matrix before that step "
                    "(HiSeqV2), or pass --units mean-normalised"
                )
            tables.append(table)
        except TcgaError as error:
            skipped.append((path.name, str(error)))
        progress(done, len(files))
    if not files:
        raise TcgaError(f"{source} holds no file")
    if not tables:
        raise TcgaError(f"{source} has no RNA that can be used:\n{listing(skipped)}")
    return tables, skipped


def _joined(tables: list[RnaTable]) -> RnaTable:
    """One table of all samples and the genes that every table has."""
    first = tables[0]
    scales = {UNITS[table.units].x: table.files[0][0] for table in tables}
    if len(scales) > 1:
        listed = [f"{name} is in {scale}" for scale, name in scales.items()]
        raise TcgaError(
            f"files of different scales cannot be joined: {', '.join(listed)}"
        )
    if len(tables) == 1:
        return first
    parts = {table.files[0][0]: table.rna for table in tables}
    rna = anndata.concat(parts, index_unique="#", merge="first")
    if not rna.n_vars:
        listed = [f"{name} has {part.var_names[0]}" for name, part in parts.items()]
        raise TcgaError(f"no gene is common to all files: {', '.join(listed)}")
    reports = [table.genes for table in tables]
    union = set().union(*(part.var_names for part in parts.values()))
    return RnaTable(
        rna=rna,
        units=first.units,
        evidence=[one for table in tables for one in table.evidence],
        genes={
            **{key: max(r.get(key, 0) for r in reports) for r in reports for key in r},
            "kept": rna.n_vars,
            "not_in_all_files": len(union) - rna.n_vars,
        },
        files=[one for table in tables for one in table.files],
        skipped=[one for table in tables for one in table.skipped],
        notes=[one for table in tables for one in table.notes],
    )


def _with_history(table: RnaTable) -> anndata.AnnData:
    rna = table.rna
    notes = list(table.notes)
    if not (rna.var["gene_type"] != "").any():
        notes.append(NOT_FILTERED)
    fixed = sum(reason == FFPE for _, reason in table.skipped)
    if fixed:
        notes.append(f"{fixed} FFPE samples were left out; --ffpe reads them too")
    history = {
        "x": UNITS[table.units].x,
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
        "command": command_line(),
    }
    if table.units == "z-score":
        history["z_scored_within"] = "cohort"
    for name in ("files", "skipped"):  # AnnData requires text as index
        history[name].index = history[name].index.astype(str)
    rna.obs = named(rna.obs)
    rna.uns["pathjax"] = history
    return rna
