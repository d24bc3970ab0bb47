"""Runs a task: the problems of its folds, their fits, and one score of all test rows.

    Task, Study, tile embeddings -> rows.prepare -> Probe.fit -> run_task -> TaskOutcome

It does not embed tiles, audit training patients (audit.py) or write files (results.py).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.embeddings.embedding_file import FileRows
from pathjax.evals import EvalError
from pathjax.evals.blocks import block_ids
from pathjax.evals.partial import fit_measured
from pathjax.evals.probes.base import Fit, FoldRows
from pathjax.evals.protocols import Protocol
from pathjax.evals.robustness import run_robustness
from pathjax.evals.row_features import no_features
from pathjax.evals.rows import Prepared, column_of, prepare
from pathjax.evals.tasks import Task, TaskOutcome
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.metric import Metric
from pathjax.stats.metrics import find_metric


def run_task(
    task: Task,
    study,
    features: Float[np.ndarray, "T E"] | FileRows,
    *,
    genes: int | tuple[str, ...] | None = None,
    partner: Float[np.ndarray, "S E"] | None = None,
    **options: Any,
) -> TaskOutcome:
    """Scores one set of embeddings on one task.

    Args:
      task: What is asked.
      study: The Study it is asked of.
      features: Embeddings of all its tiles, in the order of `study.tiles`, in memory
        or in a file.
      genes: Overrides `task.genes`, for example with a checkpoint's list.
      partner: For retrieval: the expression tower's embedding of each sample, in the
        order of `study.samples`.
      **options: Options of the protocol or its probe that differ from the registered
        ones; the outcome's protocol label names them.

    Raises:
      EvalError: The task does not fit the study, a fold leaks, or there is nothing to
        learn from or to test on.
    """
    task.validate(study)
    try:
        return _run(task, study, features, genes, partner, options)
    except EvalError as error:
        raise EvalError(f"task {task.name}: {error}") from error


def _run(task: Task, study, features, genes, partner, options) -> TaskOutcome:
    protocol = task.find_protocol(**options)
    tiles = len(study)
    if features.ndim != 2 or len(features) != tiles:
        raise EvalError(
            f"expected features with one row for each of the {tiles} tiles of "
            f"{study.name}, got shape {features.shape}: embed the study again"
        )
    if task.kind == "robustness":
        return run_robustness(task, study, features, protocol)
    parts, fits = [], []
    names: list[str] = []
    for roles in task.fits(study):
        part, fit = _fit(task, study, features, roles, protocol, genes, partner)
        parts.append(part)
        fits.append(fit)
        names += roles["test"]
    names_of_metrics = task.metric_names(protocol)
    metric, *further = (find_metric(name, task.name) for name in names_of_metrics)
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    test = [part.problem.test for part in parts]
    truths, predictions = [], []
    for part, fit in zip(parts, fits, strict=True):
        true, told = _alike(part, fit, columns)
        truths.append(true)
        predictions.append(told)
    truth = np.concatenate(truths)
    prediction = np.concatenate(predictions, axis=1)
    if {one.needs for one in (metric, *further)} == {"classes"}:
        prediction = prediction.argmax(axis=-1).astype(np.int32)
    else:
        kind = truth.dtype if metric.needs == "values" else np.float32
        prediction = prediction.astype(kind)
    stratum = np.zeros(len(truth), np.int64)
    hyper: dict[str, Any] = {}
    if metric.needs in ("values", "survival"):
        stratum = _strata(study, protocol, parts)
    if metric.needs == "survival":
        hyper["events"] = int(truth[:, 1].sum())
    slide = np.concatenate([rows.slide for rows in test])
    if metric.needs == "values":
        grouped = metric.grouped(stratum, slide, protocol.over_folds)
        r = per_gene_pearson(truth, prediction[0], *grouped)
        asked = ~np.isnan(truth).all(axis=0)
        hyper["constant_genes"] = int((np.isnan(r) & asked).sum())
        if np.isnan(r).all():
            genes = f"all {len(r)} genes are"
            what = f"{task.target} is" if task.kind == "regression" else genes
            within = " of every fold or class" if grouped[0].any() else ""
            raise EvalError(
                f"{what} constant over the {len(truth)} test rows{within}: there is "
                "nothing to correlate. Choose another target or test fold"
            )

    def scores(metric: Metric) -> list[float]:
        runs = map(metric.as_needed, prediction)
        grouped = metric.grouped(stratum, slide, protocol.over_folds)
        return [metric.value(truth, run, *grouped) for run in runs]

    values = scores(metric)
    records = [_record(part, fit) for part, fit in zip(parts, fits, strict=True)]
    strengths: Sequence[Any] = _each_seed(fits[0], len(values))
    if task.crossed:
        hyper["rounds"] = dict(zip(names, records, strict=True))
        each = [_each_seed(fit, len(values)) for fit in fits]
        strengths = [list(seed) for seed in zip(*each, strict=True)]
    else:
        hyper |= records[0]
    # Runs of one fit fold are one result, their mean; bootstrap samples of it are not:
    # there seed 0, the whole fold, is.
    averaged = protocol.probe.averaged
    kept = np.moveaxis(prediction, 0, 1) if averaged else prediction[0]

    def of_seeds(values: list[float]) -> float:
        return float(np.mean(values)) if averaged else values[0]

    more = [
        {
            "metric": name,
            "value": of_seeds(own),
            "chance": one.chance_level(truth),
            "values": own,
        }
        for name, one in zip(names_of_metrics[1:], further, strict=True)
        for own in [scores(one)]
    ]
    if averaged:
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        hyper["stdev_of_runs"] = float(spread)
    chance = fits[0].chance
    return TaskOutcome(
        task=task,
        study=study.name,
        fingerprint=study.fingerprint,
        synthetic=bool(study.synthetic),
        protocol=protocol.name,
        metric=names_of_metrics[0],
        more_metrics=tuple(more),
        value=of_seeds(values),
        chance=metric.chance_level(truth) if chance is None else chance,
        truth=truth,
        prediction=kept,
        columns=columns,
        unit=np.concatenate([rows.unit for rows in test]),
        patient=np.concatenate([rows.patient for rows in test]),
        stratum=stratum,
        combine=protocol.over_folds,
        shared_patients=tuple(sorted(frozenset().union(*(p.shared for p in parts)))),
        hyper=hyper,
        per_fold=[
            {"fold": task.test, "probe_seed": seed, "value": float(v), "strength": s}
            for seed, (v, s) in enumerate(zip(values, strengths, strict=True))
        ],
        block=_blocks(task, study, test),
        slide=slide if "slide" in {one.over for one in (metric, *further)} else None,
    )


def _fit(task, study, features, roles, protocol, genes, partner):
    """A fit, and its rows without their embeddings, so that one fit's are held at once."""
    part = prepare(task, study, features, roles, protocol, genes, partner)
    fit = fit_measured(protocol.probe, part.problem, part.columns)
    rows = {
        role: dataclasses.replace(own, features=no_features(own.index))
        for role, own in part.problem.rows.items()
    }
    problem = dataclasses.replace(part.problem, rows=rows, partner=None)
    return dataclasses.replace(part, problem=problem), fit


