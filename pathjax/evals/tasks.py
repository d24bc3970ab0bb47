"""Tasks: what is asked of an embedding, of which rows of which study.

    Task + Study -> Task.problems (nothing is computed on a bad task)
    Task + Study + tile embeddings -> run.run_task -> TaskOutcome

How it is asked is a protocol (protocols.py), how it is scored a metric
(stats/metrics.py).
"""

import dataclasses
import re
from typing import Any

import numpy as np
from jaxtyping import Int, Num, Shaped

from pathjax.data.study import StudyError
from pathjax.evals import EvalError
from pathjax.evals.blocks import missing_columns
from pathjax.evals.protocols import (
    OWN_PROTOCOL,
    OWN_ROBUSTNESS,
    PROTOCOLS,
    Protocol,
)
from pathjax.registry import RegistryError, did_you_mean
from pathjax.stats.metrics import find_metric

# Kind -> its own metric, and what prediction its metrics may need.
METRIC_OF_KIND = {
    "classification": ("balanced_accuracy", ("classes", "scores")),
    "expression": ("pearson", ("values",)),
    "regression": ("pearson", ("values",)),
    "retrieval": ("recall@10", ("hits",)),
    "survival": ("c_index", ("survival",)),
    "robustness": ("robustness_index@11", ("neighbours", "levels", "clusters")),
}
TARGET_OF_KIND = {
    "robustness": "class",
    "classification": "class",
    "regression": "number",
    "survival": "survival",
}
EACH = "*"
SITE = "site"  # a column of every study, which can be asked for as a class


