"""Runs a task: folds to weights, the probe's sweep, and its score on the test fold.

    Task, Study, tile embeddings -> run_task -> TaskOutcome

It does not embed tiles, audit training patients (audit.py) or write files (results.py).
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.evals import logistic, probes
from pathjax.evals.eva_task import eva_linear_task
from pathjax.evals.labels import (
    Folds,
    class_labels,
    drop,
    expression_labels,
    number_labels,
    require_rows,
)
from pathjax.evals.plan import Plan, PlanError, make_plan
from pathjax.evals.retrieval import recall_at_k
from pathjax.evals.rows import fold_rows
from pathjax.evals.statistics import balanced_accuracy, chance_level, mean_pearson
from pathjax.evals.tasks import PROTOCOLS, Protocol, Task, TaskError, TaskOutcome


def _check_features(task: Task, study, features) -> np.ndarray:
    features = np.asarray(features)
    tiles = len(study.tiles)
    if features.ndim != 2 or len(features) != tiles:
        raise TaskError(
            f"task {task.name}: features have shape {features.shape}, wanted one row "
            f"for each of the {tiles} tiles of {study.name}: embed the study again"
        )
    return features


def _require_finite(task: Task, study, features, tiles) -> None:
    """Tiles of no fold may hold anything: they need not have been embedded."""
    bad = tiles[~np.isfinite(features[tiles]).all(axis=1)]
    if bad.size:
        raise TaskError(
            f"task {task.name}: {bad.size} of {len(tiles)} embeddings are not finite, "
            f"first tile {study.tiles['tile_id'].iloc[bad[0]]}: the tiles were not "
            "embedded, or the encoder's parameters or input are broken"
        )


def _collect(task: Task, study, features) -> Folds:
    """The folds' rows; refuses rows and undeclared patients on both sides."""
    rows = {
        role: None
        if fold is None
        else fold_rows(study, task.level, task.split, fold, features)
        for role, fold in task.folds.items()
    }
    empty = [role for role, part in rows.items() if part is not None and not len(part)]
    if empty:
        raise TaskError(f"task {task.name}: folds without a row: {', '.join(empty)}")
    for part in rows.values():
        if part is not None:
            _require_finite(task, study, features, part.tiles)
    test = rows["test"]
    learned = [part for part in (rows["fit"], rows["select"]) if part is not None]
    shared: set[str] = set()
    for part in learned:
        both = np.intersect1d(part.unit, test.unit)
        if both.size:
            raise TaskError(
                f"task {task.name}: {both.size} {task.level}s are in fit and test, "
                f"first {both[0]}: split {task.split} leaks"
            )
        shared |= set(part.patient.tolist()) & set(test.patient.tolist())
    undeclared = sorted(shared - set(study.split(task.split).shared_patients))
    if undeclared:
        raise TaskError(
            f"task {task.name}: {len(undeclared)} patients are in fit and test, first "
            f"{undeclared[:5]}: split by patient, or declare them in the split's "
            "shared_patients; the table will then say so"
        )
    return Folds(rows["fit"], rows["select"], test, tuple(sorted(shared)))


def _plan(task: Task, study, folds: Folds, labels, protocol: Protocol):
    """Weights for the sweep, over patients; slides where the split has one patient."""
    parts = [folds.fit] + ([folds.select] if folds.select is not None else [])
    unit = "patient"
    one_patient = len(np.unique(folds.fit.patient)) == 1
    if one_patient and study.split(task.split).unit == "slide_id":
        # A split that holds slides of one patient apart is chosen inside by slide too.
        unit = "slide"
    ids = np.concatenate([getattr(part, unit) for part in parts])
    groups = np.unique(ids, return_inverse=True)[1]
    select = np.repeat([False, True][: len(parts)], [len(part) for part in parts])
    try:
        plan = make_plan(
            groups,
            select,
            labels if labels.ndim == 1 else None,
            seeds=protocol.seeds,
            folds=protocol.folds,
            seed=protocol.resample_seed,
        )
    except PlanError as error:
        raise TaskError(f"task {task.name}: {error}") from error
    return plan, unit


