"""The shipped lists of tasks, by name; a JSON file is a list of one's own.

A task is a declaration; `pathjax evaluate --tasks NAME_OR_FILE.json` runs a list.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pathjax.data.study import listing
from pathjax.datasets.benchmarks import BENCHMARKS
from pathjax.evals import EvalError
from pathjax.evals.tasks import Task
from pathjax.files import mismatch, read_json
from pathjax.registry import did_you_mean

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
UNFITTED = ("retrieval", "robustness")  # kinds without a fit fold
PROBED: dict[str, Any] = {"split": "cohort", "fit": "probe_fit", "test": "probe_test"}


def _classes(name: str, study: str, target: str, **more) -> Task:
    return Task(name, study, target, "classification", **more)


def _genes(name: str, study: str, genes: int, **more) -> Task:
    return Task(name, study, None, "expression", genes=genes, **more)


def _demo(test: str = "probe_test") -> list[Task]:
    """Two tile-level and five patient-level tasks on patients never fine-tuned on."""
    probed = PROBED | {"test": test}
    patients = {"cancer type": "cancer_type", "TP53": "tp53", "subtype": "subtype",
                "MSI": "msi"}  # fmt: skip
    return [
        _classes("tissue", "demo", "tile_class", level="tile", **probed),
        *(
            _classes(name, "demo", target, **probed)
            for name, target in patients.items()
        ),
        Task("purity", "demo", "purity", "regression", **probed),
        _genes("expression", "demo", 100, **probed),
    ]


def _her2st_fold(label: str, split: str, test: str, cluster: bool = True) -> list[Task]:
    """Expression, cluster and retrieval on one fold.

    Cluster ids are per patient, so clusters of another patient cannot be asked for.
    """
    folds: dict[str, Any] = {"split": split, "fit": "train", "test": test}
    folds["blocks_um"] = 1000.0  # neighbouring spots are alike: five pitches
    clusters = _classes(f"cluster {label}", "her2st", "cluster", **folds)
    return [
        _genes(f"expression {label}", "her2st", 100, **folds),
        *([clusters] if cluster else []),
        Task(
            f"recall@10 {label}", "her2st", None, "retrieval", **folds | {"fit": None}
        ),
    ]


def _her2st() -> list[Task]:
    """On a new section and on a new patient."""
    return [
        *_her2st_fold("C5", "c_sections", "new_section"),
        *_her2st_fold("B4", "c_sections", "new_patient", cluster=False),
    ]


def _benchmarks(columns: dict[str, str], held_out: bool = False) -> list[Task]:
    """Public tile benchmarks with eva's linear probe; column name to set.

    Fitted on the train fold, scored on the benchmark's own. Where there is a val fold
    that is not scored, it chooses the epoch. Else the scored fold does, as in eva, or,
    `held_out`, a fifth of the train fold.
    """
    tasks = []
    for column, name in columns.items():
        known = BENCHMARKS[name]
        select = "val" if "val" in known.counts and known.scored != "val" else None
        inside = held_out and select is None
        task = Task(
            *(column, name, "label", "classification"),
            *("benchmark", "train", known.scored, select),
            level="tile",
            protocol="eva-linear-heldout/1" if inside else "eva-linear/1",
        )
        tasks.append(task)
    return tasks


def _tcga(protocol: str | None = None) -> list[Task]:
    """Patients that fine-tuning has not seen: classes of them, and expression."""
    tasks = [
        _classes(column, "tcga", target, classes=classes, protocol=protocol, **PROBED)
        for column, (target, classes) in TCGA.items()
    ]
    if protocol is None:
        expression = "tcga-expression/1"
        tasks += [
            _genes("TCGA expression", "tcga", 1000, protocol=expression, **PROBED)
        ]
    return tasks


def _tcga_regions() -> list[Task]:
    """For tens of patients: cross-validation, and cancer types with three or more."""
    crossed = {"split": "cv5", "fit": None, "test": "*"}
    types = ("BRCA", "KIRC", "KIRP", "LUAD", "LUSC", "PRAD")
    pan = "tcga-expression-pan/1"
    return [
        _classes("TCGA cancer type", "tcga", "cancer_type", classes=types, **crossed),
        _classes("TCGA TP53", "tcga", "tp53", **crossed),
        _genes("TCGA expression", "tcga", 100, protocol=pan, **crossed),
    ]


def _ten(breast: str) -> list[Task]:
    """The ten columns of Table 1, with one of the two breast subtypings."""
    tiles = {name: EVA[name] for name in ("BACH", "PCam test", "MHIST")}
    tiles["CRC-MSI"] = "crc-msi"
    patients = [
        task
        for task in _tcga()
        if not task.name.startswith("TCGA breast") or task.name == breast
    ]
    return _benchmarks(tiles, held_out=True) + patients


SUITES: dict[str, Callable[[], list[Task]]] = {
    "ten": lambda: _ten("TCGA breast IDC/ILC"),
    "ten-pam50": lambda: _ten("TCGA breast PAM50"),
    "eva": lambda: _benchmarks(EVA),
    "tcga": _tcga,
    "tcga-abmil": lambda: _tcga("eva-abmil/1"),
    "tcga-regions": _tcga_regions,
    "demo": _demo,
    # On the patients that validate the training: for choosing a recipe.
    "demo-dev": lambda: _demo("finetune_val"),
    "her2st": _her2st,
    # On section C4 after C2 and C3: for choosing hyper-parameters.
    "her2st-dev": lambda: _her2st_fold("C4", "c_sections_dev", "val"),
} | {name: functools.partial(_benchmarks, {name: name}) for name in BENCHMARKS}


def site_tasks(tasks: Sequence[Task]) -> list[Task]:
    """How well the site can be told, on the folds of each study's first task."""
    first: dict[str, Task] = {}
    for task in tasks:
        if task.kind not in UNFITTED:
            first.setdefault(task.study, task)
    return [
        dataclasses.replace(
            task,
            name="site" if len(first) == 1 else f"site ({task.study})",
            target="site",
            kind="classification",
            protocol=None,
            metric="site_accuracy",
            more_metrics=(),
            classes=(),
            site_preserved=False,
            blocks_um=None,
        )
        for task in first.values()
    ]


