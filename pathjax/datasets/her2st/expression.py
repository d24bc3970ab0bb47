"""One table of counts over all sections: genes matched by symbol, raw counts kept.

Genes are the union over sections: upstream's files list only genes seen in their
section, so a gene absent from a file had zero counts there. Upstream's symbols are kept.
Gene selection and scaling belong to training.
"""

import re
from collections.abc import Container

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.datasets.her2st.section import Section
from pathjax.datasets.her2st.source import sum_columns

PER = 10_000.0
SUFFIXED = re.compile(r"(.+)\.\d+")


def expression_table(sections: list[Section]) -> anndata.AnnData:
    """The expression of all spots of `sections`, in their order.

    Returns:
      AnnData with `layers["counts"]` (CSR float32, whole numbers), `X` = log1p of
      counts per 10,000 of the spot's own total (CSR float32), `var["sections"]` (how
      many sections list the gene) and `uns["pathjax"]` (a description, and the symbols
      that were summed).
    """
    listed: dict[str, int] = {}
    summed: dict[str, int] = {}
    for section in sections:
        for gene in section.genes:
            listed[gene] = listed.get(gene, 0) + 1
        for gene, times in section.summed.items():
            summed[gene] = max(times, summed.get(gene, 0))
    target = {gene: base_symbol(gene, listed) for gene in listed}
    for gene, base in target.items():
        if gene != base:
            summed[base] = summed.get(base, 1) + 1
    genes = sorted(set(target.values()))
    place = {gene: i for i, gene in enumerate(genes)}

    parts = []
    for section in sections:
        columns = [place[target[gene]] for gene in section.genes]
        parts.append(section.counts @ sum_columns(columns, len(genes)))
    counts = scipy.sparse.csr_matrix(scipy.sparse.vstack(parts), dtype=np.float32)
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    scale = scipy.sparse.diags((PER / total).astype(np.float32))
    logged = scipy.sparse.csr_matrix(scale @ counts, dtype=np.float32)
    logged.data = np.log1p(logged.data)

    names = [name for section in sections for name in section.sample_ids]
    files = pd.Series(0, index=genes)
    for gene, base in target.items():
        files[base] = max(files[base], listed[gene])
    return anndata.AnnData(
        X=logged,
        obs=pd.DataFrame(index=pd.Index(names, dtype=object)),
        var=pd.DataFrame({"sections": files.to_numpy()}, index=pd.Index(genes)),
        layers={"counts": counts},
        uns={
            "pathjax": {
                "x": "log1p(counts per 10,000)",
                "genes": "union over sections; a gene that a section's file does not "
                "list had no counts there",
                "summed_symbols": [
                    f"{gene} x {n}" for gene, n in sorted(summed.items())
                ],
            }
        },
    )


def base_symbol(gene: str, listed: Container[str]) -> str:
    """The symbol that a repeated one was renamed from upstream: MATR3.1 is MATR3.

    Only if the plain symbol exists too: in AC243756.1 the number is a version.
    """
    match = SUFFIXED.fullmatch(gene)
    return match[1] if match and match[1] in listed else gene
