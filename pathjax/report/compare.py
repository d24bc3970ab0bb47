"""Compares models over run folders: values, paired deltas, their intervals and tests.

    RUN/results.json + predictions -> load_runs -> compare -> Table

A patient is left out of all tasks that share patients, and of base and tuned model alike,
so that deltas and their mean have paired intervals. The mean delta has its test from the
same permutations as the tasks. Nothing is rendered here.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.data.study import listing
from pathjax.evals.results import (
    chosen_on_scored_rows,
    read_predictions,
    read_results,
)
from pathjax.registry import source_hashes
from pathjax.report.notes import mean_notes, notes_of
from pathjax.report.paired import SharedUnits, permute_deltas
from pathjax.report.table_data import (
    MEAN,
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    check_bases,
    in_order,
    plain_mean,
)
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.interval import LARGEST_DELTA, interval, left_out
from pathjax.stats.metric import Terms
from pathjax.stats.metrics import find_metric

PERMUTATIONS = 10_000  # the least p is then 0.0001, and 0.001 after ten tasks' Holm
# Must agree between base and tuned for a delta to mean anything.
SAME = ("study", "study_fingerprint", "kind", "level", "target", "metric", "protocol",
        "combine", "split", "folds")  # fmt: skip
SAME_INPUTS = ("files", "task", "protocol", "code")  # by hash, if recorded
SAME_ROWS = ("unit", "patient", "stratum", "columns", "truth")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Scored:
    """An entry of results.json with its rows (None where they were not saved)."""

    entry: dict[str, Any]
    rows: dict[str, np.ndarray] | None

    @property
    def key(self) -> tuple[str, str, Any]:
        """Model, task, seed."""
        return self.entry["model"], self.entry["task"], self.entry["seed"]


def load_runs(runs: Sequence[str | Path]) -> list[Scored]:
    """Reads run folders in order.

    Raises:
      ReportError: No entry at all, or one model, seed and task in two folders.
      EvalError: A folder cannot be read.
    """
    loaded: dict[tuple, Scored] = {}
    reasons = []
    origin: dict[tuple, Path] = {}
    twice = []
    for run in dict.fromkeys(Path(run).resolve() for run in runs):
        results = read_results(run)
        reasons += [entry["reason"] for entry in results.unscored]
        for entry in results.entries:
            item = Scored(entry, read_predictions(results.root, entry))
            if item.key in loaded:
                twice.append(f"{item.key} in {origin[item.key]} and {results.root}")
            loaded.setdefault(item.key, item)
            origin.setdefault(item.key, results.root)
    if twice:
        raise ReportError(
            f"{len(twice)} results occur twice: {listing(twice)}: name only one "
            "of the folders, or give the models different names"
        )
    if not loaded:
        raise ReportError(
            "; ".join([f"no entries in {', '.join(map(str, runs))}", *reasons[:5]])
        )
    return list(loaded.values())


def load_unscored(runs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What could not be scored in the run folders, as in `Results.unscored`."""
    folders = dict.fromkeys(Path(run).resolve() for run in runs)
    return [entry for run in folders for entry in read_results(run).unscored]


Grouped = dict[str, dict[str, dict[Any, Scored]]]


def _group(scored: Sequence[Scored]) -> Grouped:
    """model -> task -> seed -> scored, in order of first appearance."""
    grouped: Grouped = {}
    for item in scored:
        model, task, seed = item.key
        grouped.setdefault(model, {}).setdefault(task, {})[seed] = item
    return grouped


def _require_comparable(scored: Sequence[Scored]) -> None:
    """Rejects a task that was not the same for all models."""
    first: dict[str, Scored] = {}
    problems = []
    for item in scored:
        model, task, seed = item.key
        known = first.setdefault(task, item)
        who, other = f"task {task}: {model} (seed {seed})", known.entry["model"]
        for key in SAME:
            own, theirs = item.entry[key], known.entry[key]
            if own != theirs:
                problems.append(f"{who} has {key} {own!r}, {other} {theirs!r}")
        for key in SAME_INPUTS:
            own, theirs = (
                one.entry.get("inputs", {}).get(key) for one in (item, known)
            )
            if own and theirs and own != theirs:
                problems.append(f"{who} was scored on other {key} than {other}")
        if item.rows is None or known.rows is None:
            continue
        for key in SAME_ROWS:
            # NaN is a gene that a fold did not choose; it chose the same for all.
            nan = key == "truth"
            if not np.array_equal(item.rows[key], known.rows[key], equal_nan=nan):
                problems.append(f"{who} was tested on other rows ({key}) than {other}")
                break
    problems += _weight_problems(scored) + _metric_problems(scored)
    if problems:
        raise ReportError(
            listing(problems) + ": evaluate all models of a table together, with "
            "the same study, tasks and protocol"
        )


