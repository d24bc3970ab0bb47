"""Which genes the rows of a file are: versions off, copies added, names made unique.

    ids, symbols, types of a file's rows -> reconcile -> var table, and rows to gather

- Ensembl ids lose their version: ENSG00000141510.18 is ENSG00000141510.
- Genes of the pseudo-autosomal region occur twice, on X and on Y (`_PAR_Y`; `ENSGR` in
  GENCODE before 25). Reads cannot tell the copies apart, so their values are added,
  which changes nothing where Y was masked.
- Genes that share a symbol stay apart and are named by Ensembl id. Without Ensembl ids,
  rows of one symbol are added.
- A row that repeats another row of its gene and all its values is dropped.
- Names that a spreadsheet turned into dates are dropped: 1-Mar was MARCH1 or MARC1.
- Only protein-coding genes are kept, where the file or a gene map has types.

Adding is done on linear values only.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.expression_check import spreadsheet_names
from pathjax.data.tables import read_table
from pathjax.datasets.tcga.tables import TcgaError, first_few

ENSEMBL = re.compile(r"(ENSGR?\d{10,11})(?:\.\d+)?(_PAR_Y)?(?:\.\d+)?")
CODING = "protein_coding"
# Rows that are not genes: STAR's and HTSeq's summaries, RSEM's gene without a symbol.
SUMMARY = re.compile(r"N_(unmapped|multimapping|noFeature|ambiguous)|__\w+|\?.*|")


@dataclasses.dataclass(frozen=True)
class Genes:
    """Genes of a file, in its order.

    Attributes:
      var: A row per gene, indexed by name; columns ensembl, symbol and gene_type (""
        where unknown).
      first: `[genes]` the file's row of each gene.
      more: Pairs (gene, row) to add to it.
      report: Number of rows read, kept, added and dropped.
    """

    var: pd.DataFrame
    first: np.ndarray
    more: tuple[tuple[int, int], ...]
    report: dict[str, int]

    def gather(self, linear: np.ndarray) -> np.ndarray:
        """`[..., rows]` of a file to `[..., genes]`; copies of a gene are added."""
        out = linear[..., self.first]
        for gene, row in self.more:
            out[..., gene] += linear[..., row]
        return out


def stable_id(text: str) -> tuple[str, bool]:
    """Ensembl id without version, and whether it is the copy on Y; "" if it is none.

    >>> stable_id("ENSG00000182378.15_PAR_Y")
    ('ENSG00000182378', True)
    >>> stable_id("ENSGR0000182378.9")
    ('ENSG00000182378', True)
    """
    match = ENSEMBL.fullmatch(text)
    if match is None:
        return "", False
    stem = match[1].replace("ENSGR", "ENSG0")
    return stem, bool(match[2]) or stem != match[1]


def reconcile(
    ids: Sequence[str],
    symbols: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    *,
    gene_map: dict[str, tuple[str, str]] | None = None,
    keep_all: bool = False,
) -> Genes:
    """Decides which genes the rows are.

    Args:
      ids: Per row, an Ensembl id or a symbol.
      symbols, types: Per row, where the file has them.
      gene_map: (symbol, type) by Ensembl id without version, for files without.
      keep_all: Also keep non-coding genes.

    Raises:
      TcgaError: No gene is left.
    """
    dates = set(spreadsheet_names(ids))
    genes: dict[str, tuple[str, str, str]] = {}  # ensembl, symbol, type by key
    rows: dict[str, list[int]] = {}
    report = Counter(rows=len(ids))
    for row, text in enumerate(ids):
        if SUMMARY.fullmatch(text):
            report["no_gene"] += 1
            continue
        if text in dates:
            report["changed_by_spreadsheet"] += 1
            continue
        ensembl, on_y = stable_id(text)
        key = ensembl or text
        if key in genes:
            report["added_par_y" if on_y else "added_repeated"] += 1
        else:
            mapped = (gene_map or {}).get(ensembl, ("", ""))
            symbol = symbols[row] if symbols else mapped[0] if ensembl else text
            genes[key] = (ensembl, symbol, types[row] if types else mapped[1])
        rows.setdefault(key, []).append(row)
    var = pd.DataFrame(
        list(genes.values()), columns=["ensembl", "symbol", "gene_type"], dtype=object
    )
    keep = np.ones(len(var), bool)
    if not keep_all and (var["gene_type"] != "").any():
        keep = (var["gene_type"] == CODING).to_numpy()
        report["not_protein_coding"] = int((~keep).sum())
    if not keep.any():
        raise TcgaError(
            f"none of {len(ids)} rows is a gene to keep, first ids {list(ids[:3])}: "
            "expected Ensembl ids or symbols"
        )
    var = var[keep]
    report["kept"] = len(var)
    kept = [mine for mine, keeps in zip(rows.values(), keep, strict=True) if keeps]
    return Genes(
        var=var.set_index(_names(var)),
        first=np.array([mine[0] for mine in kept]),
        more=tuple((gene, row) for gene, mine in enumerate(kept) for row in mine[1:]),
        report=dict(report),
    )


def repeats(ids: Sequence[str], values: np.ndarray) -> tuple[list[int], list[str]]:
    """Rows that repeat a gene; those on Y are other genes' copies, see `reconcile`.

    Args:
      ids: Per row, an Ensembl id or a symbol.
      values: `[samples, rows]`; missing equals missing.

    Returns:
      The rows whose values are those of an earlier row of the gene; and the ids of genes
      with rows that differ.
    """
    dates = set(spreadsheet_names(ids))  # of several genes: 1-Mar
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(ids):
        ensembl, on_y = stable_id(text)
        if not (on_y or text in dates or SUMMARY.fullmatch(text)):
            rows.setdefault(ensembl or text, []).append(row)
    equal, differ = [], []
    for key, mine in rows.items():
        distinct = mine[:1]
        for row in mine[1:]:
            same = (values[:, row, None] == values[:, distinct]) | (
                np.isnan(values[:, row, None]) & np.isnan(values[:, distinct])
            )
            (equal if same.all(axis=0).any() else distinct).append(row)
        if len(distinct) > 1:
            differ.append(key)
    return sorted(equal), differ


def _names(var: pd.DataFrame) -> pd.Index:
    """The symbol where it is one gene's only, else the Ensembl id."""
    shared = var["symbol"].duplicated(keep=False) | (var["symbol"] == "")
    name = var["symbol"].where(~shared | (var["ensembl"] == ""), var["ensembl"])
    return pd.Index(name.to_numpy(), dtype=object)


