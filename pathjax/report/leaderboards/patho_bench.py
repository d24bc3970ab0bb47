"""Patho-Bench's files: test metrics of each task and model, by fold, and a table of all.

    SOURCE/TASK/MODEL_linprobe/protocol=NAME/test_metrics/fold_0/metrics.json
    .../test_metrics_summary.json; results_summary.csv

As patho_bench/Runner.py, experiments/BaseExperiment.py and LinearProbeExperiment.py of
mahmoodlab/Patho-Bench (660e770) write them: mean and standard error over folds; of one
fold, or folds of one row, a score with an interval, which here is pathjax's over patients.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.files import write_csv, write_json
from pathjax.report.leaderboards.results_by_fold import (
    Written,
    by,
    finite,
    folds_of,
    model_of,
)
from pathjax.report.scores import Scored, Scores
from pathjax.report.style import slug
from pathjax.stats.metric import Metric
from pathjax.stats.metrics import METRICS

KINDS = ("classification", "survival")
OWN = ()  # its probes are none of pathjax's
NAMES = {"auroc": "macro-ovr-auc", "balanced_accuracy": "bacc", "accuracy": "acc",
         "f1_macro": "macro-f1", "c_index": "cindex"}  # fmt: skip


def write(items: Sequence[Scored], out: Path) -> Written:
    """Writes the files of tasks of classes and of survival."""
    paths, lines = [], []
    by_fit = by(
        items, lambda item: (model_of(item), item.entry.get("of", item.entry["task"]))
    )
    for (model, task), own in by_fit.items():
        # Probabilities, where some metric needed them, have all scores.
        item = max(own, key=lambda one: one.rows["prediction"].dtype.kind == "f")
        entry, rows = item.entry, item.rows
        assert rows is not None
        kind = "coxnet" if entry["kind"] == "survival" else "linprobe"
        kind = "finetune" if entry["protocol"].startswith("eva-abmil") else kind
        run = f"{slug(model)}_{kind}"
        protocol = entry["protocol"]
        folder = (
            out / slug(entry["study"]) / slug(task) / run / f"protocol={slug(protocol)}"
        )
        metrics = [m for m in map(METRICS.__getitem__, NAMES) if _has(m, item)]
        folds = [part for part, _ in folds_of(item)]
        if len(folds) > 1 and all(len(rows["truth"][part]) > 1 for part in folds):
            each = [
                {NAMES[m.name]: _score(m, item, part) for m in metrics}
                for part in folds
            ]
            for k, scores in enumerate(each):
                paths.append(folder / "test_metrics" / f"fold_{k}" / "metrics.json")
                whole = {"threshold": None, "overall": scores}
                write_json(paths[-1], scores if kind == "coxnet" else whole)
            summary = {name: _mean_se([one[name] for one in each]) for name in each[0]}
        else:
            summary = {NAMES[m.name]: _with_interval(m, item) for m in metrics}
        paths.append(folder / "test_metrics_summary.json")
        write_json(paths[-1], summary)
        for name, found in summary.items():
            ends = [found.get(key) for key in ("mean", "se", "lower", "upper")]
            line = [entry["study"], task, f"{model}_{kind}", name, protocol]
            lines.append([*line, *[None] * 5, found["formatted"], *ends])
    columns = [f"{part}_{what}" for part in ("val", "test")
               for what in ("formatted", "mean", "se", "ci_low", "ci_high")]  # fmt: skip
    paths.append(out / "results_summary.csv")
    write_csv(
        paths[-1], ["source", "task", "model", "metric", "protocol", *columns], lines
    )
    known = ", ".join(NAMES.values())
    return paths, [f"of its metrics those that pathjax has: {known}"]


def _has(metric: Metric, item: Scored) -> bool:
    if item.entry["kind"] == "survival" or metric.needs == "survival":
        return item.entry["kind"] == "survival" and metric.needs == "survival"
    return metric.needs == "classes" or item.rows["prediction"].dtype.kind == "f"  # type: ignore[index]


def _score(metric: Metric, item: Scored, rows: slice) -> float | None:
    """A metric over some rows; None where it is not defined."""
    assert item.rows is not None
    guess = metric.as_needed(item.rows["prediction"][rows])
    (value,) = finite(np.array([metric.terms(item.rows["truth"][rows], guess).value()]))
    return value


def _mean_se(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "se": None, "formatted": "N/A"}
    mean, se = float(np.mean(known)), float(np.std(known) / np.sqrt(len(values)))
    return {"mean": mean, "se": se, "formatted": f"{mean:.3f} ± {se:.3f}"}


def _with_interval(metric: Metric, item: Scored) -> dict[str, Any]:
    """A score of all rows with pathjax's interval, over patients."""
    assert item.rows is not None
    guess = metric.as_needed(item.rows["prediction"])
    entry = item.entry | {"metric": metric.name}
    own = Scored(entry, item.rows | {"prediction": guess})
    scores = Scores([own])
    model, task, seed = own.key
    left_out = scores.of(model, task, [seed])
    assert left_out is not None
    value = float(left_out.units[0, 0])
    if not np.isfinite(value):
        return {"mean": None, "lower": None, "upper": None, "formatted": "N/A"}
    found = scores.estimate(value, task, left_out)
    text = f"{value:.3f} ({found.low:.3f}-{found.high:.3f})"
    return {"mean": value, "lower": found.low, "upper": found.high, "formatted": text}
