"""The frontier: what tuning gained in expression against what it did to other tasks.

A point per tuned model; the models of one blend (names that end with `alpha 0.3`) are
joined by a line. It chooses no alpha: read it on validation tasks.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pathjax.report.style import plain, save, style
from pathjax.report.table_data import Table

_BLEND = re.compile(r"(.*) alpha ([0-9.]+)")


@dataclasses.dataclass(frozen=True)
class Line:
    """One blend, or a model of its own.

    Attributes:
      name: Without alpha.
      alphas: Of each point in rising order; empty for a model of its own.
      gained: Mean delta of the expression tasks, per point.
      kept: Mean delta of all other tasks, per point.
    """

    name: str
    alphas: tuple[float, ...]
    gained: tuple[float, ...]
    kept: tuple[float, ...]


def mean_deltas(table: Table) -> dict[str, tuple[float, float]]:
    """Row name to the mean delta of its expression tasks and of all other tasks.

    Empty without expression tasks, or without others. A model that lacks a task is left
    out: its mean would be over other tasks. What is not in the mean delta does not count,
    nor does retrieval, which encoders alone cannot do.
    """
    columns = [c for c in table.columns if c.averaged and c.kind != "retrieval"]
    groups: tuple[list[str], list[str]] = ([], [])
    for column in columns:
        groups[column.kind != "expression"].append(column.task)
    if not all(groups):
        return {}
    return {
        row.name: tuple(
            float(np.mean([row.deltas[task].value for task in tasks]))
            for tasks in groups
        )
        for row in table.rows
        if all(column.task in row.deltas for column in columns)
    }


def frontier(table: Table) -> list[Line]:
    """A line per blend or tuned model, by `mean_deltas`; empty without a blend."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    blends = set()
    for name, (gained, kept) in mean_deltas(table).items():
        if match := _BLEND.fullmatch(name):
            name = match[1]
            blends.add(name)
        alpha = float(match[2]) if match else 0.0
        found.setdefault(name, []).append((alpha, gained, kept))
    if not blends:
        return []
    lines = []
    for name, points in found.items():
        alphas, gained, kept = zip(*sorted(points), strict=True)
        lines.append(Line(name, alphas if name in blends else (), gained, kept))
    return lines


def draw_frontier(table: Table, path: str | Path) -> bool:
    """Draws the frontier, if there is one; returns whether it did."""
    lines = frontier(table)
    if not lines:
        return False
    figure = Figure(figsize=(6, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.axvline(0, color="grey", linewidth=0.8)
    for number, line in enumerate(lines):
        colour, marker = style(number)
        x, y = (100 * np.array(values) for values in (line.kept, line.gained))
        axes.plot(x, y, marker + "-", color=colour, label=plain(line.name))
        for alpha, *place in zip(line.alphas, x, y, strict=bool(line.alphas)):
            axes.annotate(
                f"{alpha:g}",
                place,
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
            )
    axes.set_xlabel("mean delta of the other tasks, percentage points", fontsize=8)
    axes.set_ylabel("mean delta of the expression tasks", fontsize=8)
    axes.legend(fontsize=7)
    save(figure, path)
    return True
