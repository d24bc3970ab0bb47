"""The expression of several samples as one table: gene ids, species, joins, the scale.

- Ensembl ids lose their version; a gene without one takes that of the only gene with its
  symbol in the other samples, so that files with and without ids join.
- Rows of a sample that are one gene are added: repeated symbols without ids, and the
  copies of the pseudo-autosomal region. Genes that share a symbol and differ in Ensembl
  id stay apart, and are named by it.
- Human and mouse genes are never joined.
- "inner" keeps the genes that every sample measured. "outer" keeps all, and records which
  sample measured which (data/measured.py).

Images, positions and labels are not looked at.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.expression_check import spreadsheet_names
from pathjax.data.measured import state
from pathjax.data.normalisation import UNITS, normalised, totals
from pathjax.datasets.spatial.sample import SPECIES, SpatialError

ENSEMBL = re.compile(r"(ENS[A-Z]*G)(\d{11}|R\d{10})(?:\.\d+)?(?:_PAR_Y)?")
JOINS = ("inner", "outer")
# Set in `uns` of a sample whose file lists only genes that were seen in it, as those of
# Stahl's ST do: a gene that another such file lists had no counts there.
SEEN_ONLY = "lists_seen_genes_only"


def stable_id(text: str) -> str:
    """The Ensembl gene id without version, of any species; "" if it is none.

    >>> stable_id("ENSMUSG00000051951.6")
    'ENSMUSG00000051951'
    >>> stable_id("GAPDH")
    ''
    """
    match = ENSEMBL.fullmatch(text)
    # ENSGR: the copy on Y in GENCODE before 25.
    return match[1] + match[2].replace("R", "0") if match else ""


def species_of(genes: pd.DataFrame, name: str) -> str | None:
    """ "human", "mouse" or another species' prefix; None if the names do not tell.

    By the prefix of Ensembl ids, or else by case: human symbols are in capitals (TP53),
    mouse symbols are not (Trp53).

    Raises:
      SpatialError: Of two species.
    """
    prefixes = genes["gene_id"].str.extract(r"^(ENS[A-Z]*G)", expand=False).dropna()
    counts = prefixes.map(lambda one: SPECIES.get(one, one)).value_counts()
    if len(counts) > 1:
        said = " and ".join(f"{number} {one}" for one, number in counts.items())
        raise SpatialError(
            f"sample {name} has genes of two species, {said}: keep those of one (the "
            "host's or the graft's), then read it again"
        )
    if len(counts):
        return str(counts.index[0])
    words = genes["symbol"][genes["symbol"].str.contains(r"^[A-Za-z]{2}", regex=True)]
    if len(words) < 10:
        return None
    upper = (words == words.str.upper()).mean()
    return "human" if upper > 0.9 else "mouse" if upper < 0.1 else None


def join(
    samples: Mapping[str, anndata.AnnData],
    how: str = "inner",
    normalise: str = "log1p_cp10k",
    organisms: Mapping[str, str | None] | None = None,
) -> tuple[anndata.AnnData, list[tuple[str, str]]]:
    """One AnnData of all samples, in their order, and what was left out of it.

    Args:
      samples: Name to raw counts, with `var["gene_id"]` and `var["symbol"]`.
      how: "inner" or "outer".
      normalise: A key of normalisation.UNITS.
      organisms: Species by sample, where metadata tell.

    Returns:
      AnnData with `X`, `layers["counts"]` (CSR float32), obs_names NAME_BARCODE, and in
      var `ensembl` and `symbol`, without spots that have no value on the scale; and
      pairs (what, reason).

    Raises:
      SpatialError: Two species, an unknown option, or no common gene.
    """
    if how not in JOINS:
        raise SpatialError(f"--genes-join: expected inner or outer, got {how!r}")
    tables = {
        name: sample.var[["gene_id", "symbol"]].astype(str)
        for name, sample in samples.items()
    }
    _require_one_species(tables, organisms or {})
    keys, notes = _keys(tables)
    listed = {name: set(mine.dropna()) for name, mine in keys.items()}
    seen = [name for name, one in samples.items() if one.uns.get(SEEN_ONLY)]
    together = set().union(*(listed[name] for name in seen))
    has = {name: together if name in seen else listed[name] for name in samples}
    order = dict.fromkeys(key for mine in keys.values() for key in mine.dropna())
    if how == "inner":
        common = set.intersection(*has.values())
        order = dict.fromkeys(key for key in order if key in common)
        notes += _left_out(has, common)
    if not order:
        first = ", ".join(f"{name} {len(own)}" for name, own in list(has.items())[:4])
        raise SpatialError(
            f"no gene is in all samples ({first} genes): are some named by symbol and "
            "others by Ensembl id? Give the ids, or use --genes-join outer"
        )
    place = {key: i for i, key in enumerate(order)}
    counts = [_placed(one, keys[name], place) for name, one in samples.items()]
    panels: dict[frozenset[str], str] = {}
    panel, spots = [], []
    for name, one in samples.items():
        panel += [panels.setdefault(frozenset(has[name]), name)] * one.n_obs
        spots += [f"{name}_{code}" for code in one.obs_names]
    known = pd.DataFrame(
        {name: [key in own for key in order] for own, name in panels.items()}
    )
    joined = scipy.sparse.vstack(counts, format="csr", dtype=np.float32)
    var = _var(tables, keys, order)
    known.index = var.index
    shared = known.to_numpy().all(axis=1)
    expression = anndata.AnnData(
        X=normalised(joined, normalise, shared),
        obs=pd.DataFrame(index=pd.Index(spots, dtype=object)),
        var=var,
        layers={"counts": joined},
        uns={"pathjax": {"x": UNITS[normalise], "genes": f"{how} join of samples"}},
    )
    state(expression, known, panel)
    total = totals(joined, normalise, shared)
    if total is not None and not total.all():
        # They have no value on this scale, and 0 would be one.
        expression = expression[total > 0].copy()
        what = f"expression of {int((total == 0).sum())} spots"
        notes.append((what, "no counts of the genes whose total X is divided by"))
    return expression, notes


def _require_one_species(tables, organisms: Mapping[str, str | None]) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for name, table in tables.items():
        by_genes, stated = species_of(table, name), organisms.get(name)
        if by_genes and stated and by_genes != stated.lower():
            raise SpatialError(
                f"sample {name} is {stated} by its metadata and {by_genes} by its "
                "genes: correct the one that is wrong"
            )
        species = by_genes or (stated or "").lower()
        if species:
            found[species].append(name)
    if len(found) > 1:
        said = "; ".join(
            f"{one}: {', '.join(names[:3])}" for one, names in found.items()
        )
        raise SpatialError(
            f"samples are of {len(found)} species ({said}): genes of different species "
            "are not one gene, build a study for each"
        )


def _keys(tables) -> tuple[dict[str, pd.Series], list[tuple[str, str]]]:
    """The gene of each row, NaN where it is none, and notes."""
    ids_of: dict[str, set[str]] = defaultdict(set)
    for table in tables.values():
        named = table[(table["gene_id"] != "") & (table["symbol"] != "")]
        for symbol, gene_id in zip(named["symbol"], named["gene_id"], strict=True):
            ids_of[symbol].add(gene_id)
    keys, notes = {}, []
    for name, table in tables.items():
        dates = set(spreadsheet_names(table["symbol"][table["gene_id"] == ""]))
        mine, dropped = [], []
        for gene_id, symbol in zip(table["gene_id"], table["symbol"], strict=True):
            options = ids_of.get(symbol, set())
            if gene_id:
                mine.append(gene_id)
            elif not symbol or symbol in dates or len(options) > 1:
                dropped.append(symbol or "(no name)")
                mine.append(None)
            else:
                mine.append(next(iter(options), symbol))
        keys[name] = pd.Series(mine, dtype=object)
        if dropped:
            reason = "changed by a spreadsheet, or a symbol of several Ensembl ids in "
            reason += f"the other samples, first {dropped[:3]}"
            notes.append((f"{len(dropped)} genes of {name}", reason))
    return keys, notes


def _placed(sample: anndata.AnnData, keys: pd.Series, place: Mapping[str, int]):
    """Counts with columns in the joined order; rows of one gene are added."""
    rows = np.flatnonzero(keys.isin(place).to_numpy())
    columns = keys.iloc[rows].map(place).to_numpy(np.int64)
    to = scipy.sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns)), (len(keys), len(place))
    )
    return scipy.sparse.csr_matrix(sample.X, dtype=np.float32) @ to


def _left_out(has: Mapping[str, set[str]], common: set[str]) -> list[tuple[str, str]]:
    union = set().union(*has.values())
    if len(union) == len(common):
        return []
    least = min(has, key=lambda name: len(has[name]))
    reason = (
        f"not in all samples, of which {least} has the fewest ({len(has[least])}); "
        "--genes-join outer keeps them"
    )
    return [(f"{len(union) - len(common)} of {len(union)} genes", reason)]


def _var(tables, keys, order) -> pd.DataFrame:
    """Names, Ensembl ids and symbols: a symbol names a gene that has it alone."""
    symbols: dict[str, str] = {}
    for name, table in tables.items():
        for key, symbol in zip(keys[name], table["symbol"], strict=True):
            if key is not None and symbol:
                symbols.setdefault(key, symbol)
    ensembl = pd.Series([stable_id(key) for key in order], dtype=object)
    symbol = pd.Series([symbols.get(key, "") for key in order], dtype=object)
    shared = symbol.duplicated(keep=False) | (symbol == "")
    names = symbol.where(~shared | (ensembl == ""), ensembl)
    return pd.DataFrame(
        {"ensembl": ensembl.to_numpy(), "symbol": symbol.to_numpy()},
        index=pd.Index(names.to_numpy(), dtype=object),
    )
