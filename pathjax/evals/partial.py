"""Probes of expression whose genes were not measured in all rows.

Genes that were measured in the same fit rows are fitted together, on those rows, so a
probe never sees a missing value. All test rows are predicted; where a gene was not
measured there the truth is NaN, which no metric asks for.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from pathjax.data.measured import LEAST_SAMPLES, patterns
from pathjax.evals import EvalError
from pathjax.evals.probes.base import Fit, Probe, Problem


def fit_measured(probe: Probe, problem: Problem, genes: tuple[str, ...]) -> Fit:
    """`probe.fit`, once for each set of rows that genes were measured in.

    Args:
      probe: A configured probe.
      problem: Its labels are NaN where a gene was not measured.
      genes: Names of the labels' columns.

    Returns:
      Predictions of all genes. With several sets, `strength` is that chosen for the one
      of most genes, and `info["by_measured_rows"]` lists all.

    Raises:
      EvalError: A gene has too few fit rows, or the probe cannot learn from them.
    """
    if problem.classes or not problem.learned or not np.isnan(problem.y).any():
        return probe.fit(problem)
    made = []
    for rows, columns in patterns(~np.isnan(problem.y)):
        names = [genes[column] for column in columns]
        said = f"{len(names)} genes, first {names[0]}, measured in {rows.sum()} rows"
        if rows.sum() < LEAST_SAMPLES:
            raise EvalError(
                f"{said} of the fit fold, too few to learn from: choose other genes"
            )
        try:
            made.append((rows, columns, probe.fit(_part(problem, rows, columns))))
        except EvalError as error:
            raise EvalError(f"{said}: {error}") from error
    _, _, largest = max(made, key=lambda one: len(one[1]))
    shape = (*largest.prediction.shape[:2], len(genes))
    prediction: Float[np.ndarray, "R n T"] = np.empty(shape, largest.prediction.dtype)
    for _, columns, fit in made:
        prediction[..., columns] = fit.prediction
    record = [
        {"genes": len(columns), "rows": int(rows.sum()), "strength": fit.strength[0]}
        for rows, columns, fit in made
    ]
    info = largest.info | {"by_measured_rows": record}
    return dataclasses.replace(largest, prediction=prediction, info=info)


def _part(problem: Problem, rows, columns) -> Problem:
    """The problem of some genes, on the learned rows in which they were measured."""
    kept, labels, start = dict(problem.rows), {}, 0
    for role, values in problem.labels.items():
        labels[role] = values[:, columns]
        if role in problem.learned:
            inside = rows[start : start + len(values)]
            start += len(values)
            if not inside.any():
                raise EvalError(
                    f"the {role} fold has no row in which they were measured"
                )
            kept[role] = problem.rows[role].keep(inside)
            labels[role] = labels[role][inside]
    return dataclasses.replace(problem, rows=kept, labels=labels)


def leave_out_few(
    labels: dict[str, Float[np.ndarray, "_ T"]], genes: tuple[str, ...]
) -> list[str]:
    """Blanks genes measured in too few test rows to be scored; returns their names.

    Raises:
      EvalError: No gene is left.
    """
    known = ~np.isnan(labels["test"])
    few = ~known.all(axis=0) & (known.sum(axis=0) < LEAST_SAMPLES)
    if few.all():
        raise EvalError(
            f"all {len(genes)} genes were measured in fewer than {LEAST_SAMPLES} test "
            "rows: choose other genes or another test fold"
        )
    labels["test"][:, few] = np.nan
    return [gene for gene, left_out in zip(genes, few, strict=True) if left_out]
