"""The figure of a sweep: each task against the values of the grid's first key."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pathjax.report.style import folded, plain, save, style
from pathjax.report.table_data import Table
from pathjax.sweep.grid import Point


def draw_sweep(table: Table, points: Sequence[Point], path: str | Path) -> None:
    """Draws one panel per task: score by value of the first key, a line per other key.

    Scores are means over seeds with their 95 % interval; the dashed line is the
    starting model. Positive numbers that span more than a decade have a logarithmic
    axis; values that are not numbers are placed in the order given.
    """
    rows = {row.name: row for row in table.rows}
    key = next(iter(points[0].values))
    values = list(dict.fromkeys(point.values[key] for point in points))
    places, logarithmic = _axis(values)
    series: dict[str, list[Point]] = {}
    for point in points:
        others = {k: v for k, v in point.values.items() if k != key}
        series.setdefault(Point(others).name, []).append(point)

    columns = table.columns
    figure = Figure(figsize=(4.2 * len(columns), 3.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        for row in table.rows:
            if row.is_base and column.task in row.values:
                level = column.scale * row.values[column.task].value
                axes.axhline(level, color="grey", linestyle="--", linewidth=1)
        for number, (name, group) in enumerate(series.items()):
            colour, marker = style(number)
            known = [p for p in group if column.task in _values(rows, p)]
            x = [places[p.values[key]] for p in known]
            scores = [_values(rows, p)[column.task] for p in known]
            y = [column.scale * score.value for score in scores]
            label = plain(name) or None
            axes.plot(x, y, marker + "-", color=colour, label=label)
            for place, score in zip(x, scores, strict=True):
                if score.low is not None:
                    ends = [column.scale * score.low, column.scale * score.high]
                    axes.plot([place, place], ends, color=colour, linewidth=1)
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xticks(list(places.values()), list(map(plain, places)))
        axes.minorticks_off()
        axes.set_title(folded(column.task, 40), fontsize=9)
        axes.set_xlabel(plain(key))
        axes.set_ylabel(plain(column.metric))
    if len(series) > 1:
        panels[0].legend(fontsize=7)
    save(figure, path)


def _values(rows, point: Point):
    return rows[point.name].values if point.name in rows else {}


def _axis(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Place of each value on the axis, and whether the axis is logarithmic."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return {value: float(place) for place, value in enumerate(values)}, False
    logarithmic = bool(numbers.min() > 0 and numbers.max() / numbers.min() >= 10)
    return dict(zip(values, numbers.tolist(), strict=True)), logarithmic
