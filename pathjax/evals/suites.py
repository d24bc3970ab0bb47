"""The shipped lists of tasks, by name; a JSON file is a list of one's own.

A task is a declaration; `pathjax probe --tasks NAME_OR_FILE.json` runs a list.
"""

import dataclasses
import functools
import json
from pathlib import Path

from pathjax.data.sources.benchmarks.benchmark import Benchmark
from pathjax.data.sources.benchmarks.registry import BENCHMARKS
from pathjax.evals.tasks import Task, TaskError


def _demo() -> list[Task]:
    """Two tile-level and five patient-level tasks on patients never fine-tuned on."""

    def task(name: str, target: str | None, kind: str = "classification", **more):
        folds = {"split": "cohort", "fit": "probe_fit", "test": "probe_test"}
        return Task(name, "demo", target, kind, **(folds | more))

    return [
        task("tissue", "tile_class", level="tile"),
        task("cancer type", "cancer_type"),
        task("TP53", "tp53"),
        task("subtype", "subtype"),
        task("MSI", "msi"),
        task("purity", "purity", "regression"),
        task("expression", None, "expression", genes=100),
    ]


def _her2st() -> list[Task]:
    """Expression, cluster and retrieval, on a new section and on a new patient.

    Cluster ids are per patient, so clusters of another patient cannot be asked for.
    """

    def task(name: str, target: str | None, kind: str, test: str, **more):
        return Task(name, "her2st", target, kind, "c_sections", "train", test, **more)

    found = []
    for label, fold in (("C5", "new_section"), ("B4", "new_patient")):
        found.append(task(f"expression {label}", None, "expression", fold, genes=100))
        if fold == "new_section":
            found.append(task(f"cluster {label}", "cluster", "classification", fold))
        found.append(
            dataclasses.replace(task(f"recall@10 {label}", None, "retrieval", fold),
                                fit=None)
        )  # fmt: skip
    return found


def _her2st_dev() -> list[Task]:
    """The same on section C4 after C2 and C3: for choosing hyper-parameters."""
    return [
        Task("expression C4", "her2st", None, "expression", "c_sections_dev",
             "train", "val", genes=100),
        Task("cluster C4", "her2st", "cluster", "classification", "c_sections_dev",
             "train", "val"),
        Task("recall@10 C4", "her2st", None, "retrieval", "c_sections_dev",
             None, "val"),
    ]  # fmt: skip


def _benchmark(benchmark: Benchmark) -> list[Task]:
    """The public benchmark's classes, fitted on its train fold, on its scored one.

    Where there is a val fold that is not scored, it chooses the strength.
    """
    select = "val" if "val" in benchmark.counts and benchmark.scored != "val" else None
    return [
        Task(benchmark.name, benchmark.name, "label", "classification", "benchmark",
             "train", benchmark.scored, select, level="tile"),
    ]  # fmt: skip


SUITES = {"demo": _demo, "her2st": _her2st, "her2st-dev": _her2st_dev} | {
    name: functools.partial(_benchmark, one) for name, one in BENCHMARKS.items()
}


def load_tasks(name: str) -> list[Task]:
    """The tasks of a shipped list, or of a JSON file: a list of objects.

    Raises:
      TaskError: neither, or an object with unknown or missing keys.
    """
    if name in SUITES:
        return SUITES[name]()
    path = Path(name)
    if not path.is_file():
        raise TaskError(
            f"no list of tasks {name!r}: there are {', '.join(SUITES)}, or give a JSON "
            "file"
        )
    fields = {field.name for field in dataclasses.fields(Task)}
    tasks, found = [], []
    for place, entry in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        unknown = sorted(set(entry) - fields)
        if unknown:
            found.append(
                f"task {place} has unknown keys {', '.join(unknown)}; there are "
                f"{', '.join(sorted(fields))}"
            )
            continue
        if isinstance(entry.get("genes"), list):
            entry["genes"] = tuple(entry["genes"])
        try:
            tasks.append(Task(**entry))
        except TypeError as error:
            found.append(f"task {place}: {error}")
    if found:
        raise TaskError(f"{path}: " + "; ".join(found))
    return tasks
