"""Values as a matrix file has them become a table: cleaned, recognised, converted.

    values, row names, samples -> missing ones out -> units -> genes -> RnaTable

Shared by the readers of matrices. A sample that is mostly missing, or the same value
throughout, is left out; then a gene with a missing value is, for pathjax fills nothing
in. Reads no file.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float32

from pathjax.datasets.tcga import genes as gene_rules
from pathjax.datasets.tcga import rna_units
from pathjax.datasets.tcga.rna_table import Note, RnaTable
from pathjax.datasets.tcga.tables import TcgaError

MOSTLY = 0.5


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
      values: samples by the file's rows; NaN where missing.
      ids: of the rows, Ensembl ids or symbols.
      obs: from `observations`, a row per sample.
      name: the file's, for evidence and messages.
      units: a key of `rna_units.UNITS`; None to find out.
      gene_map, keep_all: see `genes.reconcile`.
      files, skipped: handed on.

    Raises:
      TcgaError: no sample or gene is left, a value is infinite, the units cannot be told
        or contradict the values, or genes cannot be made unique.
    """
    if np.isinf(values).any():
        row = int(np.argwhere(np.isinf(values).any(axis=0))[0, 0])
        raise TcgaError(f"{name}: {ids[row]} has an infinite value: mend the file")
    # Rows that are no genes would count as expression in a sample's sum.
    is_gene = [not gene_rules.SUMMARY.fullmatch(one) for one in ids]
    dropped = {"no_gene": is_gene.count(False)}
    if dropped["no_gene"]:
        values = values[:, np.array(is_gene)]
        ids = [one for one, is_one in zip(ids, is_gene, strict=True) if is_one]
    values, obs, faults = _usable_samples(values, obs)
    missing = np.isnan(values).any(axis=0)
    dropped["missing_values"] = int(missing.sum())
    if missing.any():
        values = values[:, ~missing]
        ids = [one for one, out in zip(ids, missing, strict=True) if not out]
    if not values.size:
        reason = f", first: {faults[0][0]}: {faults[0][1]}" if faults else ""
        raise TcgaError(f"{name} has no sample with values for its genes{reason}")

    evidence = ["given by the user"]
    if units is None:
        units, evidence = rna_units.recognise(values, name)
    if fault := rna_units.contradiction(units, values):
        raise TcgaError(
            f"{name} is not in {rna_units.UNITS[units].title}: {fault}. Evidence: "
            f"{'; '.join(evidence)}"
        )
    genes = gene_rules.reconcile(ids, gene_map=gene_map, keep_all=keep_all)
    try:
        x, counts = rna_units.convert(units, values, genes)
    except TcgaError as error:
        raise TcgaError(f"{name}: {error}") from error
    report = genes.report | {key: n for key, n in dropped.items() if n}
    report["rows"] = len(missing) + dropped["no_gene"]
    return RnaTable(
        x=x,
        counts=counts,
        obs=obs,
        var=genes.var,
        units=units,
        x_units=rna_units.UNITS[units].x,
        evidence=[f"{name}: {one}" for one in evidence],
        genes=report,
        files=files,
        skipped=[*skipped, *faults],
    )


def _usable_samples(
    values: np.ndarray, obs: pd.DataFrame
) -> tuple[np.ndarray, pd.DataFrame, list[Note]]:
    absent = np.isnan(values).mean(axis=1)
    # fmin and fmax pass over NaN, and say NaN only of a sample that has nothing else.
    flat = np.fmin.reduce(values, axis=1) == np.fmax.reduce(values, axis=1)
    faults = [
        (
            one,
            f"{share:.0%} of its values are missing" if share > MOSTLY else "constant",
        )
        for one, share, same in zip(obs["sample"], absent, flat, strict=True)
        if share > MOSTLY or same
    ]
    if not faults:
        return values, obs, []
    good = ~((absent > MOSTLY) | flat)
    return values[good], obs[good].reset_index(drop=True), faults
