"""Which genes were measured in which samples, where a study's samples differ in that.

A study whose samples were all measured for all genes stores nothing. Otherwise a row of
the expression names its panel in `obs["panel"]`, and `varm["measured"]` has a column of
booleans for each panel: genes x panels bytes, whatever the number of samples. Values
that were not measured are 0 in `X` and in layers; nothing may read them as zeros.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Int

from pathjax.data.study_tables import few

PANEL, MEASURED = "panel", "measured"
# Statistics of a gene over fewer samples say little, where others measured it not at all.
LEAST_SAMPLES = 10


def is_partial(expression, genes: Sequence[str] | None = None) -> bool:
    """Whether some sample was not measured for some gene.

    Args:
      expression: AnnData of a study.
      genes: Only these; None is all.
    """
    if MEASURED not in expression.varm:
        return False
    table = expression.varm[MEASURED]
    if genes is not None:
        table = table.loc[list(genes)]
    used = set(expression.obs[PANEL])
    return not table[[name for name in table if name in used]].to_numpy().all()


def measured(
    expression, sample_ids: Sequence[str], genes: Sequence[str]
) -> Bool[np.ndarray, "n G"] | None:
    """True where a gene was measured in a sample; None if all of the study's were."""
    if not is_partial(expression, genes):
        return None
    table = expression.varm[MEASURED].loc[list(genes)]
    panels = expression.obs[PANEL].loc[list(sample_ids)]
    return table.to_numpy(bool).T[table.columns.get_indexer(panels)]


def shared_genes(expression):
    """Genes that every sample was measured for, to index with; all if there are none.

    Totals of counts over them are comparable between panels.
    """
    if not is_partial(expression):
        return slice(None)
    used = expression.obs[PANEL].unique()
    shared = np.flatnonzero(
        expression.varm[MEASURED][list(used)].to_numpy().all(axis=1)
    )
    return shared if len(shared) else slice(None)


def patterns(
    known: Bool[np.ndarray, "n G"],
) -> list[tuple[Bool[np.ndarray, "n"], Int[np.ndarray, "g"]]]:
    """Genes that were measured in the same rows: (rows, genes), in order of the genes."""
    _, first, of = np.unique(known, axis=1, return_index=True, return_inverse=True)
    of = of.reshape(-1)
    order = np.argsort(first)
    return [(known[:, first[one]], np.flatnonzero(of == one)) for one in order]


def describe_panels(expression) -> Iterator[str]:
    """A line that says what was measured, for `pathjax data show`; none if all was."""
    if is_partial(expression):
        samples = expression.obs[PANEL].value_counts(sort=False)
        genes = expression.varm[MEASURED].sum()
        said = (f"{genes[one]} genes in {n} samples" for one, n in samples.items() if n)
        yield f"  measured: {', '.join(said)}"


def state(expression, known: pd.DataFrame, panel: Sequence[str]) -> None:
    """Writes into an AnnData what was measured, unless everything was.

    Args:
      expression: With a row per sample and a column per gene.
      known: A row per gene and a column of booleans per panel.
      panel: The panel of each sample.
    """
    if known.to_numpy().all():
        return
    expression.obs[PANEL] = pd.Categorical(panel)
    expression.varm[MEASURED] = known.astype(bool)


def measured_problems(expression) -> list[str]:
    """What is wrong with the record of an AnnData; empty without one."""
    if MEASURED not in expression.varm:
        return []
    table = expression.varm[MEASURED]
    if not isinstance(table, pd.DataFrame) or not (table.dtypes == bool).all():
        return [
            f"varm[{MEASURED!r}]: expected a table with a column of booleans per panel"
        ]
    if PANEL not in expression.obs:
        return [f"varm[{MEASURED!r}] needs the panel of each sample in obs[{PANEL!r}]"]
    panels = expression.obs[PANEL].astype(object)
    unknown = set(panels) - set(table)
    if unknown:
        names = [str(name) for name in unknown]
        return few(names, f"panels of samples are no column of varm[{MEASURED!r}]")
    problems = few(
        expression.var_names[~table[panels.unique()].to_numpy().any(axis=1)],
        "genes were measured in no sample: leave them out",
    )
    for name in panels.unique():
        rows = (panels == name).to_numpy()
        absent = ~table[name].to_numpy()
        for layer in ("X", *expression.layers):
            values = expression.X if layer == "X" else expression.layers[layer]
            part = scipy.sparse.csc_matrix(values[rows])[:, absent]
            if part.count_nonzero():
                problems.append(
                    f"{layer} has {part.count_nonzero()} values other than 0 of genes "
                    f"that panel {name} did not measure: correct varm[{MEASURED!r}]"
                )
    return problems
