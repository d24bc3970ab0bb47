"""Learning curves: the series of each training run's metrics.jsonl, thinned.

Runs lie in the run folders, or are where a model that was probed came from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.report.figures import find_metrics, read_metrics
from pathjax.report.page.rounded import rounded_list

POINTS = 400  # a panel is some 400 pixels wide
NO_SERIES = ("step", "time")


def checkpoint_folder(text: str | None) -> Path | None:
    """Folder of an entry's `checkpoint`, "PATH sha256:..." or PATH; None without one."""
    if not text:
        return None
    path = Path(text.rsplit(" sha256:", 1)[0])
    return path.parent if path.suffix else path


def training_runs(
    sources: Sequence[Path], entries: Sequence[dict[str, Any]]
) -> dict[str, Path]:
    """Name to folder of the training runs that can be found."""
    found = {name: path.parent for name, path in find_metrics(sources).items()}
    known = {folder.resolve() for folder in found.values()}
    for entry in entries:
        folder = checkpoint_folder(entry["checkpoint"])
        if folder is None or folder.resolve() in known:
            continue
        if (folder / "metrics.jsonl").is_file():
            known.add(folder.resolve())
            found[folder.name if folder.name not in found else str(folder)] = folder
    return found


def thinned(values: np.ndarray, count: int = POINTS) -> np.ndarray:
    """At most `count` of `values`, evenly, the first and the last among them."""
    if len(values) <= count:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def read_curves(runs: dict[str, Path]) -> list[dict[str, Any]]:
    """`run` and `series`: name to steps and values, for each run that logged any.

    Raises:
      ValueError: a metrics.jsonl cannot be read.
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
