"""The expression of some samples, as every reader of RNA returns it.

    values, row names, samples -> missing ones out -> units -> genes -> RnaTable

`table_from` does this for matrices. pathjax imputes nothing: a sample that is mostly
missing or constant is skipped first, then a gene with a missing value. Reads no file.
"""

import dataclasses
from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
from jaxtyping import Float32

from pathjax.data.tcga_barcodes import Barcode
from pathjax.datasets.tcga import genes as gene_rules
from pathjax.datasets.tcga import rna_units
from pathjax.datasets.tcga.tables import TcgaError, first_few

Note = tuple[str, str]  # what was skipped, and why
MOSTLY = 0.5


def listing(skipped: Sequence[Note]) -> str:
    """The first 20, one per line."""
    return first_few([f"  - {what}: {reason}" for what, reason in skipped], 20, "\n")


@dataclasses.dataclass
class RnaTable:
    """Expression of some samples, from one file or one folder.

    Attributes:
      rna: `X` on the scale `UNITS[units].x`; layer "counts" where there are raw counts;
        `obs` from `observations`, `var` from `genes.reconcile`.
      units: The scale of the file, a key of `rna_units.UNITS`.
      evidence: Why these units.
      genes: Number of genes read, kept, summed and dropped, by reason.
      files: Name, SHA-256 and size in bytes of each file read.
      skipped: Samples and files skipped.
    """

    rna: anndata.AnnData
    units: str
    evidence: list[str]
    genes: dict[str, int]
    files: list[tuple[str, str, int]]
    skipped: list[Note]


def observations(
    barcodes: Sequence[Barcode],
    aliquots: str | Sequence[str],
    projects: str | Sequence[str],
    files: str | Sequence[str],
) -> pd.DataFrame:
    """A row per sample: case_id, sample_type, sample, aliquot, project, site, file.

    Unknown values are "". Rows are numbered; see `named`.
    """
    return pd.DataFrame(
        {
            "case_id": [barcode.patient for barcode in barcodes],
            "sample_type": [barcode.sample_type for barcode in barcodes],
            "sample": [barcode.sample + barcode.vial for barcode in barcodes],
            "aliquot": aliquots,
            "project": projects,
            "site": [barcode.site for barcode in barcodes],
            "file": files,
        },
        index=[str(row) for row in range(len(barcodes))],
        dtype=object,
    )


def named(obs: pd.DataFrame) -> pd.DataFrame:
    """Indexes rows by sample barcode, uniquely.

    Rows of a sample that occurs several times are named by aliquot, and if those are
    equal too, numbered in the order of the rows.
    """
    name = obs["sample"].copy()
    repeated = name.duplicated(keep=False) & (obs["aliquot"] != "")
    name[repeated] = obs["aliquot"][repeated]
    repeated = name.duplicated(keep=False)
    number = (name.groupby(name).cumcount() + 1).astype(str)
    name[repeated] = name[repeated] + "#" + number[repeated]
    return obs.set_index(pd.Index(name.to_numpy(), dtype=object))


def table_from(
    values: Float32[np.ndarray, "n rows"],
    ids: Sequence[str],
    obs: pd.DataFrame,
    *,
    name: str,
    units: str | None,
    gene_map: dict[str, tuple[str, str]] | None,
    keep_all: bool,
    files: list[tuple[str, str, int]],
    skipped: list[Note],
) -> RnaTable:
    """A table of what can be used.

    Args:
      values: Samples by the file's rows; NaN where missing.
      ids: Of the rows, Ensembl ids or symbols.
      obs: From `observations`, a row per sample.
      name: The file's, for evidence and messages.
      units: A key of `rna_units.UNITS`; None to determine them.
      gene_map, keep_all: See `genes.reconcile`.
      files, skipped: Passed on.

    Raises:
      TcgaError: No sample or gene is left, a value is infinite, the units are unknown
        or contradict the values, or genes cannot be made unique.
    """
    if np.isinf(values).any():
        row = int(np.argwhere(np.isinf(values).any(axis=0))[0, 0])
        raise TcgaError(f"{name}: {ids[row]} has an infinite value: correct the file")
    # Rows that are not genes would count as expression in a sample's sum.
    is_gene = np.array([not gene_rules.SUMMARY.fullmatch(one) for one in ids], bool)
    dropped = {"no_gene": int((~is_gene).sum())}
    values = values if is_gene.all() else values[:, is_gene]
    faults = _unusable_samples(values, obs["sample"])
    if faults:
        good = [row for row in range(len(values)) if row not in faults]
        values, obs = values[good], obs.iloc[good]
    complete = ~np.isnan(values).any(axis=0)
    dropped["missing_values"] = int((~complete).sum())
    values = values if complete.all() else values[:, complete]
    skipped = [*skipped, *faults.values()]
    if not values.size:
        reason = f", first: {': '.join(skipped[-len(faults)])}" if faults else ""
        raise TcgaError(f"{name} has no sample with values for its genes{reason}")

    evidence = ["given by the user"]
    if units is None:
        units, evidence = rna_units.recognise(values, name)
    if fault := rna_units.contradiction(units, values):
        raise TcgaError(
            f"{name} is not in {rna_units.UNITS[units].title}: {fault}. Evidence: "
            f"{'; '.join(evidence)}"
        )
    kept = np.flatnonzero(is_gene)[complete]
    genes = gene_rules.reconcile(
        [ids[row] for row in kept], gene_map=gene_map, keep_all=keep_all
    )
    try:
        x, counts = rna_units.convert(units, values, genes)
    except TcgaError as error:
        raise TcgaError(f"{name}: {error}") from error
    layers = None if counts is None else {"counts": counts}
    report = genes.report | {key: n for key, n in dropped.items() if n}
    return RnaTable(
        rna=anndata.AnnData(X=x, obs=obs, var=genes.var, layers=layers),
        units=units,
        evidence=[f"{name}: {one}" for one in evidence],
        genes=report | {"rows": len(ids)},
        files=files,
        skipped=skipped,
    )


def _unusable_samples(values: np.ndarray, names: pd.Series) -> dict[int, Note]:
    """Rows that are mostly missing or constant, and why."""
    absent = np.isnan(values).mean(axis=1)
    # fmin and fmax ignore NaN, unless a sample has nothing else.
    flat = np.fmin.reduce(values, axis=1) == np.fmax.reduce(values, axis=1)
    return {
        int(row): (
            names.iloc[row],
            f"{absent[row]:.0%} of its values are missing"
            if absent[row] > MOSTLY
            else "constant",
        )
        for row in np.flatnonzero((absent > MOSTLY) | flat)
    }