def _bucket(rows: int) -> int:
    """Rows rounded up a little, so that tasks of about one size share a compile."""
    step = max(64, 2 ** (max(rows, 1).bit_length() - 4))
    return -(-rows // step) * step


def _pad(array: np.ndarray, axis: int = 0) -> np.ndarray:
    """Zero rows up to the bucket; as weights they make the other rows not count."""
    width = [(0, 0)] * array.ndim
    width[axis] = (0, _bucket(array.shape[axis]) - array.shape[axis])
    return np.pad(array, width)


def _sweep(protocol: Protocol, plan: Plan, x, y, query, classes: int) -> probes.Sweep:
    """The probe's sweep on padded arrays; predictions of the real query rows."""
    grid = np.asarray(protocol.strengths, np.float32)
    weights = _pad(plan.train, 2), _pad(plan.hold, 2)
    arguments = {"final": plan.final}
    if protocol.probe == "logistic":
        run = logistic.logistic_sweep
        arguments |= {
            "classes": classes,
            "balanced": protocol.balanced,
            "steps": protocol.steps,
            "tolerance": protocol.tolerance,
        }
    elif protocol.probe == "ridge":
        run = probes.ridge_sweep
    else:
        run = probes.knn_sweep
        arguments["largest"] = int(grid.max())
        grid = grid.astype(np.int32)
        if classes:
            y = np.eye(classes, dtype=np.float32)[y]
    sweep = run(_pad(x), _pad(y), *weights, grid, _pad(query), **arguments)
    sweep = probes.Sweep(*(np.asarray(part) for part in sweep))
    return sweep._replace(prediction=sweep.prediction[:, : len(query)])


def _retrieve(task, study, folds, partner, protocol):
    """Recall@k of the test fold's samples against their partner embeddings."""
    if partner is None:
        raise TaskError(
            f"task {task.name}: retrieval needs `partner`, the expression tower's "
            "embedding of each sample; only contrastive models have one"
        )
    partner = np.asarray(partner)
    if len(partner) != len(study.samples):
        raise TaskError(
            f"task {task.name}: partner has {len(partner)} rows, wanted one for each "
            f"of the {len(study.samples)} samples (NaN where there is none)"
        )
    folds, dropped = drop(
        folds, lambda part: ~np.isfinite(partner[part.index]).all(axis=1)
    )
    require_rows(task, folds)
    test = folds.test
    found = recall_at_k(
        test.features,
        partner[test.index],
        protocol.k,
        group=test.slide if protocol.per_slide else None,
    )
    hyper = {
        "k": protocol.k,
        "per_slide": protocol.per_slide,
        "without_partner": dropped["test"],
        "image_to_expression": found.image_to_expression,
        "expression_to_image": found.expression_to_image,
    }
    return folds, found, hyper


def run_task(
    task: Task,
    study,
    features: Float[np.ndarray, "T E"],
    *,
    genes: int | tuple[str, ...] | None = None,
    partner: Float[np.ndarray, "S E"] | None = None,
    **options: Any,
) -> TaskOutcome:
    """Scores one set of embeddings on one task.

    Args:
      task: what is asked.
      study: the Study it is asked of.
      features: embeddings of all its tiles, in the order of `study.tiles`.
      genes: overrides `task.genes`, for example with a checkpoint's list.
      partner: for retrieval: the expression tower's embedding of each sample, in the
        order of `study.samples`.
      **options: fields of Protocol that differ from the registered protocol; they
        stand in the outcome's protocol label.

    Raises:
      TaskError: the task does not fit the study, a fold leaks, or there is nothing to
        learn from or to test on.
    """
    task.validate(study)
    protocol = PROTOCOLS[task.protocol_name].with_options(options)
    features = _check_features(task, study, features)
    folds = _collect(task, study, features)
    shared = {
        "task": task,
        "study": study.name,
        "fingerprint": study.fingerprint,
        "synthetic": bool(study.synthetic),
        "protocol": protocol.name,
        "shared_patients": folds.shared,
    }
    if task.kind == "retrieval":
        folds, found, hyper = _retrieve(task, study, folds, partner, protocol)
        return TaskOutcome(
            **shared,
            metric=f"recall@{protocol.k}",
            value=found.value,
            chance=found.chance,
            truth=np.ones(found.n, np.int32),
            prediction=found.hits.astype(np.float32),
            columns=("image_to_expression", "expression_to_image"),
            unit=folds.test.unit,
            patient=folds.test.patient,
            hyper=hyper,
            per_fold=[{"fold": task.test, "value": found.value}],
        )
    if task.kind == "classification":
        folds, labels, columns, hyper = class_labels(task, study, folds, protocol)
    elif task.kind == "regression":
        folds, labels, columns, hyper = number_labels(task, study, folds)
    else:
        folds, labels, columns, hyper = expression_labels(task, study, folds, genes)
    learned = [role for role in ("fit", "select") if role in labels]
    x = np.concatenate([getattr(folds, role).features for role in learned])
    y = np.concatenate([labels[role] for role in learned])
    is_class = task.kind == "classification"
    offset, spread = np.float32(0), np.float32(1)
    if not is_class:
        # In units of the fit fold: genes weigh alike, and float32 loses nothing.
        offset, spread = labels["fit"].mean(axis=0), labels["fit"].std(axis=0)
        spread = np.where(spread > 0, spread, np.float32(1))
        y = (y - offset) / spread
    if protocol.probe == "eva_linear":
        sweep, how = eva_linear_task(task, folds, labels, protocol, len(columns))
    else:
        plan, unit = _plan(task, study, folds, y, protocol)
        sweep = _sweep(
            protocol, plan, x, y, folds.test.features, len(columns) if is_class else 0
        )
        how = {
            "chosen_by": f"fold {task.select}"
            if task.select
            else f"{plan.folds} folds",
            "groups": unit,
        }
    prediction = sweep.prediction  # [R, n, T]
    if is_class:
        prediction = prediction.argmax(axis=-1).astype(np.int32)
        values = [balanced_accuracy(labels["test"], one) for one in prediction]
    else:
        prediction = prediction * spread + offset
        scores = [mean_pearson(labels["test"], one) for one in prediction]
        values = [value for value, _ in scores]
        hyper["constant_genes"] = scores[0][1]
    if protocol.probe == "logistic":
        hyper["solver_steps"] = [int(one) for one in sweep.steps]
        hyper["converged"] = bool((sweep.gradient <= protocol.tolerance).all())
    grid = protocol.strengths
    at_edge = int(sweep.choice[0]) in (0, len(grid) - 1)
    hyper |= how | {
        "strength": grid[int(sweep.choice[0])],
        "strength_at_edge": len(grid) > 1 and at_edge,
        "held_out_loss": [float(one) for one in sweep.loss[0]],
        "n_fit": len(folds.fit),
        "n_fit_patients": len(np.unique(folds.fit.patient)),
    }
    return TaskOutcome(
        **shared,
        metric=task.metric,
        value=float(values[0]),
        chance=chance_level(task.metric, labels["test"]),
        truth=labels["test"],
        prediction=prediction[0],
        columns=columns,
        unit=folds.test.unit,
        patient=folds.test.patient,
        hyper=hyper,
        per_fold=[
            {
                "fold": task.test,
                "probe_seed": seed,
                "value": float(value),
                "strength": grid[int(choice)],
            }
            for seed, (value, choice) in enumerate(
                zip(values, sweep.choice, strict=True)
            )
        ],
    )
