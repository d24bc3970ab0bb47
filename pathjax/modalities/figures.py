"""The matrix of modalities and targets: a heat map, bars with intervals, and tables.

    content of results.json -> write_all -> matrix.csv, matrix.md, grid.json,
                                            heatmap.png, bars.png

Made from results alone. Colour only repeats numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pathjax.files import write_csv, write_json, write_text
from pathjax.report.kaplan_meier import Followed, draw_halves, followed
from pathjax.report.style import PALETTE, plain, save

TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC (macro, one against rest)",
    "pearson": "mean r",
    "c_index": "C-index",
}
FIRST = ("auroc", "pearson", "c_index")  # drawn as a heat map
MOST_TARGETS = 60  # in a figure
COLUMNS = ("target", "kind", "modalities", "rows", "n", "patients", "classes", "metric",
           "value", "low", "high", "chance")  # fmt: skip
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++")


def rows_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per cell and metric."""
    return [
        {
            **{key: cell[key] for key in ("target", "kind", "rows", "n", "patients")},
            "modalities": " + ".join(cell["modalities"]),
            # Of the cell's rows: a modality may lack all of a class.
            "classes": sum(map(bool, cell["classes"].values())) or "",
            "metric": metric,
            **score,
        }
        for cell in result["cells"]
        for metric, score in cell["scores"].items()
    ]


