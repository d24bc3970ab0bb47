"""Tasks and protocols: what is asked of an embedding, and exactly how.

    Task + Study -> Task.problems (nothing is computed on a bad task)
    Task + Study + tile embeddings -> run.run_task -> TaskOutcome

A protocol has a name and a version. Changing anything about one that is registered here
makes a new version; options of a single run are named in the label that results carry.
"""

import dataclasses
import difflib
from typing import Any

import numpy as np
from jaxtyping import Num, Shaped

from pathjax.data.study import StudyError

METRIC_OF_KIND = {
    "classification": "balanced_accuracy",
    "expression": "pearson",
    "regression": "pearson",
    "retrieval": "recall",
}
PROBES_OF_KIND = {
    "classification": ("logistic", "knn", "eva_linear"),
    "expression": ("ridge", "knn"),
    "regression": ("ridge", "knn"),
    "retrieval": ("retrieval",),
}


class TaskError(ValueError):
    """A task cannot be run on a study; the message lists all that is wrong."""


def _powers(high: int, low: int, count: int) -> tuple[float, ...]:
    return tuple(float(f"{one:.3g}") for one in np.logspace(high, low, count))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a task is scored.

    Attributes:
      name: "probe/version".
      probe: "logistic", "ridge", "knn", "eva_linear" or "retrieval".
      strengths: the grid, strongest first: penalty per unit of sample weight
        (scikit-learn: C = 1 / (strength * n), alpha = strength * n), or neighbours, or
        for eva_linear learning rates.
      seeds: probe seeds: 0 is the whole fit fold, the others are bootstrap samples of
        its patients. The value is seed 0's; the others show how much the fit fold's
        composition matters. For eva_linear they are runs on the whole fit fold, which
        differ in first parameters and row orders.
      folds: inner folds over patients, where the task names no select fold.
      balanced: classes weigh equally in the loss, as they do in the metric.
      allow_unseen: test classes that the fit fold lacks count as wrong, not as error.
      k: for retrieval.
      per_slide: for retrieval: ask within the slide.
      steps, tolerance: of L-BFGS; steps also of eva_linear.
      batch, weight_decay, warm_epochs: of eva_linear (eva_linear.LinearOptions).
      resample_seed: of inner folds and probe seeds.
    """

    name: str
    probe: str
    strengths: tuple[int | float, ...] = ()
    seeds: int = 5
    folds: int = 5
    balanced: bool = True
    allow_unseen: bool = False
    k: int = 10
    per_slide: bool = False
    steps: int = 300
    tolerance: float = 1e-4
    batch: int = 256
    weight_decay: float = 0.01
    warm_epochs: int = 5
    resample_seed: int = 0

    def with_options(self, options: dict[str, Any]) -> "Protocol":
        """The protocol with other options, which then stand in its name.

        Raises:
          TaskError: unknown options, with the nearest that exist.
        """
        fields = {f.name for f in dataclasses.fields(self)} - {"name", "probe"}
        unknown = sorted(set(options) - fields)
        if unknown:
            near = {one: difflib.get_close_matches(one, fields, 1) for one in unknown}
            raise TaskError(
                f"protocol {self.name} has no option {unknown}; near: {near}; it has "
                f"{', '.join(sorted(fields))}"
            )
        changed = {k: v for k, v in options.items() if v != getattr(self, k)}
        if not changed:
            return self
        label = ", ".join(f"{key}={changed[key]}" for key in sorted(changed))
        return dataclasses.replace(self, **changed, name=f"{self.name} ({label})")


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("linear/1", "logistic", _powers(2, -4, 8)),
        Protocol("ridge/1", "ridge", _powers(3, -3, 13)),
        Protocol("knn/1", "knn", (100, 50, 20, 10, 5, 1)),
        Protocol("retrieval/1", "retrieval"),
        Protocol("eva-linear/1", "eva_linear", (3e-4,), steps=12_500),
        Protocol(
            "eva-linear-docs/1",
            "eva_linear",
            (3e-4,),
            steps=12_500,
            weight_decay=0.0,
            warm_epochs=0,
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One column of the table.

    Attributes:
      name: the column's name; unique in a table.
      study: the study's name.
      target: a target of the study; ignored for expression and retrieval.
      kind: "classification", "expression", "regression" or "retrieval".
      split, fit, test: the split and its folds.
      select: the fold that chooses the strength; None: cross-validation over the fit
        fold's patients.
      level: "tile" or "sample"; a sample's embedding is the mean of its tiles'.
      protocol: a name in PROTOCOLS; None is the kind's own.
      genes: for expression: how many of the genes most variable over the FIT fold's
        samples, or a list of names.
    """

    name: str
    study: str
    target: str | None
    kind: str
    split: str
    fit: str | None
    test: str
    select: str | None = None
    level: str = "sample"
    protocol: str | None = None
    genes: int | tuple[str, ...] = 100

    @property
    def protocol_name(self) -> str:
        """The named protocol, or the kind's own."""
        own = {"classification": "linear/1", "retrieval": "retrieval/1"}
        return self.protocol or own.get(self.kind, "ridge/1")

    @property
    def metric(self) -> str:
        """balanced_accuracy, pearson or recall; "unknown" for an unknown kind."""
        return METRIC_OF_KIND.get(self.kind, "unknown")

    @property
    def folds(self) -> dict[str, str | None]:
        return {"fit": self.fit, "select": self.select, "test": self.test}

    def problems(self, study) -> list[str]:
        """All that keeps the task from being run on the study; empty when nothing."""
        found = []
        if self.study != study.name:
            found.append(f"is for study {self.study!r}, this is {study.name!r}")
        if self.kind not in METRIC_OF_KIND:
            known = ", ".join(METRIC_OF_KIND)
            return [*found, f"kind is {self.kind!r}, wanted one of {known}"]
        if self.level not in ("tile", "sample"):
            found.append(f"level is {self.level!r}, wanted tile or sample")
        protocol = PROTOCOLS.get(self.protocol_name)
        if protocol is None:
            known = ", ".join(PROTOCOLS)
            found.append(f"protocol {self.protocol!r} is unknown; there are {known}")
        elif protocol.probe not in PROBES_OF_KIND[self.kind]:
            found.append(f"protocol {protocol.name} cannot score kind {self.kind}")
        found += self._target_problems(study) + self._fold_problems(study)
        return found

    def _target_problems(self, study) -> list[str]:
        if self.kind in ("expression", "retrieval"):
            found = []
            if self.kind == "expression" and not study.has_expression:
                found.append(f"study {study.name} has no expression")
            if self.level != "sample":
                found.append(f"kind {self.kind} is of samples, level is {self.level}")
            return found
        target = study.targets.get(self.target)
        if target is None:
            known = ", ".join(study.targets) or "none"
            return [f"target {self.target!r} is unknown; the study has {known}"]
        found = []
        if target.level != self.level:
            found.append(
                f"target {self.target} is of level {target.level}, the task of "
                f"{self.level}"
            )
        wanted = "class" if self.kind == "classification" else "number"
        if target.kind != wanted:
            found.append(
                f"target {self.target} is a {target.kind}, {self.kind} wants a {wanted}"
            )
        return found

    def _fold_problems(self, study) -> list[str]:
        if self.split not in study.split_names:
            known = ", ".join(study.split_names) or "none"
            return [f"split {self.split!r} is unknown; the study has {known}"]
        folds = study.split(self.split).folds
        wanted = {role: fold for role, fold in self.folds.items() if fold is not None}
        if self.fit is None and self.kind != "retrieval":
            return ["no fit fold is named"]
        found = [
            f"{role} fold {fold!r} is not in split {self.split}, which has "
            f"{', '.join(folds)}"
            for role, fold in wanted.items()
            if fold not in folds
        ]
        if len(set(wanted.values())) < len(wanted):
            found.append(f"one fold has two roles: {wanted}")
        return found

    def validate(self, study) -> None:
        """Raises TaskError with everything that is wrong, if anything is."""
        found = self.problems(study)
        if found:
            raise TaskError(f"task {self.name}: " + "; ".join(found))


