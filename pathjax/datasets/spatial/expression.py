"""One table of counts over all samples."""

from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.datasets.spatial.sample import SpatialError, SpatialSample

PER = 10_000.0


def gene_id_type(samples: Sequence[SpatialSample]) -> str:
    """ "ensembl" if every gene of every sample has an id, else "symbol"."""
    known = all((sample.counts.var["gene_id"] != "").all() for sample in samples)
    return "ensembl" if known else "symbol"


def expression_table(samples: Sequence[SpatialSample]) -> anndata.AnnData:
    """Counts of all spots, for the genes that all samples have.

    Returns:
      AnnData with `layers["counts"]`, X = log1p of counts per 10,000 of the genes kept,
      and var["symbol"] where names are Ensembl ids.

    Raises:
      SpatialError: The samples have no gene in common.
    """
    kind = gene_id_type(samples)
    tables = [_by_gene(sample, kind) for sample in samples]
    genes = sorted(set.intersection(*(set(names) for _, names, _ in tables)))
    if not genes:
        raise SpatialError("the samples have no gene in common")
    parts = []
    for counts, names, _ in tables:
        place = pd.Index(names).get_indexer(genes)
        parts.append(counts[:, place])
    counts = scipy.sparse.csr_matrix(scipy.sparse.vstack(parts), dtype=np.float32)
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    scale = scipy.sparse.diags((PER / np.maximum(total, 1)).astype(np.float32))
    logged = scipy.sparse.csr_matrix(scale @ counts, dtype=np.float32)
    logged.data = np.log1p(logged.data)
    var = pd.DataFrame(index=pd.Index(genes, dtype=object))
    if kind == "ensembl":
        symbols = tables[0][2]
        var["symbol"] = [symbols[gene] for gene in genes]
    names = [name for sample in samples for name in sample.sample_ids]
    return anndata.AnnData(
        X=logged,
        obs=pd.DataFrame(index=pd.Index(names, dtype=object)),
        var=var,
        layers={"counts": counts},
        uns={"pathjax": {"x": "log1p(counts per 10,000)"}},
    )


def _by_gene(sample: SpatialSample, kind: str):
    """Counts summed by gene, the genes, and symbols by gene."""
    var = sample.counts.var
    column = "gene_id" if kind == "ensembl" else "symbol"
    names = var[column].where(var[column] != "", var.index.to_series())
    codes, genes = pd.factorize(names)
    ones = np.ones(len(codes), np.float32)
    into = scipy.sparse.csr_matrix(
        (ones, (np.arange(len(codes)), codes)), shape=(len(codes), len(genes))
    )
    symbols = dict(zip(names, var["symbol"], strict=True))
    return scipy.sparse.csr_matrix(sample.counts.X @ into), list(genes), symbols