def read_gene_map(path: str | Path) -> dict[str, tuple[str, str]]:
    """(symbol, type) by Ensembl id without version; the type is "" where not given.

    Reads Xena's probe maps (columns id, gene) and any GDC STAR-counts file (gene_id,
    gene_name, gene_type).

    Raises:
      TcgaError: It cannot be read, or lacks the columns.
    """
    path = Path(path)
    columns = ("gene_id", "id", "gene_name", "gene", "gene_type")
    try:
        table = read_table(path, columns)
    except ValueError as error:
        raise TcgaError(str(error)) from error
    names = [name for name in ("gene_id", "id") if name in table][:1]
    names += [name for name in ("gene_name", "gene") if name in table][:1]
    if len(names) < 2:
        raise TcgaError(
            f"{path.name}: expected columns gene_id (or id), gene_name (or gene) and, "
            f"if known, gene_type; got {first_few(list(table.columns), 6, ', ')}"
        )
    kinds = table["gene_type"] if "gene_type" in table else [""] * len(table)
    found: dict[str, tuple[str, str]] = {}
    for name, symbol, kind in zip(table[names[0]], table[names[1]], kinds, strict=True):
        ensembl, _ = stable_id(name)
        if ensembl:
            found.setdefault(ensembl, (symbol, kind))
    if not found:
        raise TcgaError(f"{path.name}: the column of ids has no Ensembl gene id")
    return found