@dataclasses.dataclass(frozen=True)
class TaskOutcome:
    """What a task found for one set of embeddings.

    Attributes:
      task, study, fingerprint, synthetic: what was asked, and of which data.
      protocol: the protocol's label, with the options that differ from it.
      metric: as in results, with k for recall.
      value, chance: of probe seed 0, 0 to 1 (r: -1 to 1).
      truth, prediction: per test row: class numbers `[n]`, values `[n, G]`, or for
        retrieval 1 and hits `[n, 2]`.
      columns: class names, gene names or directions that number them.
      unit, patient: ids of the test rows.
      shared_patients: patients on both sides, which the split declares.
      hyper: everything that was chosen or counted on the way.
      per_fold: a record per probe seed.
    """

    task: Task
    study: str
    fingerprint: str
    synthetic: bool
    protocol: str
    metric: str
    value: float
    chance: float
    truth: Num[np.ndarray, "n *rest"]
    prediction: Num[np.ndarray, "n *more"]
    columns: tuple[str, ...]
    unit: Shaped[np.ndarray, "n"]
    patient: Shaped[np.ndarray, "n"]
    shared_patients: tuple[str, ...]
    hyper: dict[str, Any]
    per_fold: list[dict[str, Any]]

    @property
    def n(self) -> int:
        return len(self.patient)

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patient))


def validate_all(tasks, studies) -> None:
    """Checks tasks against studies by name; raises one TaskError with all problems."""
    found = []
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        found.append(f"task names occur twice: {', '.join(twice)}")
    for task in tasks:
        if task.study not in studies:
            known = ", ".join(studies) or "none"
            found.append(
                f"task {task.name}: no study {task.study!r}; there are {known}"
            )
            continue
        try:
            problems = task.problems(studies[task.study])
        except StudyError as error:  # an unreadable study is one problem among others
            problems = [str(error)]
        found += [f"task {task.name}: {problem}" for problem in problems]
    if found:
        raise TaskError("\n".join(found))
