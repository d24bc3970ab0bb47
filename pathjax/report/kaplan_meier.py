"""Kaplan-Meier curves of the halves of patients that a model calls high and low risk.

    truth [n, 2], risk [n], stratum [n] -> draw_halves -> FILE.png, a panel each

Halves are taken inside each stratum (test fold, cancer type), and so is the log-rank
test: nothing about a patient's own outcome chooses its half. Nothing is fitted here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from pathjax.report.style import BETTER, WORSE, folded, plain, save
from pathjax.stats.survival import high_risk, kaplan_meier, log_rank

COLUMNS = 3  # panels side by side


class Followed(NamedTuple):
    """Tested patients: months and events `[n, 2]`, risk `[n]`, stratum `[n]`."""

    truth: Float[np.ndarray, "n 2"]
    risk: Float[np.ndarray, "n"]
    stratum: Int[np.ndarray, "n"]


def followed(truth, prediction, stratum) -> Followed:
    """Of a result's arrays; the risk of several runs is their mean."""
    risk = prediction[..., 0]
    return Followed(truth, risk if risk.ndim == 1 else risk.mean(axis=1), stratum)


def draw_halves(panels: Mapping[str, Followed], path: Path, note: str = "") -> None:
    """Draws a panel for each title; ticks are the censored, below it the log-rank p."""
    wide = min(COLUMNS, len(panels))
    tall = -(-len(panels) // wide)
    figure = Figure(figsize=(3.4 * wide, 2.8 * tall), dpi=150, layout="constrained")
    places = figure.subplots(tall, wide, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.axis("off")
    for axes, (title, rows) in zip(places, panels.items(), strict=False):
        time, event = rows.truth[:, 0].astype(np.float64), rows.truth[:, 1] > 0
        high = high_risk(rows.risk, rows.stratum)
        for name, half, colour, line in (
            ("high risk", high, WORSE, "--"),
            ("low risk", ~high, BETTER, "-"),
        ):
            if not half.any():
                continue
            times, alive = kaplan_meier(
                time[half], event[half], np.ones((1, sum(half)))
            )
            x, y = np.append(0, times), np.append(1, alive[0])
            label = f"{name}: {event[half].sum()} of {sum(half)}"
            axes.step(x, y, line, where="post", color=colour, label=label)
            left = np.sort(time[half & ~event])
            at = y[np.searchsorted(times, left, side="right")]
            axes.plot(left, at, "|", color=colour, markersize=4, markeredgewidth=0.5)
        p = log_rank(time, event, high, rows.stratum)
        axes.set_title(folded(title, 40), fontsize=8)
        axes.set_xlabel(f"months; log-rank p = {p:.2g}", fontsize=7)
        axes.set_ylim(0, 1.02)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6, loc="lower left", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    if note:
        figure.supxlabel(plain(note), fontsize=7)
    save(figure, path)