def _blocks(task: Task, study, test: Sequence[FoldRows]) -> np.ndarray | None:
    """The test rows' blocks, for tasks that ask for them."""
    if task.blocks_um is None:
        return None
    patients = len(np.unique(np.concatenate([rows.patient for rows in test])))
    if patients > 1:
        raise EvalError(
            f"blocks_um is for test rows of one patient, got {patients} patients, over "
            "whom intervals are then: leave it out, or ask one task per patient"
        )
    each = [block_ids(study, rows, task.blocks_um) for rows in test]
    return np.concatenate(each)


def _each_seed(fit: Fit, seeds: int) -> tuple[float | int | None, ...]:
    """What was chosen for each seed; one choice may serve all."""
    return fit.strength * seeds if len(fit.strength) == 1 else fit.strength


def _record(part: Prepared, fit: Fit) -> dict[str, Any]:
    """What was chosen or counted for one fit."""
    record = part.info | fit.info
    record["n_test"] = len(part.problem.test)
    learned = part.problem.rows.get("fit")
    if learned is not None:
        record |= {
            "strength": fit.strength[0],
            "n_fit": len(learned),
            "n_fit_patients": len(np.unique(learned.patient)),
        }
    return record


def _strata(study, protocol: Protocol, parts: Sequence[Prepared]):
    """Numbers of what values and pairs are scored within: the test fold, the class of `within`."""
    keys = []
    for place, part in enumerate(parts):
        rows = part.problem.test
        inside = [""] * len(rows)
        if protocol.within:
            column = column_of(study, "sample", protocol.within, rows)
            inside = column.astype(object).fillna("").astype(str)
        keys += [f"{place} {name}" for name in inside]
    return np.unique(keys, return_inverse=True)[1]


def _alike(part: Prepared, fit: Fit, columns: tuple[str, ...]):
    """A fit's truth and prediction in the genes or classes of all fits."""
    labels, own = part.problem.labels["test"], part.columns
    if not part.problem.classes:
        both = (labels, fit.prediction)
        return [_spread(values, own, columns, np.nan) for values in both]
    number = np.array([columns.index(name) for name in own], labels.dtype)
    return number[labels], _spread(fit.prediction, own, columns, 0.0)


def _spread(values, own: tuple[str, ...], columns: tuple[str, ...], other: float):
    """Values put in their places among those of all fits."""
    if own == columns:
        return values
    wide = np.full((*values.shape[:-1], len(columns)), other, values.dtype)
    wide[..., [columns.index(name) for name in own]] = values
    return wide
