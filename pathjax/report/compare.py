"""Compares models over run folders: values, paired deltas, their intervals and tests.

    RUN/results.json + predictions -> load_runs -> compare -> Table

One bootstrap serves a whole table. In each replicate patients are drawn once for all
tasks that share them and for base and tuned alike; fine-tuning seeds are drawn once for
all tasks of a model. The interval of the mean delta follows from the same replicates,
and its test from the same permutations as the tasks'.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.evals.results import read_predictions, read_results
from pathjax.report.notes import notes_of
from pathjax.report.permuted import Tested, permute_deltas
from pathjax.report.shared_units import SharedUnits
from pathjax.report.table_data import (
    MEAN,
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    check_bases,
    in_order,
    mean_notes,
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
# What base and tuned have to have in common for a delta to mean anything.
SAME = (
    "study",
    "study_fingerprint",
    "kind",
    "level",
    "target",
    "metric",
    "protocol",
    "combine",
    "split",
    "folds",
)


@dataclasses.dataclass(frozen=True)
class Scored:
    """One entry with its rows (None where they were not saved)."""

    entry: dict[str, Any]
    rows: dict[str, np.ndarray] | None


def load_runs(runs: Sequence[str | Path]) -> list[Scored]:
    """Reads run folders in order.

    Raises:
      ReportError: no entry at all, or one model, seed and task in two folders.
      ResultsError: a folder cannot be read.
    """
    found: dict[tuple, Scored] = {}
    origin: dict[tuple, Path] = {}
    twice = []
    for run in dict.fromkeys(Path(one).resolve() for one in runs):
        results = read_results(run)
        for entry in results.entries:
            key = (entry["model"], entry["seed"], entry["task"])
            if key in found:
                twice.append(f"{key} in {origin[key]} and {results.root}")
                continue
            found[key] = Scored(entry, read_predictions(results.root, entry))
            origin[key] = results.root
    if twice:
        raise ReportError(
            f"{len(twice)} results occur twice: {'; '.join(twice[:5])}: name one "
            "folder only, or give the models different names"
        )
    if not found:
        raise ReportError(f"no entries in {', '.join(map(str, runs))}")
    return list(found.values())


def _group(scored: Sequence[Scored]) -> dict[str, dict[str, dict[Any, Scored]]]:
    """model -> task -> seed -> scored, in order of first appearance."""
    grouped: dict[str, dict[str, dict[Any, Scored]]] = {}
    for one in scored:
        tasks = grouped.setdefault(one.entry["model"], {})
        tasks.setdefault(one.entry["task"], {})[one.entry["seed"]] = one
    return grouped


def _require_comparable(scored: Sequence[Scored]) -> None:
    """Refuses a task that was not the same thing for all models."""
    first: dict[str, Scored] = {}
    found = []
    for one in scored:
        entry, known = one.entry, first.setdefault(one.entry["task"], one)
        who = f"task {entry['task']}: {entry['model']} (seed {entry['seed']})"
        other = known.entry["model"]
        for key in SAME:
            if entry[key] != known.entry[key]:
                found.append(
                    f"{who} has {key} {entry[key]!r}, {other} {known.entry[key]!r}"
                )
        if one.rows is None or known.rows is None:
            continue
        for key in ("unit", "patient", "stratum", "columns", "truth"):
            # NaN is a gene that a fold did not choose; it chose the same for all.
            nan = key == "truth"
            if not np.array_equal(one.rows[key], known.rows[key], equal_nan=nan):
                found.append(f"{who} was tested on other rows ({key}) than {other}")
                break
    if found:
        raise ReportError(
            "; ".join(found[:10]) + ": probe all models of a table with the same "
            "study, tasks and protocol"
        )


def _bases(grouped) -> dict[str, str | None]:
    bases, found = {}, []
    for model, tasks in grouped.items():
        named = {one.entry["base"] for by in tasks.values() for one in by.values()}
        if len(named) > 1:
            found.append(f"{model} names several bases: {sorted(map(str, named))}")
        bases[model] = next(iter(named))
        seeds = {task: frozenset(by) for task, by in tasks.items()}
        if len(set(seeds.values())) > 1:
            told = ", ".join(f"{t}: {sorted(map(str, s))}" for t, s in seeds.items())
            found.append(f"{model} has not the same seeds for all tasks ({told})")
    if found:
        raise ReportError("; ".join(found))
    check_bases(bases)
    return bases


def _terms(one: Scored, unit: np.ndarray) -> Terms:
    rows, metric = one.rows, find_metric(one.entry["metric"])
    return metric.terms(
        rows["truth"],
        rows["prediction"],
        unit,
        rows["stratum"],
        one.entry["combine"],
    )


def _pair_seeds(model: str, task: str, tuned: dict, base: dict) -> dict[Any, Any]:
    """Seed of the tuned model -> seed of the base that it is compared with."""
    if set(tuned) <= set(base):
        return {seed: seed for seed in tuned}
    if len(base) == 1:
        return dict.fromkeys(tuned, next(iter(base)))
    raise ReportError(
        f"{model}, {task}: seeds {sorted(map(str, tuned))} cannot be paired with the "
        f"base's {sorted(map(str, base))}: wanted one base, or one base per seed"
    )


class _Replicates:
    """Terms and bootstrap replicates of every entry, and draws of seeds."""

    def __init__(self, scored, grouped, replicates: int, seed: int):
        self.shared = SharedUnits(
            (one.entry["study"], one.entry["task"], one.rows)
            for one in scored
            if one.rows is not None
        )
        # A stream for each part, by its units: two parts of equally many patients must
        # not be drawn alike, and what other tasks are there must not matter.
        draws = {
            part: bootstrap_draws(part.units, replicates, (seed, part.key))
            for part in dict.fromkeys(self.shared.part.values())
        }
        self.terms: dict[tuple, Terms] = {}
        self.samples: dict[tuple, np.ndarray] = {}
        for one in scored:
            if one.rows is not None:
                task = one.entry["task"]
                key = (one.entry["model"], task, one.entry["seed"])
                self.terms[key] = terms = _terms(one, self.shared.unit[task])
                self.samples[key] = terms.evaluate(draws[self.shared.part[task]])
        self.seeds: dict[str, np.ndarray] = {}
        for model, tasks in grouped.items():
            count = len(next(iter(tasks.values())))
            # Another stream than any part's, which are of two numbers.
            self.seeds[model] = bootstrap_draws(count, replicates, (seed + 1,))

    def over_seeds(self, model: str, parts: list[np.ndarray | None]):
        """Replicates of the mean over seeds; None where rows are lacking."""
        if any(part is None for part in parts):
            return None
        return mean_over_seeds(np.stack(parts), self.seeds[model])


def _estimate(value: float, samples: np.ndarray | None) -> Estimate:
    if samples is None:
        return Estimate(float(value))
    return Estimate(float(value), *percentile_interval(samples))


def _tested(estimate: Estimate, test: Tested | None) -> Estimate:
    return estimate if test is None else dataclasses.replace(estimate, **vars(test))


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
      scored: of `load_runs`.
      replicates: of the bootstrap.
      permutations: of the tests of deltas.
      seed: of both.
      title: above the table.

    Raises:
      ReportError: models were not scored alike, or bases are missing.
    """
    _require_comparable(scored)
    grouped = _group(scored)
    bases = _bases(grouped)
    names = dict.fromkeys(one.entry["task"] for one in scored)
    if MEAN in names:
        raise ReportError(f"a task is called {MEAN!r}, the name of a column: rename it")
    signs = {
        one.entry["task"]: 1
        if find_metric(one.entry["metric"]).higher_is_better
        else -1
        for one in scored
    }
    drawn = _Replicates(scored, grouped, replicates, seed)
    rows = []
    for model in in_order(bases):
        tasks, base = grouped[model], bases[model]
        values, deltas, together, pairs_of = {}, {}, [], {}
        for task in (name for name in names if name in tasks):
            by_seed = tasks[task]
            points = {s: one.entry["value"] for s, one in by_seed.items()}
            samples = {s: drawn.samples.get((model, task, s)) for s in by_seed}
            values[task] = _estimate(
                np.mean(list(points.values())),
                drawn.over_seeds(model, list(samples.values())),
            )
            if base is None or task not in grouped[base]:
                continue
            theirs = grouped[base][task]
            pairs = _pair_seeds(model, task, by_seed, theirs)
            gaps, gap_samples = [], []
            for own, other in pairs.items():
                gaps.append(points[own] - theirs[other].entry["value"])
                before = drawn.samples.get((base, task, other))
                missing = before is None or samples[own] is None
                gap_samples.append(None if missing else samples[own] - before)
            delta = drawn.over_seeds(model, gap_samples)
            deltas[task] = _estimate(np.mean(gaps), delta)
            together.append(None if delta is None else signs[task] * delta)
            if delta is not None:
                pairs_of[task] = [
                    (drawn.terms[model, task, own], drawn.terms[base, task, other])
                    for own, other in pairs.items()
                ]
        tests, of_mean = permute_deltas(
            pairs_of,
            drawn.shared.part,
            permutations=permutations,
            seed=seed,
            signs=signs,
        )
        deltas = {task: _tested(one, tests.get(task)) for task, one in deltas.items()}
        mean = plain_mean(deltas, signs)
        if mean and all(part is not None for part in together):
            mean = _estimate(mean.value, np.mean(together, axis=0))
            mean = _tested(mean, of_mean)
        is_base = model in bases.values()
        count = len(next(iter(tasks.values())))
        rows.append(Row(model, base, is_base, values, deltas, mean, count))
    first = {one.entry["task"]: one.entry for one in reversed(scored)}
    columns = tuple(
        Column(
            task,
            first[task]["metric"],
            first[task]["chance"],
            first[task]["n"],
            first[task]["n_patients"],
            first[task]["protocol"],
        )
        for task in names
    )
    ordered = tuple(rows)
    notes = mean_notes(columns, ordered) + notes_of(
        [one.entry for one in scored], ordered, replicates, permutations
    )
    return Table(columns, ordered, tuple(notes), title, replicates)


def gene_correlations(
    scored: Sequence[Scored],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """task -> model -> (gene names, r of each gene, mean over seeds), for expression."""
    out: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for model, tasks in _group(scored).items():
        for task, by_seed in tasks.items():
            parts = [
                one
                for one in by_seed.values()
                if one.entry["kind"] == "expression" and one.rows is not None
            ]
            if parts:
                r = [
                    per_gene_pearson(
                        one.rows["truth"],
                        one.rows["prediction"],
                        one.rows["stratum"],
                        one.entry["combine"],
                    )
                    for one in parts
                ]
                names = parts[0].rows["columns"]
                out.setdefault(task, {})[model] = (names, np.mean(r, axis=0))
    return out
