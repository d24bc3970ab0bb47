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
    BLOCK,
    chosen_on_scored_rows,
    read_predictions,
    read_results,
)
from pathjax.registry import source_hashes
from pathjax.report.notes import mean_notes, notes_of
from pathjax.report.paired import permute_deltas
from pathjax.report.scores import LeftOut, Scored, Scores
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
from pathjax.stats.interval import LARGEST_DELTA, interval, seed_error
from pathjax.stats.metrics import find_metric

MANY = 20  # tasks, beyond which a table has q-values
PERMUTATIONS = 10_000  # the least p is then 0.0001, and 0.001 after ten tasks' Holm
# Must agree between base and tuned for a delta to mean anything.
SAME = ("study", "study_fingerprint", "kind", "level", "target", "metric", "protocol",
        "combine", "split", "folds")  # fmt: skip
SAME_INPUTS = ("files", "task", "protocol", "code")  # by hash, if recorded
SAME_ROWS = ("unit", "patient", "stratum", "columns", "truth", BLOCK)
log = logging.getLogger(__name__)


def load_runs(runs: Sequence[str | Path]) -> list[Scored]:
    """Reads run folders in order; an item of each metric, see `Scored.each_metric`.

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
            whole = Scored(entry, read_predictions(results.root, entry))
            for item in whole.each_metric():
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
            own, theirs = item.rows.get(key), known.rows.get(key)
            if (own is None) != (theirs is None) or (
                own is not None and not np.array_equal(own, theirs, equal_nan=nan)
            ):
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


def _columns(scored: Sequence[Scored], unscored) -> tuple[Column, ...]:
    first = {item.entry["task"]: item.entry for item in reversed(scored)}
    if MEAN in first:
        raise ReportError(f"a task is called {MEAN!r}, the name of a column: rename it")
    failed = (entry["task"] for entry in unscored if entry["task"] not in first)
    return *(
        Column(
            task,
            *(first[task][k] for k in ("metric", "chance", "n", "n_patients")),
            *(first[task][k] for k in ("protocol", "kind")),
            percent=find_metric(first[task]["metric"], in_file=True).higher_is_better,
            optimistic=chosen_on_scored_rows(first[task]),
            n_blocks=first[task].get("n_blocks"),
            of=first[task].get("of", ""),
        )
        for task in dict.fromkeys(item.entry["task"] for item in scored)
    ), *map(Column, dict.fromkeys(failed))


def _as_it_is(column: Column) -> bool:
    """Whether tests leave a score's bias in: the estimate of it is mostly noise.

    With it they err too often (docs/robustness.md, docs/statistics.md).
    """
    return column.kind == "robustness" or column.metric == "auprc"


def compare(
    scored: Sequence[Scored],
    *,
    unscored: Sequence[dict[str, Any]] = (),
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    title: str = "",
    q_values: bool = False,
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
      q_values: Have them also where there are no more than MANY tasks.

    Raises:
      ReportError: Models were not scored alike, or bases are missing.
      RegistryError: A metric is code that the user has not imported.
    """
    _require_comparable(scored)
    grouped = _group(scored)
    bases = _bases(grouped)
    columns = _columns(scored, unscored)
    averaged = {column.task for column in columns if column.averaged}
    further = {column.task for column in columns if column.of}
    q_values = q_values or len(columns) - len(further) > MANY
    scores = Scores(scored)
    rows = []
    for model in in_order(bases):
        tasks, base = grouped[model], bases[model]
        values, gaps = {}, {}
        changes: dict[str, LeftOut] = {}
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
            if own is not None and before is not None:
                changes[task] = own - before
        mean_parts = scores.mean_parts(
            {task: one.units for task, one in changes.items() if task in averaged}
        )
        tests, of_mean = permute_deltas(
            {task: one.units for task, one in changes.items()},
            scores.shared,
            permutations=permutations,
            seed=seed,
            averaged=averaged,
            uncorrected={c.task for c in columns if _as_it_is(c)},
            further=further,
            mean_error=seed_error(mean_parts),
        )
        if not q_values:
            tests = {k: dataclasses.replace(one, q=None) for k, one in tests.items()}
        deltas = {
            task: scores.estimate_delta(gap, task, changes.get(task), tests.get(task))
            for task, gap in gaps.items()
        }
        in_mean = [task for task in gaps if task in averaged]
        mean = plain_mean([deltas[task] for task in in_mean])
        if of_mean and all(task in changes for task in in_mean):
            limits = [LARGEST_DELTA[scores.scale[task]] for task in in_mean]
            bounds = interval(mean_parts, limit=float(np.mean(limits)))
            mean = Estimate(mean.value, *bounds, **vars(of_mean))
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
        if entry["kind"] != "expression" or rows is None or "of" in entry:
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
