"""Correlation of every gene, model by model, as the page sorts and searches it."""

from collections.abc import Sequence
from typing import Any

from pathjax.report.compare import Scored, gene_correlations
from pathjax.report.page.rounded import rounded_list
from pathjax.report.table_data import Table


def gene_tables(scored: Sequence[Scored], table: Table) -> list[dict[str, Any]]:
    """For each expression task: `task`, `genes`, and `models` in the table's order.

    A model has `name`, `base` (None where that was not scored on the task) and `r`, a
    value per gene: the mean over seeds of Pearson's r, null for a constant gene.
    """
    bases = {row.name: row.base for row in table.rows}
    out = []
    for task, models in gene_correlations(scored).items():
        ordered = [name for name in bases if name in models]
        names = [str(name) for name in models[ordered[0]][0]]
        out.append(
            {
                "task": task,
                "genes": names,
                "models": [
                    {
                        "name": name,
                        "base": bases[name] if bases[name] in models else None,
                        "r": rounded_list(models[name][1]),
                    }
                    for name in ordered
                ],
            }
        )
    return out
