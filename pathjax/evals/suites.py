"""The shipped lists of tasks, by name; a JSON file is a list of one's own.

A task is a declaration; `pathjax evaluate --tasks NAME_OR_FILE.json` runs a list.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

from pathjax.datasets.benchmarks import BENCHMARKS
from pathjax.evals import EvalError
from pathjax.evals.tasks import Task
from pathjax.registry import did_you_mean


def _demo() -> list[Task]:
    """Two tile-level and five patient-level tasks on patients never fine-tuned on."""

    def task(name: str, target: str | None, kind: str = "classification", **more):
        return Task(
            name, "demo", target, kind, "cohort", "probe_fit", "probe_test", **more
        )

    return [
        task("tissue", "tile_class", level="tile"),
        task("cancer type", "cancer_type"),
        task("TP53", "tp53"),
        task("subtype", "subtype"),
        task("MSI", "msi"),
        task("purity", "purity", "regression"),
        task("expression", None, "expression", genes=100),
    ]


def _her2st_fold(label: str, split: str, test: str, cluster: bool = True) -> list[Task]:
    """Expression, cluster and retrieval on one fold.

    Cluster ids are per patient, so clusters of another patient cannot be asked for.
    """

    def task(name, target, kind, fit="train", **more):
        return Task(f"{name} {label}", "her2st", target, kind, split, fit, test, **more)

    return [
        task("expression", None, "expression", genes=100),
        *([task("cluster", "cluster", "classification")] if cluster else []),
        task("recall@10", None, "retrieval", fit=None),
    ]


def _her2st() -> list[Task]:
    """On a new section and on a new patient."""
    return [
        *_her2st_fold("C5", "c_sections", "new_section"),
        *_her2st_fold("B4", "c_sections", "new_patient", cluster=False),
    ]


def _her2st_dev() -> list[Task]:
    """On section C4 after C2 and C3: for choosing hyper-parameters."""
    return _her2st_fold("C4", "c_sections_dev", "val")


def _benchmark(name: str, column: str | None = None) -> Task:
    """A public benchmark's classes, fitted on its train fold, on its scored one.

    eva's linear probe: where there is a val fold that is not scored, it chooses the
    epoch; else the scored fold does, as in eva.
    """
    known = BENCHMARKS[name]
    select = "val" if "val" in known.counts and known.scored != "val" else None
    return Task(column or name, name, "label", "classification", "benchmark", "train",
                known.scored, select, level="tile", protocol="eva-linear/1")  # fmt: skip


EVA = {
    "BACH": "bach",
    "BreakHis": "breakhis",
    "BRACS": "bracs",
    "CRC": "crc",
    "Gleason": "gleason",
    "MHIST": "mhist",
    "PCam test": "pcam",
}
# Column, target and classes of patients in the study that `pathjax data tcga` makes.
TCGA = {
    "TCGA cancer type": ("cancer_type", ()),
    "TCGA TP53": ("tp53", ("mutated", "wild type")),
    "TCGA breast IDC/ILC": ("breast", ("IDC", "ILC")),
    "TCGA breast PAM50": ("pam50", ("LumA", "LumB", "Her2", "Basal", "Normal")),
    "TCGA kidney": ("kidney", ("KIRC", "KIRP", "KICH")),
    "TCGA lung": ("lung", ("LUAD", "LUSC")),
}


def _benchmarks(**columns: str) -> list[Task]:
    """The tile benchmarks of kaiko's eva, as it runs them; column name to set."""
    return [_benchmark(name, column) for column, name in columns.items()]


def _tcga(protocol: str | None = None) -> list[Task]:
    """Patients that fine-tuning has not seen: classes of them, and expression."""
    folds = ("cohort", "probe_fit", "probe_test")
    classes = [
        Task(column, "tcga", target, "classification", *folds, classes=classes,
             protocol=protocol)
        for column, (target, classes) in TCGA.items()
    ]  # fmt: skip
    if protocol:
        return classes
    return [
        *classes,
        Task("TCGA expression", "tcga", None, "expression", *folds,
             protocol="tcga-expression/1", genes=1000),
    ]  # fmt: skip


def _tcga_regions() -> list[Task]:
    """For tens of patients: cross-validation, and cancer types with three or more."""

    def task(column, target, kind, **more):
        return Task(column, "tcga", target, kind, "cv5", None, "*", **more)

    return [
        task("TCGA cancer type", "cancer_type", "classification",
             classes=("BRCA", "KIRC", "KIRP", "LUAD", "LUSC", "PRAD")),
        task("TCGA TP53", "tp53", "classification"),
        task("TCGA expression", None, "expression", genes=100,
             protocol="tcga-expression-pan/1"),
    ]  # fmt: skip


def _ten(breast: str) -> list[Task]:
    """The ten columns of Table 1, with one of the two breast subtypings."""
    tiles = {name: EVA[name] for name in ("BACH", "PCam test", "MHIST")}
    patients = [
        task
        for task in _tcga()
        if not task.name.startswith("TCGA breast") or task.name == breast
    ]
    return _benchmarks(**tiles, **{"CRC-MSI": "crc-msi"}) + patients


SUITES: dict[str, Callable[[], list[Task]]] = {
    "ten": lambda: _ten("TCGA breast IDC/ILC"),
    "ten-pam50": lambda: _ten("TCGA breast PAM50"),
    "eva": lambda: _benchmarks(**EVA),
    "tcga": _tcga,
    "tcga-abmil": lambda: _tcga("eva-abmil/1"),
    "tcga-regions": _tcga_regions,
    "demo": _demo,
    "her2st": _her2st,
    "her2st-dev": _her2st_dev,
} | {name: functools.partial(_benchmarks, **{name: name}) for name in BENCHMARKS}


def load_tasks(name: str) -> list[Task]:
    """The tasks of a shipped list, or of a JSON file: a list of objects.

    Raises:
      EvalError: Neither, or an object with unknown or missing keys.
    """
    if name in SUITES:
        return SUITES[name]()
    path = Path(name)
    if not path.is_file():
        raise EvalError(
            f"unknown list of tasks {name!r}; {did_you_mean(name, SUITES)}. Your own is "
            "a JSON file"
        )
    fields = {field.name for field in dataclasses.fields(Task)}
    tasks, problems = [], []
    for place, entry in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        unknown = [key for key in entry if key not in fields]
        problems += [
            f"task {place}: unknown key {key!r}; {did_you_mean(key, fields)}"
            for key in unknown
        ]
        if unknown:
            continue
        entry = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        try:
            tasks.append(Task(**entry))
        except TypeError as error:
            problems.append(f"task {place}: {error}")
    if problems:
        raise EvalError(f"{path}: " + "; ".join(problems))
    return tasks
