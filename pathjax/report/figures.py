"""Figures as PNG: deltas with intervals, per-gene r before and after, learning curves.

It also reads the metrics.jsonl of training runs, for itself and for the page.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pathjax.report.style import BETTER, PALETTE, WORSE, folded, plain, save, style
from pathjax.report.table_data import Table, mark


def draw_deltas(table: Table, path: str | Path) -> None:
    """Forest plot: a line per task and tuned model, delta in percentage points.

    A filled marker is what the table has in bold; marks are the table's.
    """
    rows = [row for row in table.rows if row.deltas]
    columns = table.all_columns
    tall = 0.9 + 0.24 * len(columns) * (len(rows) + 1) + 0.2 * len(rows)
    figure = Figure(figsize=(6.5, tall), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="grey", linewidth=0.8)
    for number, row in enumerate(rows):
        colour, marker = style(number)
        for place, column in enumerate(columns):
            delta = row.delta(column.task)
            if delta is None:
                continue
            y = place * (len(rows) + 1) + number
            if delta.low is not None:
                ends = [100 * delta.low, 100 * delta.high]
                axes.plot(ends, [y, y], color=colour, linewidth=1.5)
            fill = colour if delta.certain else "white"
            x = 100 * delta.value
            axes.plot(x, y, marker, color=colour, markerfacecolor=fill)
            offset = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
            axes.annotate(mark(delta), (x, y), fontsize=8, **offset)
        label = plain(f"{row.name} (against {row.base})")
        axes.plot([], [], marker + "-", color=colour, label=label)
    middles = np.arange(len(columns)) * (len(rows) + 1) + (len(rows) - 1) / 2
    labels = [c.title if c.percent else f"{c.title} (error x 100)" for c in columns]
    axes.set_yticks(middles, list(map(plain, labels)))
    axes.get_yticklabels()[-1].set_weight("bold")
    axes.invert_yaxis()
    for edge in middles[:-1] + (len(rows) + 1) / 2:
        axes.axhline(edge, color="lightgrey", linewidth=0.5)
    legend = "filled: *, and 95 % interval excludes 0; marks as below the table"
    axes.set_xlabel(f"delta, percentage points ({legend})", fontsize=8)
    figure.legend(loc="outside lower left")
    save(figure, path)


def draw_genes(
    task: str,
    models: Mapping[str, tuple[np.ndarray, np.ndarray]],
    tuned: Mapping[str, str],
    path: str | Path,
) -> None:
    """Pearson r of each gene, base against tuned, a panel per tuned model.

    Args:
      task: For the title.
      models: Model to (gene names, r).
      tuned: Tuned model to its base.
      path: Of the PNG.
    """
    figure = Figure(figsize=(4.2 * len(tuned), 4.4), dpi=150)
    panels = figure.subplots(1, len(tuned), squeeze=False)[0]
    for axes, (model, base) in zip(panels, tuned.items(), strict=True):
        names, after = models[model]
        before = models[base][1]
        gain = after - before
        known = np.isfinite(gain)
        for which, colour, marker in (
            (known & (gain > 0), BETTER, "o"),
            (known & (gain <= 0), WORSE, "v"),
        ):
            axes.plot(before[which], after[which], marker, color=colour, alpha=0.7)
        if known.any():
            ends = np.concatenate([before[known], after[known]])
            ends = [ends.min() - 0.05, ends.max() + 0.05]
            axes.plot(ends, ends, color="grey", linewidth=0.8)
        order = np.argsort(np.where(known, -np.abs(gain), np.inf), kind="stable")
        for gene in order[:5]:
            axes.annotate(
                plain(str(names[gene])),
                (before[gene], after[gene]),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=7,
            )
        better = f"{int((gain[known] > 0).sum())} of {known.sum()} genes better"
        axes.set_title(folded(f"{task}: {better}", 40), fontsize=9)
        axes.set_xlabel(f"r, {plain(base)}")
        axes.set_ylabel(f"r, {plain(model)}")
    figure.tight_layout()
    save(figure, path)


def find_metrics(run_dirs: Sequence[str | Path]) -> dict[str, Path]:
    """metrics.jsonl of training runs at, or up to two folders below, the run folders."""
    paths = {}
    for run in filter(Path.is_dir, map(Path, run_dirs)):
        for pattern in ("metrics.jsonl", "*/metrics.jsonl", "*/*/metrics.jsonl"):
            for path in sorted(run.glob(pattern)):
                inside = path.parent.relative_to(run).as_posix()
                paths[run.name if inside == "." else inside] = path
    return paths


def read_metrics(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Series of a metrics.jsonl: name to (steps, values), finite numbers only.

    A last line that a killed run left incomplete is skipped. Of a step that a resumed
    run logged again, the last record counts.

    Raises:
      ValueError: A line before the last is not a JSON object with a step.
    """
    series: dict[str, dict[int, float]] = {}
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            step = int(entry["step"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                continue
            raise ValueError(
                f"{path}, line {number} cannot be read: {error}"
            ) from error
        for name, value in entry.items():
            if isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, {})[step] = float(value)
    return {
        name: (np.array(sorted(points)), np.array([points[s] for s in sorted(points)]))
        for name, points in series.items()
    }


def draw_learning(runs: Mapping[str, Path], path: str | Path) -> None:
    """Learning curves, a panel per run: training loss, and validation loss on top.

    Args:
      runs: Name to metrics.jsonl.
      path: Of the PNG.
    """
    wide = min(len(runs), 3)
    tall = -(-len(runs) // wide)
    figure = Figure(figsize=(4.2 * wide, 3.0 * tall), dpi=150)
    panels = list(figure.subplots(tall, wide, squeeze=False).flat)
    for axes in panels[len(runs) :]:
        axes.axis("off")
    for axes, (name, file) in zip(panels, runs.items(), strict=False):
        series = read_metrics(file)
        kinds = (("train/loss", PALETTE[0], "-"), ("val/loss", PALETTE[1], "o--"))
        for key, colour, line in kinds:
            if key in series:
                axes.plot(*series[key], line, color=colour, label=key, markersize=4)
        axes.set_title(folded(name, 40), fontsize=9)
        axes.set_xlabel("step")
        if axes.has_data():
            axes.legend()
    figure.tight_layout()
    save(figure, path)