@dataclasses.dataclass(frozen=True)
class Task:
    """One column of the table.

    Attributes:
      name: The column's name; unique in a table.
      study: The study's name.
      target: A target of the study, or "site"; ignored for expression and retrieval.
      kind: "classification", "expression", "regression", "retrieval", "survival" or
        "robustness".
      split, fit, test: The split and its folds. Test "*" is cross-validation: each fold
        of the split is tested once by a probe fitted on all others; `fit` is None then.
      select: The fold that chooses the regularisation; None: cross-validation over the
        fit fold's patients.
      level: "tile" or "sample"; a sample's embedding is the mean of its tiles'. Survival
        is of patients: its rows are the means of a patient's tiles.
      protocol: A name in PROTOCOLS, or `package.module:NAME` of one's own; None is the
        kind's own.
      genes: For expression: how many of the genes most variable over the FIT fold's
        samples, or a list of names.
      classes: For classification: the classes asked for; rows of others are left out
        and counted. Empty: all.
      site_preserved: Fit and test must share no site; the task is refused if they do.
      metric: A name in stats.metrics.METRICS, or `package.module:NAME` of one's own;
        None is the kind's own.
      more_metrics: Further ones of the same fit, each a column of the table beside it.
        The mean delta has the first metric alone.
      blocks_um: For test samples of one patient: intervals and tests are over square
        blocks of this side, in micrometres, as well as over rows. None: over patients.
      site: For robustness: the column of tiles or samples that the class is compared with.
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
    metric: str | None = None
    blocks_um: float | None = None
    site: str = SITE
    more_metrics: tuple[str, ...] = ()

    @property
    def declared(self) -> dict[str, Any]:
        """The fields, as in results; newer ones, such as `blocks_um`, only if set."""
        fields = dataclasses.asdict(self)
        newer: dict[str, Any] = {"blocks_um": None, "site": SITE, "more_metrics": ()}
        return {
            key: value
            for key, value in fields.items()
            if key not in newer or value != newer[key]
        }

    @property
    def protocol_name(self) -> str:
        """The named protocol, or the kind's own; of robustness the metric's."""
        own = OWN_PROTOCOL.get(self.kind, "none")
        if self.kind == "robustness" and self.metric:
            own = OWN_ROBUSTNESS.get(self.metric.split("@")[0], own)
        return self.protocol or own

    def find_protocol(self, **options: Any) -> Protocol:
        """The protocol with these options; `recall@k` and the like set its k."""
        cut = re.fullmatch(r"(?:recall|robustness_index)@(\d+)", self.metric or "")
        if cut:
            options = {"k": int(cut[1])} | options
        return PROTOCOLS[self.protocol_name].with_options(options)

    def metric_name(self, protocol: Protocol) -> str:
        """The named metric, or the kind's own; of retrieval with the protocol's k."""
        if self.kind == "retrieval":
            return f"recall@{getattr(protocol.probe, 'k', 10)}"
        return self.metric or METRIC_OF_KIND[self.kind][0]

    def metric_names(self, protocol: Protocol) -> tuple[str, ...]:
        """`metric_name`, then the further ones."""
        return self.metric_name(protocol), *self.more_metrics

    def asks_site(self, study) -> bool:
        """Whether the site is the class; a target of that name comes first."""
        return self.target == SITE and SITE not in study.targets

    @property
    def crossed(self) -> bool:
        """True for cross-validation over the folds of the split."""
        return self.test == EACH

    @property
    def folds(self) -> dict[str, str | None]:
        """Role -> fold, as in results."""
        return {"fit": self.fit, "select": self.select, "test": self.test}

    def fits(self, study) -> list[dict[str, tuple[str, ...]]]:
        """Role -> folds of each fit: one, or one for each fold of the split."""
        if not self.crossed:
            return [{role: (fold,) for role, fold in self.folds.items() if fold}]
        folds = tuple(study.split(self.split).folds)
        if self.kind == "robustness":  # nothing is fitted on other folds
            return [{"test": folds}]
        return [
            {"fit": tuple(fold for fold in folds if fold != test), "test": (test,)}
            for test in folds
        ]

    def test_tiles(self, study) -> Int[np.ndarray, "n"]:
        """Row numbers into `study.tiles` of everything that is tested."""
        tested = [name for roles in self.fits(study) for name in roles["test"]]
        rows = [study.fold_tiles(self.split, fold) for fold in tested]
        return np.sort(np.concatenate(rows))

    def problems(self, study) -> list[str]:
        """All that keeps the task from being run on the study; empty when nothing."""
        problems = []
        if self.study != study.name:
            problems.append(f"expected study {self.study!r}, got {study.name!r}")
        if self.kind not in METRIC_OF_KIND:
            known = did_you_mean(self.kind, METRIC_OF_KIND)
            return [*problems, f"unknown kind {self.kind!r}; {known}"]
        if self.level not in ("tile", "sample"):
            problems.append(f"expected level tile or sample, got {self.level!r}")
        if self.classes and self.kind not in ("classification", "robustness"):
            problems.append(f"classes are for classification, the kind is {self.kind}")
        for check in (self._protocol_problems, self._target_problems,
                      self._fold_problems, self._block_problems):  # fmt: skip
            try:
                problems += check(study)
            except (RegistryError, EvalError) as error:
                problems.append(str(error))
        return problems

    def _protocol_problems(self, study):
        problems = []
        own, needs = METRIC_OF_KIND[self.kind]
        names = [self.metric or own, *(more := self.more_metrics)]
        for metric in map(find_metric, names):
            if metric.needs not in needs:
                problems.append(
                    f"metric {metric.name} needs {metric.needs}, kind {self.kind} has "
                    + " and ".join(needs)
                )
        if len(set(names)) < len(names):
            problems.append(f"a metric is named twice: {', '.join(names)}")
        if more and self.kind in ("retrieval", "robustness"):
            problems.append(f"more_metrics are not for {self.kind}: make each a task")
        protocol = self.find_protocol()
        name, probe = protocol.name, protocol.probe
        if self.kind not in probe.kinds:
            kinds = " or ".join(probe.kinds)
            problems.append(
                f"protocol {name} is for {kinds}, the task's kind is {self.kind}"
            )
        if probe.samples_only and self.level != "sample":
            problems.append(
                f"protocol {name} is for samples, the level is {self.level}"
            )
        within = study.targets.get(protocol.within) if protocol.within else None
        if protocol.within and (within is None or within.level != "sample"):
            problems.append(
                f"protocol {name} scores within {protocol.within}, which is no target of "
                f"samples of {study.name}: add it, or use ridge/1"
            )
        return problems

    def _target_problems(self, study):
        if self.kind in ("expression", "retrieval"):
            problems = []
            if self.kind == "expression" and not study.has_expression:
                problems.append(f"study {study.name} has no expression")
            if self.level != "sample":
                problems.append(
                    f"kind {self.kind} is for samples, the level is {self.level}"
                )
            return problems
        if self.kind == "robustness":
            table = study.tiles if self.level == "tile" else study.samples
            if self.site not in table:
                return [f"no column {self.site!r} in the {self.level}s of {study.name}"]
        if self.asks_site(study):
            wrong = self.kind != "classification"
            return ["the site can be asked for as a class only"] if wrong else []
        target = study.targets.get(self.target)
        if target is None:
            known = ", ".join(study.targets) or "none"
            return [f"unknown target {self.target!r}; the study has {known}"]
        problems = []
        unknown = [name for name in self.classes if name not in target.classes]
        if unknown and target.classes:
            problems.append(
                f"target {self.target} has no classes {', '.join(unknown)}; it has "
                f"{', '.join(target.classes)}"
            )
        if target.level != self.level:
            problems.append(
                f"target {self.target} is of level {target.level}, the task of "
                f"{self.level}"
            )
        expected = TARGET_OF_KIND[self.kind]
        if target.kind != expected:
            problems.append(
                f"{self.kind} expects a target that is a {expected}, {self.target} is a "
                f"{target.kind}"
            )
        return problems

    def _fold_problems(self, study):
        if self.split not in study.split_names:
            known = ", ".join(study.split_names) or "none"
            return [f"unknown split {self.split!r}; the study has {known}"]
        folds = study.split(self.split).folds
        if self.kind == "robustness":
            named = f"fold {self.test!r} is not in split {self.split}, which has "
            return [
                *(["robustness fits nothing: it takes no fit and select fold"]
                  if self.fit or self.select else []),
                *([named + ", ".join(folds)]
                  if not self.crossed and self.test not in folds else []),
            ]  # fmt: skip
        if self.crossed:
            problems = []
            if self.fit or self.select or self.kind == "retrieval":
                problems.append(
                    'test "*" is cross-validation over all folds of the split: it takes '
                    "no fit and select fold, and is not for retrieval"
                )
            if len(folds) < 2:
                problems.append(
                    f"expected at least 2 folds in split {self.split}, got {len(folds)}"
                )
            return problems
        if self.fit is None and self.kind != "retrieval":
            return ["no fit fold is named"]
        named = {role: fold for role, fold in self.folds.items() if fold is not None}
        problems = [
            f"{role} fold {fold!r} is not in split {self.split}, which has "
            f"{', '.join(folds)}"
            for role, fold in named.items()
            if fold not in folds
        ]
        if len(set(named.values())) < len(named):
            problems.append(f"one fold has two roles: {named}")
        return problems

    def _block_problems(self, study):
        if self.blocks_um is None:
            return []
        problems = []
        if not 0 < self.blocks_um < np.inf:
            problems.append(f"expected blocks_um above 0, got {self.blocks_um}")
        if self.level != "sample":
            problems.append(f"blocks_um is for samples, the level is {self.level}")
        if missing := missing_columns(study):
            problems.append(
                f"blocks_um needs the place of each sample, and samples of {study.name} "
                f"lack {', '.join(missing)}"
            )
        return problems

    def validate(self, study) -> None:
        """Raises EvalError with everything that is wrong, if anything is."""
        problems = self.problems(study)
        if problems:
            raise EvalError(f"task {self.name}: " + "; ".join(problems))


@dataclasses.dataclass(frozen=True)
class TaskOutcome:
    """The result of a task for one set of embeddings.

    Attributes:
      task, study, fingerprint, synthetic: What was asked, and of which data.
      protocol: The protocol's label, with the options that differ from it.
      metric: The metric's name, with k for recall.
      more_metrics: A record of each further one: `metric, value, chance`, and `values`
        by probe seed.
      value, chance: The score of probe seed 0, or the mean of runs, and of guessing.
      truth, prediction: Test rows, the prediction as the metric needs it
        (stats.metric.Metric), or class probabilities for several: truth class numbers
        `[n]`, values `[n, G]` (NaN for a gene that the row's fold did not choose), months
        and events `[n, 2]`, or 1 for retrieval. Averaged runs are axis 1 of the prediction.
      columns: Class names, gene names or directions that number them.
      unit, patient: Ids of the test rows.
      stratum, combine: The protocol's strata, 0 where there are none, and how they make
        one score; a metric may have its own (stats.metric.Metric.grouped).
      shared_patients: Patients on both sides, which the split declares.
      hyper: Everything that was chosen or counted.
      per_fold: A record per probe seed.
      block, slide: Of the test rows, for `blocks_um` (blocks.py) and metrics per slide.
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
    block: Shaped[np.ndarray, "n"] | None = None
    more_metrics: tuple[dict[str, Any], ...] = ()
    slide: Shaped[np.ndarray, "n"] | None = None

    @property
    def n(self) -> int:
        return len(self.patient)

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patient))


def further_column(task: str, metric: str) -> str:
    """The name of the column of a task's further metric."""
    return f"{task} ({metric})"


def validate_all(tasks, studies) -> None:
    """Checks tasks against studies by name; raises one EvalError with all problems."""
    names = [task.name for task in tasks]
    names += [further_column(t.name, name) for t in tasks for name in t.more_metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"task names occur twice: {', '.join(twice)}"] if twice else []
    for task in tasks:
        study = studies.get(task.study)
        if study is None:
            known = ", ".join(studies) or "none"
            own = [f"no study {task.study!r}; there are {known}"]
        else:
            try:
                own = task.problems(study)
            except StudyError as error:  # one unreadable study is one of the problems
                own = [str(error)]
        problems += [f"task {task.name}: {problem}" for problem in own]
    if problems:
        raise EvalError("\n".join(problems))