def _metric_problems(scored: Sequence[Scored]) -> list[str]:
    """Values by other code of one's own metric than their intervals would be."""
    problems = []
    for item in scored:
        name, code = item.entry["metric"], item.entry.get("inputs", {}).get("code", {})
        now = source_hashes(name, find_metric(name, in_file=True))
        if now.keys() - code:
            words = "%s, %s: which code of metric %s it is by was not recorded"
            log.warning(words, *item.key[:2], name)
        if any(code.get(module, digest) != digest for module, digest in now.items()):
            problems.append(
                f"task {item.key[1]}: {item.key[0]} was scored by other code of metric "
                f"{name} than there is now (run the same `pathjax evaluate` again)"
            )
    return problems


def _weight_problems(scored: Sequence[Scored]) -> list[str]:
    """Seeds of the same weights, and bases other than those that were compared with."""
    weights: dict[tuple[str, str], list[str]] = {}
    for item in scored:
        known = item.entry.get("inputs", {}).get("weights")
        weights.setdefault(item.key[:2], []).extend([known] if known else [])
    problems = [
        f"task {task}: several seeds of {model} have the same weights"
        for (model, task), known in weights.items()
        if len(set(known)) < len(known)
    ]
    for item in scored:
        base, (model, task, seed) = item.entry["base"], item.key
        expected = item.entry.get("inputs", {}).get("base_weights")
        known = weights.get((base, task)) if base else None
        if expected and known and set(expected) != set(known):
            problems.append(
                f"task {task}: {model} (seed {seed}) was scored beside other weights of "
                f"{base}"
            )
    return problems


def _bases(grouped: Grouped) -> dict[str, str | None]:
    """Model -> base; all entries of a model have to agree on base and seeds."""
    bases, problems = {}, []
    for model, tasks in grouped.items():
        named = {item.entry["base"] for by in tasks.values() for item in by.values()}
        if len(named) > 1:
            problems.append(f"{model} names several bases: {sorted(map(str, named))}")
        bases[model] = next(iter(named))
        if len({frozenset(by) for by in tasks.values()}) > 1:
            listed = ", ".join(
                f"{t}: {sorted(map(str, by))}" for t, by in tasks.items()
            )
            problems.append(f"{model} has not the same seeds for all tasks ({listed})")
    if problems:
        raise ReportError(listing(problems))
    check_bases(bases)
    return bases


def _pair_seeds(model: str, task: str, tuned: dict, base: dict) -> dict[Any, Any]:
    """Seed of the tuned model -> seed of the base that it is compared with."""
    if set(tuned) <= set(base):
        return {seed: seed for seed in tuned}
    if len(base) == 1:
        return dict.fromkeys(tuned, next(iter(base)))
    raise ReportError(
        f"{model}, {task}: seeds {sorted(map(str, tuned))} cannot be paired with the "
        f"base's {sorted(map(str, base))}: expected one base, or one base per seed"
    )


class _Scores:
    """Terms of every entry, and its scores without each patient, by its key."""

    def __init__(self, scored: Sequence[Scored]):
        known = [item for item in scored if item.rows is not None]
        self.shared = SharedUnits(
            (item.entry["study"], item.entry["task"], item.rows) for item in known
        )
        self.terms: dict[tuple, Terms] = {}
        self.left_out: dict[tuple, np.ndarray] = {}
        self.scale: dict[str, str] = {}
        for item in known:
            task, rows = item.entry["task"], item.rows
            metric = find_metric(item.entry["metric"], task, in_file=True)
            self.scale[task] = metric.scale
            self.terms[item.key] = metric.terms(
                rows["truth"],
                rows["prediction"],
                self.shared.unit[task],
                rows["stratum"],
                item.entry["combine"],
            )
            units = self.shared.part[task].units
            self.left_out[item.key] = left_out(self.terms[item.key], units)

    def of(self, model: str, task: str, seeds) -> np.ndarray | None:
        """`[S, 1 + U]` scores of these seeds; None where rows are missing."""
        keys = [(model, task, seed) for seed in seeds]
        if any(key not in self.left_out for key in keys):
            return None
        return np.stack([self.left_out[key] for key in keys])

    def estimate(self, value: float, task: str, scores) -> Estimate:
        """A score with its interval."""
        bounds: tuple = ()
        if scores is not None:
            bounds = interval([self._own(task, scores)], self.scale[task])
        return Estimate(float(value), *bounds)

    def estimate_delta(self, value: float, task: str, deltas, test) -> Estimate:
        """A delta with its test and its interval, which is within what can occur."""
        bounds: tuple = ()
        if deltas is not None:
            limit = LARGEST_DELTA[self.scale[task]]
            bounds = interval([self._own(task, deltas)], limit=limit)
        return Estimate(float(value), *bounds, **(vars(test) if test else {}))

    def _own(self, task: str, scores: np.ndarray) -> np.ndarray:
        """Without the units of the part's other tasks, which do not count here."""
        own = self.shared.own(task)
        return scores if own is None else scores[:, np.append(0, 1 + own)]

    def mean_interval(self, deltas: dict[str, np.ndarray]) -> tuple[float, float]:
        """Of the mean of tasks' deltas; parts of the table are independent."""
        parts = []
        for part in dict.fromkeys(self.shared.part[task] for task in deltas):
            # Leaving out a patient of this part leaves the other parts' tasks alone.
            each = [
                delta if self.shared.part[task] == part else delta[:, :1]
                for task, delta in deltas.items()
            ]
            parts.append(sum(each) / len(each))
        limits = [LARGEST_DELTA[self.scale[task]] for task in deltas]
        return interval(parts, limit=float(np.mean(limits)))


