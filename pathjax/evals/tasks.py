"""Tasks: what is asked of an embedding, of which rows of which study.

    Task + Study -> Task.problems (nothing is computed on a bad task)
    Task + Study + tile embeddings -> run.run_task -> TaskOutcome

How it is asked is a protocol (protocols.py).
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int, Num, Shaped

from pathjax.data.study import StudyError
from pathjax.evals.protocols import OWN_PROTOCOL, PROBES_OF_KIND, PROTOCOLS

METRIC_OF_KIND = {
    "classification": "balanced_accuracy",
    "expression": "pearson",
    "regression": "pearson",
    "retrieval": "recall",
}
EACH = "*"


class TaskError(ValueError):
    """A task cannot be run on a study; the message lists all that is wrong."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One column of the table.

    Attributes:
      name: the column's name; unique in a table.
      study: the study's name.
      target: a target of the study; ignored for expression and retrieval.
      kind: "classification", "expression", "regression" or "retrieval".
      split, fit, test: the split and its folds. Test "*" is cross-validation: each fold
        of the split is tested once by a probe fitted on all others; `fit` is None then.
      select: the fold that chooses the strength; None: cross-validation over the fit
        fold's patients.
      level: "tile" or "sample"; a sample's embedding is the mean of its tiles'.
      protocol: a name in PROTOCOLS; None is the kind's own.
      genes: for expression: how many of the genes most variable over the FIT fold's
        samples, or a list of names.
      classes: for classification: the classes asked for; rows of others are left out
        and counted. Empty: all.
      site_preserved: fit and test have to share no site; it is refused if they do.
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
    classes: tuple[str, ...] = ()
    site_preserved: bool = False

    @property
    def protocol_name(self) -> str:
        """The named protocol, or the kind's own."""
        return self.protocol or OWN_PROTOCOL.get(self.kind, "none")

    @property
    def crossed(self) -> bool:
        """True for cross-validation over the folds of the split."""
        return self.test == EACH

    @property
    def metric(self) -> str:
        """balanced_accuracy, pearson or recall; "unknown" for an unknown kind."""
        return METRIC_OF_KIND.get(self.kind, "unknown")

    @property
    def folds(self) -> dict[str, str | None]:
        """Role -> fold, as it stands in results."""
        return {"fit": self.fit, "select": self.select, "test": self.test}

    def rounds(self, study) -> list[dict[str, tuple[str, ...]]]:
        """Role -> folds of each fit: one round, or one for each fold of the split."""
        if not self.crossed:
            named = {role: fold for role, fold in self.folds.items() if fold}
            return [{role: (fold,) for role, fold in named.items()}]
        folds = tuple(study.split(self.split).folds)
        return [
            {"fit": tuple(one for one in folds if one != test), "test": (test,)}
            for test in folds
        ]

    def test_tiles(self, study) -> Int[np.ndarray, "n"]:
        """Row numbers into `study.tiles` of everything that is tested."""
        tested = [name for one in self.rounds(study) for name in one["test"]]
        rows = [study.fold_tiles(self.split, fold) for fold in tested]
        return np.sort(np.concatenate(rows))

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
        else:
            found += self._protocol_problems(study, protocol)
        found += self._target_problems(study) + self._fold_problems(study)
        return found

    def _protocol_problems(self, study, protocol) -> list[str]:
        found = []
        if protocol.probe not in PROBES_OF_KIND[self.kind]:
            found.append(f"protocol {protocol.name} cannot score kind {self.kind}")
        if protocol.probe == "abmil" and self.level != "sample":
            found.append(
                f"protocol {protocol.name} is of samples, level is {self.level}"
            )
        within = study.targets.get(protocol.within) if protocol.within else None
        if protocol.within and (within is None or within.level != "sample"):
            found.append(
                f"protocol {protocol.name} takes r within {protocol.within}, which is "
                f"no target of samples of {study.name}: add it, or use ridge/1"
            )
        if self.classes and self.kind != "classification":
            found.append(f"classes are named, and kind {self.kind} has none")
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
        strange = [one for one in self.classes if one not in target.classes]
        if strange and target.classes:
            found.append(
                f"target {self.target} has no classes {', '.join(strange)}; it has "
                f"{', '.join(target.classes)}"
            )
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
        if self.crossed:
            found = []
            if self.fit or self.select or self.kind == "retrieval":
                found.append(
                    'test "*" is cross-validation over all folds of the split: it goes '
                    "without fit and select, and not with retrieval"
                )
            if len(folds) < 2:
                found.append(f"split {self.split} has {len(folds)} fold, wanted 2")
            return found
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
      value, chance: of probe seed 0 or the mean of runs, 0 to 1 (r: -1 to 1).
      truth, prediction: per test row: class numbers `[n]`, predicted ones `[n, R]`
        where R runs are averaged; values `[n, G]` (NaN for a gene that the row's fold
        did not choose); or for retrieval 1 and hits `[n, 2]`.
      columns: class names, gene names or directions that number them.
      unit, patient: ids of the test rows.
      stratum: number of the stratum that r is taken within, 0 where all are pooled.
      combine: how strata make one r (statistics.Terms).
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
    stratum: Int[np.ndarray, "n"]
    combine: str
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
