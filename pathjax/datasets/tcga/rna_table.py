"""The expression of some samples, as every reader of RNA returns it.

    values, row names, samples -> missing ones out -> units -> genes -> RnaTable

`table_from` does this for matrices. pathjax imputes nothing: a sample that is mostly
missing or constant is skipped first, then a gene with a missing value. Reads no file.
"""

import collections
import dataclasses
from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
from jaxtyping import Float32

from pathjax.data.expression_check import spreadsheet_names
from pathjax.data.tcga_barcodes import Barcode
from pathjax.datasets.tcga import genes as gene_rules
from pathjax.datasets.tcga import rna_units
from pathjax.datasets.tcga.tables import TcgaError, first_few

Note = tuple[str, str]  # what was skipped, and why
MOSTLY = 0.5
FFPE = "FFPE; left out unless --ffpe is given"


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
      skipped: Samples, genes and files skipped.
      notes: What else to know.
    """

    rna: anndata.AnnData
    units: str
    evidence: list[str]
    genes: dict[str, int]
    files: list[tuple[str, str, int]]
    skipped: list[Note]
    notes: list[str] = dataclasses.field(default_factory=list)


def is_ffpe(barcode: Barcode, preservation: str = "") -> bool:
    """Whether a sample is formalin-fixed: by the GDC's word, or else by vial Z."""
    if preservation:
        return "FFPE" in preservation.upper()
    return barcode.vial == "Z"


def observations(
    barcodes: Sequence[Barcode],
    aliquots: str | Sequence[str],
    projects: str | Sequence[str],
    files: str | Sequence[str],
    preservation: str | Sequence[str] = "",
) -> pd.DataFrame:
    """A row per sample: these and case_id, sample_type, sample and site.

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
            "preservation": preservation,
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
    keep = np.array([not gene_rules.SUMMARY.fullmatch(one) for one in ids], bool)
    dropped = {"no_gene": int((~keep).sum())}
    equal, differ = gene_rules.repeats(ids, values)
    keep[equal] = False
    dropped["repeated_equal"] = len(equal)
    values = values if keep.all() else values[:, keep]
    faults = _unusable_samples(values, obs["sample"]) if values.size else {}
    if faults:
        good = [row for row in range(len(values)) if row not in faults]
        values, obs = values[good], obs.iloc[good]
    complete = ~np.isnan(values).any(axis=0)
    dropped["missing_values"] = int((~complete).sum())
    values = values if complete.all() else values[:, complete]
    unusable = list(faults.values())
    if not values.size:
        reason = f", first: {': '.join(unusable[0])}" if faults else ""
        raise TcgaError(f"{name} has no sample with values for its genes{reason}")

    evidence = ["given by the user"]
    if units is None:
        units, evidence = rna_units.recognise(values, name)
    if fault := rna_units.contradiction(units, values):
        raise TcgaError(
            f"{name} is not in {rna_units.UNITS[units].title}: {fault}. Evidence: "
            f"{'; '.join(evidence)}"
        )
    kept = [ids[row] for row in np.flatnonzero(keep)[complete]]
    genes = gene_rules.reconcile(kept, gene_map=gene_map, keep_all=keep_all)
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
        skipped=[*skipped, *unusable, *_spreadsheet_notes(kept, name)],
        notes=_repeat_notes([ids[row] for row in equal], differ, name),
    )


def _spreadsheet_notes(ids: Sequence[str], name: str) -> list[Note]:
    rows = collections.Counter(spreadsheet_names(ids))
    return [
        (
            f"gene {text}",
            f"{name}: a spreadsheet changed the name of {count} rows; restore it",
        )
        for text, count in rows.items()
    ]


def _repeat_notes(equal: list[str], differ: list[str], name: str) -> list[str]:
    notes = []
    if equal:
        notes.append(
            f"{name}: {len(equal)} rows repeat a gene and its values and were dropped: "
            + first_few(equal)
        )
    if differ:
        notes.append(
            f"{name}: {len(differ)} genes have several rows with different values, "
            f"which were added: {first_few(differ)}"
        )
    return notes


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
