"""The figure of a sweep: scores, or mean deltas, against the values of a key."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pathjax.report.frontier import mean_deltas
from pathjax.report.style import folded, plain, save, style
from pathjax.report.table_data import Table
from pathjax.sweep.grid import Point


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What a panel shows.

    Attributes:
      title, unit: Of the panel and of its vertical axis.
      values: Row name to value, low and high; the last two may be None.
      baseline: Of the starting model.
    """

    title: str
    unit: str
    values: Mapping[str, tuple[float, float | None, float | None]]
    baseline: float | None


def draw_sweep(
    table: Table,
    grids: Sequence[Sequence[Point]],
    runs: Mapping[str, Point],
    path: str | Path,
) -> None:
    """Draws a row of panels per grid, against the values of the grid's first key.

    One grid has a panel per task: means over seeds with their 95 % interval. Several
    grids show the mean delta of the expression tasks and that of all other tasks, where
    the table has both. A line per combination of the other keys; the starting model is
    dashed. Positive numbers that span a decade have a logarithmic axis; values that are
    not numbers are placed in the order given.

    Args:
      runs: Name of a point to the point whose row shows its scores.
    """
    quantities = (_means(table) if len(grids) > 1 else []) or _scores(table)
    size = (len(grids), len(quantities))
    figure = Figure(
        figsize=(4.2 * size[1], 3.6 * size[0]), dpi=150, layout="constrained"
    )
    for row, points in zip(figure.subplots(*size, squeeze=False), grids, strict=True):
        for axes, quantity in zip(row, quantities, strict=True):
            _draw(axes, points, runs, quantity)
    save(figure, path)


def _draw(axes, points, runs, quantity: Quantity) -> None:
    key = next(iter(points[0].values))
    places, logarithmic = _axis(list(dict.fromkeys(p.values[key] for p in points)))
    series: dict[str, list[Point]] = {}
    for point in points:
        others = {k: v for k, v in point.values.items() if k != key}
        series.setdefault(Point(others).name, []).append(point)
    if quantity.baseline is not None:
        axes.axhline(quantity.baseline, color="grey", linestyle="--", linewidth=1)
    for number, (name, group) in enumerate(series.items()):
        colour, marker = style(number)
        scored = [
            (places[point.values[key]], *quantity.values[runs[point.name].name])
            for point in group
            if runs[point.name].name in quantity.values
        ]
        x, y = [place for place, *_ in scored], [value for _, value, *_ in scored]
        axes.plot(x, y, marker + "-", color=colour, label=plain(name) or None)
        for place, _, low, high in scored:
            if low is not None:
                axes.plot([place, place], [low, high], color=colour, linewidth=1)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(list(places.values()), list(map(plain, places)))
    axes.minorticks_off()
    axes.set_title(folded(quantity.title, 40), fontsize=9)
    axes.set_xlabel(plain(key))
    axes.set_ylabel(plain(quantity.unit))
    if len(series) > 1:
        axes.legend(fontsize=7)


def _scores(table: Table) -> list[Quantity]:
    quantities = []
    baseline = next((row.name for row in table.rows if row.is_base), None)
    for column in table.columns:
        scaled = {
            row.name: tuple(
                None if number is None else column.scale * number
                for number in (estimate.value, estimate.low, estimate.high)
            )
            for row in table.rows
            if (estimate := row.values.get(column.task))
        }
        level = scaled.get(baseline, (None,))[0]
        quantities.append(Quantity(column.task, column.metric, scaled, level))
    return quantities


def _means(table: Table) -> list[Quantity]:
    means = mean_deltas(table)
    return [
        Quantity(
            f"mean delta of {tasks}",
            "percentage points",
            {name: (100 * pair[place], None, None) for name, pair in means.items()},
            0.0,
        )
        for place, tasks in enumerate(("the expression tasks", "all other tasks"))
        if means
    ]


def _axis(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Place of each value on the axis, and whether the axis is logarithmic."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return {value: float(place) for place, value in enumerate(values)}, False
    logarithmic = bool(numbers.min() > 0 and numbers.max() / numbers.min() >= 10)
    return dict(zip(values, numbers.tolist(), strict=True)), logarithmic
