"""eva's files: metrics of all runs of a task and model, and the leaderboard's table.

    TASK/MODEL/results.json; pathology.csv

As src/eva/core/trainers/_recorder.py, core/metrics/defaults and
tools/data/leaderboards/pathology.csv of kaiko-ai/eva (73b61a7) have them. A task scored on
its val fold is of stage val; the table has balanced accuracy.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pathjax.files import write_csv, write_json
from pathjax.report.leaderboards.results_by_fold import Written, by, model_of
from pathjax.report.scores import Scored
from pathjax.report.style import slug

KINDS = ("classification",)
OWN = ("eva-linear/1", "eva-abmil/1")
# Names in eva, of two classes and of more; others have none there.
NAMES = {
    "balanced_accuracy": ("BinaryBalancedAccuracy", "MulticlassAccuracy"),
    "auroc": ("BinaryAUROC", "MulticlassAUROC"),
    "accuracy": ("BinaryAccuracy", None),
    "f1_macro": (None, "MulticlassF1Score"),
}
SETS = {"gleason": "gleason_arvaniti", "pcam": "patch_camelyon"}  # columns of studies


def write(items: Sequence[Scored], out: Path) -> Written:
    """Writes the files of tasks of classes."""
    paths: list[Path] = []
    table: dict[str, dict[str, float]] = {}
    unnamed = set()
    by_fit = by(
        items, lambda item: (model_of(item), item.entry.get("of", item.entry["task"]))
    )
    for (model, task), own in by_fit.items():
        stage = "val" if own[0].entry["folds"]["test"] == "val" else "test"
        metrics = {}
        for item in own:
            name = _name_of(item)
            if name is None:
                unnamed.add(item.entry["metric"])
                continue
            values = _runs(item)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            record = {
                "mean": statistics.mean(values),
                "stdev": spread,
                "values": values,
            }
            metrics[f"{stage}/{name}"] = record
        study = own[0].entry["study"]
        paths.append(out / slug(task) / slug(model) / "results.json")
        stages = {"val": [], "test": []} | {stage: [metrics]}
        write_json(paths[-1], {"metrics": stages})
        balanced = [one for one in own if one.entry["metric"] == "balanced_accuracy"]
        if balanced:
            column = SETS.get(study, study)
            # Several tasks of a study have their own names.
            several = {i.entry.get("of", i.entry["task"]) for i in items
                       if i.entry["study"] == study}  # fmt: skip
            column = column if len(several) == 1 else slug(task)
            # A set without a val fold of its own is scored on val, as in eva's table.
            ends = "/test" if stage == "test" else ""
            table.setdefault(model, {})[column + ends] = balanced[0].entry["value"]
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    paths.append(out / "pathology.csv")
    lines = [
        [slug(model), *(f"{row[c]:.3f}" if c in row else None for c in columns)]
        for model, row in table.items()
    ]
    write_csv(paths[-1], ["model", *columns], lines)
    return paths, [f"no name in eva: {', '.join(sorted(unnamed))}"] if unnamed else []


def _name_of(item: Scored) -> str | None:
    names = NAMES.get(item.entry["metric"], (None, None))
    several = item.rows is not None and len(item.rows["columns"]) > 2
    return names[several]


def _runs(item: Scored) -> list[float]:
    """The value of each run of a protocol that averages runs, else the one value."""
    values = [record["value"] for record in item.entry["per_fold"]]
    if len(values) > 1 and np.isclose(np.mean(values), item.entry["value"], atol=1e-12):
        return values
    return [item.entry["value"]]
