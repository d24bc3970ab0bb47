"""Sections made from results and training runs: genes, curves, audit, provenance.

Training runs are those in the run folders, and those that evaluated checkpoints come
from. Files that are recognised by their content are read in `files.py`.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.buckets import shown
from pathjax.evals.results import Results
from pathjax.files import command_line, mismatch, read_json
from pathjax.report.compare import gene_correlations
from pathjax.report.figures import find_metrics, read_metrics
from pathjax.report.scores import Scored
from pathjax.report.table_data import Table

POINTS = 400  # a panel is some 400 pixels wide
NO_SERIES = ("step", "time")
# Without the lists of genes and of patients, which would be most of the page.
SHOWN_IN_CONFIG = ("config", "study", "versions", "parameters")
SHARED = ("patients", "barcodes", "slides")
AUDIT = [
    {
        **dict.fromkeys(("task", "against", "status"), str),
        "beyond": [str],
        **{f"{what}?": [str] for what in SHARED},
        "pretrained_on?": {str: (int, float, str, bool)},
    }
]


def rounded(value: float | None, digits: int = 4) -> float | int | None:
    """`value` with that many significant digits; None when it is not finite.

    JSON has no NaN, and digits that no pixel shows would make up most of the file.
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def rounded_list(values: Iterable[float]) -> list:
    """`rounded` of each."""
    return [rounded(float(value)) for value in values]


def gene_tables(scored: Sequence[Scored], table: Table) -> list[dict[str, Any]]:
    """For each expression task: `task`, `genes`, and `models` in the table's order.

    A model has `name`, `base` (None where that was not scored on the task) and `r`, a
    value per gene: the mean over seeds of Pearson's r, null for a constant gene.
    """
    bases = {row.name: row.base for row in table.rows}
    out = []
    for task, models in gene_correlations(scored).items():
        genes = [str(gene) for gene in next(iter(models.values()))[0]]
        shown = []
        for name in (name for name in bases if name in models):
            base = bases[name] if bases[name] in models else None
            shown.append(
                {"name": name, "base": base, "r": rounded_list(models[name][1])}
            )
        out.append({"task": task, "genes": genes, "models": shown})
    return out


def checkpoint_folder(text: str | None) -> Path | None:
    """Folder of an entry's `checkpoint`, "PATH sha256:..." or PATH; None without one."""
    if not text:
        return None
    path = Path(text.rsplit(" sha256:", 1)[0])
    return path.parent if path.suffix else path


def training_runs(
    sources: Sequence[Path], entries: Sequence[dict[str, Any]]
) -> dict[str, Path]:
    """Name to folder of the training runs that still exist."""
    runs = {name: path.parent for name, path in find_metrics(sources).items()}
    known = {folder.resolve() for folder in runs.values()}
    for entry in entries:
        folder = checkpoint_folder(entry["checkpoint"])
        if folder is None or folder.resolve() in known:
            continue
        if (folder / "metrics.jsonl").is_file():
            known.add(folder.resolve())
            runs[folder.name if folder.name not in runs else str(folder)] = folder
    return runs


def thinned(values: np.ndarray, count: int = POINTS) -> np.ndarray:
    """At most `count` of `values`, evenly spaced, including the first and the last."""
    if len(values) <= count:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def read_curves(runs: dict[str, Path]) -> list[dict[str, Any]]:
    """`run` and `series`: name to steps and values, for each run that logged any.

    Raises:
      ValueError: A metrics.jsonl cannot be read.
    """
    out = []
    for run, folder in runs.items():
        series = {
            name: [thinned(steps).tolist(), rounded_list(thinned(values))]
            for name, (steps, values) in read_metrics(folder / "metrics.jsonl").items()
            if name not in NO_SERIES
        }
        if series:
            out.append({"run": run, "series": series})
    return out


def is_audit(content: Any) -> bool:
    """Whether JSON is a list of `pathjax audit`'s records."""
    return bool(content) and not mismatch(content, AUDIT)


def read_audit(path: Path) -> list[dict[str, Any]]:
    """The records of an audit file.

    Raises:
      ValueError: It holds something else.
    """
    try:
        return read_json(path, AUDIT)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected a list of `pathjax audit`'s records"
        ) from error


def audit_records(
    results: Sequence[Results], more: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What evaluation recorded of each model and task, then `more` records, each once."""
    recorded = [
        {**entry["audit"], "task": entry["task"], "against": entry["model"]}
        for result in results
        for entry in result.entries
    ]
    shown = {}
    for record in [*recorded, *more]:
        line = {
            "task": record["task"],
            "against": record["against"],
            "status": record.get("status", "not audited"),
            "overlap": bool(record.get("beyond")),
            "shared": {what: list(record[what]) for what in SHARED if record.get(what)},
            "pretrained_on": record.get("pretrained_on") or {},
        }
        shown.setdefault(json.dumps(line, sort_keys=True), line)
    return list(shown.values())


def describe_origin(
    results: Sequence[Results], runs: dict[str, Path]
) -> dict[str, Any]:
    """Provenance of the numbers.

    Args:
      results: Of the run folders.
      runs: Training runs, name to folder.

    Returns:
      `written`: provenance of each run folder; `studies`, `models`, `protocols`:
      records, each once; `configs`: run and settings, as `KEY=VALUE` lines; `commands`:
      those on record, in the order in which they have to be run.
    """
    studies, models, protocols = {}, {}, {}
    for entry in (entry for result in results for entry in result.entries):
        studies[entry["study"], entry["study_fingerprint"]] = {
            "study": entry["study"],
            "fingerprint": entry["study_fingerprint"],
            "synthetic": entry["synthetic"],
        }
        models[entry["model"], entry["seed"]] = {
            key: entry[key] for key in ("model", "base", "seed", "checkpoint")
        }
        protocols.setdefault(entry["protocol"], {})[entry["task"]] = None
    configs = {run: _read(folder / "config.json") for run, folder in runs.items()}
    return {
        "written": [{"folder": shown(r.root), **r.provenance} for r in results],
        "studies": list(studies.values()),
        "models": list(models.values()),
        "protocols": [
            {"protocol": name, "tasks": list(tasks)}
            for name, tasks in protocols.items()
        ],
        "configs": [
            {"run": run, "lines": _settings(config)}
            for run, config in configs.items()
            if config is not None
        ],
        "commands": _commands(results, configs.values()),
    }


def _read(path: Path) -> dict[str, Any] | None:
    # config.json of a run, or study.json.
    shape = {"config?": {"study?": str}, "provenance?": {"command?": str}}
    return read_json(path, shape) if path.is_file() else None


def _settings(config: dict[str, Any]) -> list[str]:
    parts = [(part, config[part]) for part in SHOWN_IN_CONFIG if part in config]
    return [line for part, value in parts for line in _flat(part, value)]


def _flat(path: str, value: Any) -> list[str]:
    if not isinstance(value, dict) or not value:
        return [f"{path}={json.dumps(value)}"]
    return [
        line for key, below in value.items() for line in _flat(f"{path}.{key}", below)
    ]


def _commands(results: Sequence[Results], configs: Iterable) -> list[str]:
    """Commands on record: those that built the studies, evaluated, and made this page."""
    commands = []
    for config in configs:
        study = ((config or {}).get("config") or {}).get("study")
        built = (_read(Path(study) / "study.json") if study else None) or {}
        commands.append((built.get("provenance") or {}).get("command"))
    commands += [result.provenance.get("command") for result in results]
    commands.append(command_line())
    return list(dict.fromkeys(text for text in commands if text))
