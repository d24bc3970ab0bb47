"""Compares models over run folders: values, paired deltas, their intervals and tests.

    RUN/results.json + predictions -> load_runs -> compare -> Table

One bootstrap serves a whole table. Each replicate resamples patients once for all tasks
that share them and for base and tuned alike, and fine-tuning seeds once for all tasks
of a model. The mean delta has its interval from the same replicates and its test from
the same permutations as the tasks. Nothing is rendered here.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.evals.results import read_predictions, read_results
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
    higher_is_better,
    in_order,
    plain_mean,
)
from pathjax.stats.bootstrap import (
    bootstrap_draws,
    mean_over_seeds,
    percentile_interval,
)
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.metric import Terms
from pathjax.stats.metrics import find_metric

PERMUTATIONS = 10_000  # the least p is then 0.0001, and 0.001 after ten tasks' Holm
# Must agree between base and tuned for a delta to mean anything.
SAME = ("study", "study_fingerprint", "kind", "level", "target", "metric", "protocol",
        "combine", "split", "folds")  # fmt: skip
SAME_INPUTS = ("files", "task", "protocol")  # by hash, where they are recorded
SAME_ROWS = ("unit", "patient", "stratum", "columns", "truth")


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
    origin: dict[tuple, Path] = {}
    twice = []
    for run in dict.fromkeys(Path(run).resolve() for run in runs):
        results = read_results(run)
        for entry in results.entries:
            item = Scored(entry, read_predictions(results.root, entry))
            if item.key in loaded:
                twice.append(f"{item.key} in {origin[item.key]} and {results.root}")
            loaded.setdefault(item.key, item)
            origin.setdefault(item.key, results.root)
    if twice:
        raise ReportError(
            f"{len(twice)} results occur twice: {'; '.join(twice[:5])}: name only one "
            "of the folders, or give the models different names"
        )
    if not loaded:
        raise ReportError(f"no entries in {', '.join(map(str, runs))}")
    return list(loaded.values())


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
    problems += _weight_problems(scored)
    if problems:
        raise ReportError(
            "; ".join(problems[:10])
            + ": evaluate all models of a table together, with "
            "the same study, tasks and protocol"
        )


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
        raise ReportError("; ".join(problems))
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


class _Replicates:
    """Terms and bootstrap replicates of every entry, by (model, task, seed)."""

    def __init__(self, scored, grouped: Grouped, replicates: int, seed: int):
        known = [item for item in scored if item.rows is not None]
        self.shared = SharedUnits(
            (item.entry["study"], item.entry["task"], item.rows) for item in known
        )
        # A stream for each part, by its units: two parts of equally many patients must
        # not be resampled alike, and other tasks of the table must not matter.
        draws = {
            part: bootstrap_draws(part.units, replicates, (seed, part.key))
            for part in dict.fromkeys(self.shared.part.values())
        }
        self.terms: dict[tuple, Terms] = {}
        self.samples: dict[tuple, np.ndarray] = {}
        for item in known:
            task, rows = item.entry["task"], item.rows
            self.terms[item.key] = find_metric(item.entry["metric"]).terms(
                rows["truth"],
                rows["prediction"],
                self.shared.unit[task],
                rows["stratum"],
                item.entry["combine"],
            )
            sampled = draws[self.shared.part[task]]
            self.samples[item.key] = self.terms[item.key].evaluate(sampled)
        # Parts have streams of two numbers, seeds of one: they never coincide.
        self.seeds = {
            model: bootstrap_draws(
                len(next(iter(tasks.values()))), replicates, (seed + 1,)
            )
            for model, tasks in grouped.items()
        }

    def over_seeds(self, model: str, samples: list[np.ndarray | None]):
        """Replicates of the mean over seeds; None where rows are missing."""
        if any(one is None for one in samples):
            return None
        return mean_over_seeds(np.stack(samples), self.seeds[model])


def _estimate(value: float, samples: np.ndarray | None, test=None) -> Estimate:
    bounds = () if samples is None else percentile_interval(samples)
    return Estimate(float(value), *bounds, **(vars(test) if test else {}))


def _columns(scored: Sequence[Scored]) -> tuple[Column, ...]:
    first = {item.entry["task"]: item.entry for item in reversed(scored)}
    if MEAN in first:
        raise ReportError(f"a task is called {MEAN!r}, the name of a column: rename it")
    return tuple(
        Column(
            task,
            *(first[task][k] for k in ("metric", "chance", "n", "n_patients")),
            first[task]["protocol"],
            percent=higher_is_better(first[task]["metric"]),
        )
        for task in dict.fromkeys(item.entry["task"] for item in scored)
    )


def compare(
    scored: Sequence[Scored],
    *,
    replicates: int = 5000,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    title: str = "",
) -> Table:
    """Makes the table of everything that was loaded.

    The value of a model is the mean over its seeds; a delta is the tuned minus the base
    value, seed by seed where the base has the same seeds.

    Args:
      scored: Of `load_runs`.
      replicates: Of the bootstrap.
      permutations: Of the tests of deltas.
      seed: Of both.
      title: Above the table.

    Raises:
      ReportError: Models were not scored alike, or bases are missing.
    """
    _require_comparable(scored)
    grouped = _group(scored)
    bases = _bases(grouped)
    columns = _columns(scored)
    signs = {column.task: column.sign for column in columns}
    boot = _Replicates(scored, grouped, replicates, seed)
    rows = []
    for model in in_order(bases):
        tasks, base = grouped[model], bases[model]
        values, changes, pairs = {}, {}, {}
        for task in (column.task for column in columns if column.task in tasks):
            points = {s: item.entry["value"] for s, item in tasks[task].items()}
            samples = {s: boot.samples.get((model, task, s)) for s in points}
            values[task] = _estimate(
                np.mean(list(points.values())),
                boot.over_seeds(model, list(samples.values())),
            )
            if base is None or task not in grouped[base]:
                continue
            theirs = grouped[base][task]
            seeds = _pair_seeds(model, task, tasks[task], theirs)
            gaps, gap_samples = [], []
            for own, other in seeds.items():
                gaps.append(points[own] - theirs[other].entry["value"])
                before = boot.samples.get((base, task, other))
                missing = before is None or samples[own] is None
                gap_samples.append(None if missing else samples[own] - before)
            changes[task] = np.mean(gaps), boot.over_seeds(model, gap_samples)
            if changes[task][1] is not None:
                pairs[task] = [
                    (boot.terms[model, task, own], boot.terms[base, task, other])
                    for own, other in seeds.items()
                ]
        tests, of_mean = permute_deltas(
            pairs,
            boot.shared.part,
            permutations=permutations,
            seed=seed,
            signs=signs,
        )
        deltas = {t: _estimate(*change, tests.get(t)) for t, change in changes.items()}
        mean = plain_mean(deltas, signs)
        if mean and len(pairs) == len(changes):
            samples = [signs[task] * change[1] for task, change in changes.items()]
            mean = _estimate(mean.value, np.mean(samples, axis=0), of_mean)
        is_base, count = model in bases.values(), len(next(iter(tasks.values())))
        rows.append(Row(model, base, is_base, values, deltas, mean, count))
    notes = mean_notes(columns, rows) + notes_of(
        [item.entry for item in scored], rows, replicates, permutations
    )
    return Table(columns, tuple(rows), tuple(notes), title, replicates)


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