def write_all(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Writes the table and the figures; returns their paths."""
    rows = rows_of(result)
    cells = ((row[name] for name in COLUMNS) for row in rows)
    lines = ([f"{v:.4f}" if isinstance(v, float) else v for v in row] for row in cells)
    write_csv(out / "matrix.csv", COLUMNS, lines)
    common, note = [row for row in rows if row["rows"] == "common"], _note(result)
    write_text(out / "matrix.md", markdown(rows))
    write_json(out / "grid.json", grid_of(common, note))
    names = ["matrix.csv", "matrix.md", "grid.json"]
    if common and len(_ordered(common, "target")) <= MOST_TARGETS:
        draw_heatmap(common, out / "heatmap.png", note)
        draw_bars(common, out / "bars.png", note)
        names += ["heatmap.png", "bars.png"]
    if halves := _halves(result["cells"], out / "cells"):
        draw_halves(halves, out / "survival.png", note)
        names.append("survival.png")
    return [out / name for name in names]


def _halves(cells: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Followed]:
    """Tested patients of survival, by target and modalities."""
    found = {}
    for cell in cells:
        if cell["kind"] == "survival" and cell["rows"] == "common":
            with np.load(folder / cell["predictions"]) as arrays:
                rows = followed(arrays["truth"], arrays["score"], arrays["fold"])
            found[f"{cell['target']}: {' + '.join(cell['modalities'])}"] = rows
    return found


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The matrix as a Markdown table: value, interval, chance, n."""
    lines = [
        "| target | modalities | rows | n (patients) | metric | value [95 %] | chance |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['target']} | {row['modalities']} | {row['rows']} | {row['n']} "
        f"({row['patients']}) | {row['metric'].replace('_', ' ')} | {row['value']:.3f} "
        f"[{row['low']:.3f}, {row['high']:.3f}] | {row['chance']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def grid_of(rows: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """The matrix as `pathjax report --html --grids` takes it: AUROC, r and C."""
    own = first_metric(rows)
    keys = ("value", "low", "high", "chance", "n", "metric")
    return {
        "title": title,
        "rows": _ordered(own, "modalities"),
        "columns": _ordered(own, "target"),
        "cells": [
            {"row": row["modalities"], "column": row["target"]}
            | {key: row[key] for key in keys}
            for row in own
        ],
    }


def _note(result) -> str:
    options = result["options"]
    made = " Synthetic." if result["synthetic"] else ""
    return (
        f"{result['cohort']}: {result['patients']} patients, {options['folds']} folds of "
        f"patients; modalities on the same samples.{made}"
    )


def _ordered(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def shown(target: str) -> str:
    """`tp53@cancer_type=BRCA` on an axis: tp53, and the class below it."""
    name, _, where = target.partition("@")
    return f"{name}\n({where.partition('=')[2]})" if where else name


def first_metric(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """AUROC of classes, r of numbers, C of survival: one chance level for all targets."""
    return [row for row in rows if row["metric"] in FIRST]


def draw_heatmap(rows: Sequence[Mapping[str, Any]], path: Path, note: str) -> None:
    """Modality x target; panels of classes (AUROC), of values (r), of survival (C)."""
    panels = [
        (metric, [row for row in rows if row["metric"] == metric]) for metric in FIRST
    ]
    panels = [(metric, own) for metric, own in panels if own]
    modalities = _ordered(rows, "modalities")
    wide = [len(_ordered(own, "target")) for _, own in panels]
    figure = Figure(
        figsize=(2.6 + 1.0 * sum(wide), 1.9 + 0.42 * len(modalities)),
        dpi=150,
        layout="constrained",
    )
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=wide)[0]
    for panel, (metric, own) in zip(axes, panels, strict=True):
        targets = _ordered(own, "target")
        value = {(row["modalities"], row["target"]): row["value"] for row in own}
        grid = np.array(
            [[value.get((m, t), np.nan) for t in targets] for m in modalities]
        )
        low = 0.0 if metric == "pearson" else 0.5
        panel.imshow(grid, cmap="cividis", vmin=low, vmax=1.0, aspect="auto")
        for (y, x), number in np.ndenumerate(grid):
            text = "–" if np.isnan(number) else f"{number:.2f}"
            colour = "white" if number < (low + 1) / 2 else "black"
            panel.text(x, y, text, ha="center", va="center", color=colour, fontsize=9)
        names = [plain(shown(target)) for target in targets]
        panel.set_xticks(range(len(targets)), names, rotation=35, ha="right")
        panel.set_yticks(range(len(modalities)), modalities)
        panel.set_title(f"{TITLES[metric]}; chance {low:g}", fontsize=9)
        panel.tick_params(length=0)
    figure.supxlabel(plain(note), fontsize=7)
    save(figure, path)


def draw_bars(rows: Sequence[Mapping[str, Any]], path: Path, note: str) -> None:
    """Bars with 95 % intervals; a dotted line on each is its chance level."""
    metrics = [m for m in TITLES if any(row["metric"] == m for row in rows)]
    modalities = _ordered(rows, "modalities")
    looks = {
        name: {
            "color": PALETTE[number % len(PALETTE)],
            "hatch": HATCHES[number % len(HATCHES)],
            "edgecolor": "white",
        }
        for number, name in enumerate(modalities)
    }
    size = max(len(_ordered(rows, "target")), 2)
    figure = Figure(
        figsize=(1.6 + size * (0.6 + 0.22 * len(modalities)), 2.6 * len(metrics) + 0.6),
        dpi=150,
        layout="constrained",
    )
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axes, metric in zip(panels, metrics, strict=True):
        own = [row for row in rows if row["metric"] == metric]
        targets = _ordered(own, "target")
        width = 0.8 / len(modalities)
        for row in own:
            offset = modalities.index(row["modalities"]) - (len(modalities) - 1) / 2
            x = targets.index(row["target"]) + offset * width
            look = looks[row["modalities"]]
            axes.bar(x, row["value"], width * 0.92, linewidth=0.3, **look)
            axes.plot([x, x], [row["low"], row["high"]], color="black", linewidth=1)
            edge = width * 0.46
            chance = [row["chance"]] * 2
            dotted = {"color": "black", "linestyle": ":", "linewidth": 1.2}
            axes.plot([x - edge, x + edge], chance, **dotted)
        n = {row["target"]: row["n"] for row in own}
        names = [plain(f"{shown(t)}\nn = {n[t]}") for t in targets]
        axes.set_xticks(range(len(targets)), names, fontsize=8)
        axes.set_xlim(-0.6, len(targets) - 0.4)
        axes.set_ylim(min(0.0, *(row["low"] for row in own)), 1.02)
        axes.set_ylabel(TITLES[metric], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for name, look in looks.items():
        panels[0].bar([0], [0], label=name, **look)
    panels[0].plot([], [], color="black", linestyle=":", label="chance")
    figure.legend(loc="outside right upper", fontsize=8)
    figure.supxlabel(plain(note), fontsize=7)
    save(figure, path)