def _columns(scored: Sequence[Scored], unscored) -> tuple[Column, ...]:
    first = {item.entry["task"]: item.entry for item in reversed(scored)}
    if MEAN in first:
        raise ReportError(f"a task is called {MEAN!r}, the name of a column: rename it")
    failed = (entry["task"] for entry in unscored if entry["task"] not in first)
    return *(
        Column(
            task,
            *(first[task][k] for k in ("metric", "chance", "n", "n_patients")),
            first[task]["protocol"],
            percent=find_metric(first[task]["metric"], in_file=True).higher_is_better,
            optimistic=chosen_on_scored_rows(first[task]),
        )
        for task in dict.fromkeys(item.entry["task"] for item in scored)
    ), *map(Column, dict.fromkeys(failed))


def compare(
    scored: Sequence[Scored],
    *,
    unscored: Sequence[dict[str, Any]] = (),
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    title: str = "",
) -> Table:
    """Makes the table of everything that was loaded.

    The value of a model is the mean over its seeds; a delta is the tuned minus the base
    value, seed by seed where the base has the same seeds.

    Args:
      scored: Of `load_runs`.
      unscored: Of `load_unscored`.
      permutations: Of the tests of deltas.
      seed: Of the permutations.
      title: Above the table.

    Raises:
      ReportError: Models were not scored alike, or bases are missing.
      RegistryError: A metric is code that the user has not imported.
    """
    _require_comparable(scored)
    grouped = _group(scored)
    bases = _bases(grouped)
    columns = _columns(scored, unscored)
    signs = {column.task: column.sign for column in columns}
    scores = _Scores(scored)
    rows = []
    for model in in_order(bases):
        tasks, base = grouped[model], bases[model]
        values, gaps, pairs = {}, {}, {}
        changes: dict[str, np.ndarray | None] = {}
        for task in (column.task for column in columns if column.task in tasks):
            points = {s: item.entry["value"] for s, item in tasks[task].items()}
            own = scores.of(model, task, points)
            values[task] = scores.estimate(np.mean(list(points.values())), task, own)
            if base is None or task not in grouped[base]:
                continue
            theirs = grouped[base][task]
            seeds = _pair_seeds(model, task, tasks[task], theirs)
            gaps[task] = np.mean(
                [points[s] - theirs[other].entry["value"] for s, other in seeds.items()]
            )
            before = scores.of(base, task, seeds.values())
            missing = own is None or before is None
            changes[task] = None if missing else own - before
            if not missing:
                pairs[task] = [
                    (scores.terms[model, task, s], scores.terms[base, task, other])
                    for s, other in seeds.items()
                ]
        tests, of_mean = permute_deltas(
            pairs,
            scores.shared.part,
            permutations=permutations,
            seed=seed,
            signs=signs,
        )
        deltas = {
            task: scores.estimate_delta(gaps[task], task, change, tests.get(task))
            for task, change in changes.items()
        }
        mean = plain_mean(deltas, signs)
        if mean and len(pairs) == len(changes):
            bounds = scores.mean_interval(
                {task: signs[task] * change for task, change in changes.items()}
            )
            mean = Estimate(mean.value, *bounds, **(vars(of_mean) if of_mean else {}))
        is_base, count = model in bases.values(), len(next(iter(tasks.values())))
        rows.append(Row(model, base, is_base, values, deltas, mean, count))
    notes = mean_notes(columns, rows) + notes_of(
        [item.entry for item in scored], columns, rows, permutations, unscored
    )
    return Table(columns, tuple(rows), tuple(notes), title)


def gene_correlations(
    scored: Sequence[Scored],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """task -> model -> (gene names, r of each gene, mean over seeds), for expression."""
    r: dict[str, dict[str, list[np.ndarray]]] = {}
    names = {}
    for item in scored:
        entry, rows = item.entry, item.rows
        if entry["kind"] != "expression" or rows is None:
            continue
        each = per_gene_pearson(
            rows["truth"], rows["prediction"], rows["stratum"], entry["combine"]
        )
        r.setdefault(entry["task"], {}).setdefault(entry["model"], []).append(each)
        names.setdefault((entry["task"], entry["model"]), rows["columns"])
    return {
        task: {m: (names[task, m], np.mean(each, axis=0)) for m, each in models.items()}
        for task, models in r.items()
    }