# The shape of a task in JSON, see `files.mismatch`.
TASK: dict[str, Any] = {
    **dict.fromkeys(("name", "study", "kind", "split", "test"), str),
    **dict.fromkeys(("target", "fit"), (str, type(None))),
    **dict.fromkeys(("select?", "level?", "protocol?", "metric?", "site?"), str),
    "genes?": (int, list),
    "classes?": [str],
    "more_metrics?": [str],
    "site_preserved?": bool,
    "blocks_um?": (int, float),
}


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
    try:
        entries = read_json(path, [dict])
    except ValueError as error:
        raise EvalError(f"{error}; expected a list of tasks") from error
    tasks, problems = [], [] if entries else ["it lists no task"]
    for place, entry in enumerate(entries):
        fields = [field.name for field in dataclasses.fields(Task)]
        unknown = [
            f"unknown key {key!r}; {did_you_mean(key, fields)}"
            for key in entry
            if key not in fields
        ]
        if found := unknown or _task_problems(entry):
            problems += [f"task {place}: {problem}" for problem in found]
            continue
        # What is null is as if it were not there.
        given = {k: v for k, v in entry.items() if v is not None or k in TASK}
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        tasks.append(Task(**values))
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        problems.append(f"several tasks are called {', '.join(map(repr, twice))}")
    if problems:
        raise EvalError(f"{path}: {listing(problems)}")
    return tasks


def _task_problems(entry: dict[str, Any]) -> list[str]:
    problem = mismatch(entry, TASK, "the task")
    genes = entry.get("genes")
    if not problem and isinstance(genes, list):
        problem = mismatch(genes, [str], "genes")
    if not problem and not entry["name"].strip():
        problem = "expected a name"
    return [problem] if problem else []
