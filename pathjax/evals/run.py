"""Runs a task: its rounds' rows and labels, their fits, and one score of all.

    Task, Study, tile embeddings -> rows, labels -> fits -> run_task -> TaskOutcome

It does not embed tiles, audit training patients (audit.py) or write files (results.py).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.embeddings.features import FileRows, not_finite
from pathjax.evals.fits import FITS
from pathjax.evals.fits.round import Fit, Round
from pathjax.evals.labels import (
    ROLES,
    Folds,
    class_labels,
    drop,
    expression_labels,
    number_labels,
    require_rows,
)
from pathjax.evals.protocols import PROTOCOLS, Protocol, ProtocolError
from pathjax.evals.retrieval import recall_at_k
from pathjax.evals.rows import FoldRows, column_of, fold_rows
from pathjax.evals.tasks import Task, TaskError, TaskOutcome
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.metrics import METRICS, balanced_accuracy, mean_pearson


def _check_features(task: Task, study, features) -> None:
    tiles = len(study.tiles)
    if features.ndim != 2 or len(features) != tiles:
        raise TaskError(
            f"task {task.name}: features have shape {features.shape}, wanted one row "
            f"for each of the {tiles} tiles of {study.name}: embed the study again"
        )


def _require_finite(task: Task, part: FoldRows) -> None:
    """Tiles of no fold may hold anything: they need not have been embedded."""
    bad = not_finite(part.features)
    if bad.size:
        raise TaskError(
            f"task {task.name}: {bad.size} of {len(part)} embeddings are not finite, "
            f"first {task.level} {part.unit[bad[0]]}: the tiles were not embedded, or "
            "the encoder's parameters or input are broken"
        )


def _collect(task: Task, study, features, roles) -> Folds:
    """The folds' rows; refuses rows and undeclared patients on both sides."""
    rows = {
        role: fold_rows(study, task.level, task.split, roles[role], features)
        if role in roles
        else None
        for role in ROLES
    }
    empty = [role for role, part in rows.items() if part is not None and not len(part)]
    if empty:
        raise TaskError(f"task {task.name}: folds without a row: {', '.join(empty)}")
    for part in rows.values():
        if part is not None:
            _require_finite(task, part)
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
    if task.site_preserved:
        _require_other_sites(task, study, learned, test)
    return Folds(rows["fit"], rows["select"], test, tuple(sorted(shared)))


def _require_other_sites(task: Task, study, learned, test) -> None:
    """Refuses a site on both sides, and sites that nobody knows."""
    site = study.tiles["site"].astype(str).to_numpy()
    tested = set(site[test.tiles].tolist())
    both = sorted(tested & {one for part in learned for one in site[part.tiles]})
    if both:
        raise TaskError(
            f"task {task.name}: {len(both)} sites are in fit and test, first "
            f"{both[:5]}, and site-preserved folds were asked for: make a split with "
            "`pathjax data split --site-preserved`, or leave out site_preserved"
        )


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
    return TaskOutcome(
        **_about(task, study, protocol, [folds]),
        metric=f"recall@{protocol.k}",
        value=found.value,
        chance=found.chance,
        truth=np.ones(found.n, np.int32),
        prediction=found.hits.astype(np.float32),
        columns=("image_to_expression", "expression_to_image"),
        unit=test.unit,
        patient=test.patient,
        stratum=np.zeros(found.n, np.int64),
        combine=protocol.over_folds,
        hyper={
            "k": protocol.k,
            "per_slide": protocol.per_slide,
            "without_partner": dropped["test"],
            "image_to_expression": found.image_to_expression,
            "expression_to_image": found.expression_to_image,
        },
        per_fold=[{"fold": task.test, "value": found.value}],
    )


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
      task: what is asked.
      study: the Study it is asked of.
      features: embeddings of all its tiles, in the order of `study.tiles`, in memory
        or in a file.
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
    try:
        protocol = PROTOCOLS[task.protocol_name].with_options(options)
    except ProtocolError as error:
        raise TaskError(f"task {task.name}: {error}") from error
    _check_features(task, study, features)
    rounds = task.rounds(study)
    if task.kind == "retrieval":
        folds = _collect(task, study, features, rounds[0])
        return _retrieve(task, study, folds, partner, protocol)
    parts = [_fit_round(task, study, features, one, genes, protocol) for one in rounds]
    return _join(task, study, protocol, parts)


@dataclasses.dataclass(frozen=True)
class _Part:
    """One round's fit with what it was tested on."""

    round: Round
    columns: tuple[str, ...]
    fit: Fit
    hyper: dict[str, Any]


def _fit_round(task, study, features, roles, genes, protocol) -> _Part:
    folds = _collect(task, study, features, roles)
    if task.kind == "classification":
        folds, labels, columns, hyper = class_labels(task, study, folds, protocol)
    elif task.kind == "regression":
        folds, labels, columns, hyper = number_labels(task, study, folds)
    else:
        folds, labels, columns, hyper = expression_labels(
            task, study, folds, genes, protocol
        )
    classes = len(columns) if task.kind == "classification" else 0
    one = Round(task, study, protocol, folds, labels, classes, features)
    fit = FITS[protocol.probe](one)
    hyper |= fit.how | {
        "strength": fit.strength[0],
        "n_fit": len(folds.fit),
        "n_fit_patients": len(np.unique(folds.fit.patient)),
    }
    return _Part(one, columns, fit, hyper)


def _strata(study, protocol: Protocol, parts: Sequence[_Part]):
    """Numbers of what r is taken within: the test fold, the class of `within`."""
    keys = []
    for place, part in enumerate(parts):
        rows = part.round.folds.test
        inside = np.full(len(rows), "", dtype=object)
        if protocol.within:
            inside = column_of(study, "sample", protocol.within, rows)
            inside = inside.astype(object).fillna("").astype(str)
        keys += [f"{place} {name}" for name in inside]
    return np.unique(keys, return_inverse=True)[1]


def _in_columns(values, own, columns):
    """Genes put in their places among all rounds' genes, the others NaN."""
    if own == columns:
        return values
    wide = np.full((*values.shape[:-1], len(columns)), np.nan, values.dtype)
    wide[..., [columns.index(one) for one in own]] = values
    return wide


def _join(task, study, protocol: Protocol, parts: Sequence[_Part]) -> TaskOutcome:
    """Test rows of all rounds as one set, scored together."""
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    truth = [part.round.labels["test"] for part in parts]
    seeds = len(parts[0].fit.strength)
    is_class = task.kind == "classification"
    stratum = np.zeros(sum(map(len, truth)), np.int64)
    hyper: dict[str, Any] = {}
    if is_class:
        truth = np.concatenate(truth)
        prediction = np.concatenate(
            [part.fit.prediction.argmax(axis=-1) for part in parts], axis=1
        ).astype(np.int32)
        values = [balanced_accuracy(truth, one) for one in prediction]
        # Runs of one fit fold are one result, their mean; bootstrap samples of it are
        # not: there seed 0, the whole fold, is.
        prediction = prediction.T if protocol.averaged else prediction[0]
    else:
        stratum = _strata(study, protocol, parts)
        truth = np.concatenate(
            [
                _in_columns(one, part.columns, columns)
                for one, part in zip(truth, parts, strict=True)
            ]
        )
        prediction = np.concatenate(
            [_in_columns(p.fit.prediction, p.columns, columns) for p in parts], axis=1
        ).astype(np.float32)
        values = [
            mean_pearson(truth, one, stratum, protocol.over_folds) for one in prediction
        ]
        prediction = prediction[0]
        r = per_gene_pearson(truth, prediction, stratum, protocol.over_folds)
        hyper["constant_genes"] = int(np.isnan(r).sum())
    test = [part.round.folds.test for part in parts]
    if task.crossed:
        names = study.split(task.split).folds
        hyper["rounds"] = {
            fold: part.hyper for fold, part in zip(names, parts, strict=True)
        }
        strengths = [
            [part.fit.strength[seed] for part in parts] for seed in range(seeds)
        ]
    else:
        hyper |= parts[0].hyper
        strengths = parts[0].fit.strength
    return TaskOutcome(
        **_about(task, study, protocol, [part.round.folds for part in parts]),
        metric=task.metric,
        value=float(np.mean(values) if protocol.averaged else values[0]),
        chance=METRICS[task.metric].chance_level(truth),
        truth=truth,
        prediction=prediction,
        columns=columns,
        unit=np.concatenate([rows.unit for rows in test]),
        patient=np.concatenate([rows.patient for rows in test]),
        stratum=stratum,
        combine=protocol.over_folds,
        hyper=hyper,
        per_fold=[
            {
                "fold": task.test,
                "probe_seed": seed,
                "value": float(value),
                "strength": strength,
            }
            for seed, (value, strength) in enumerate(
                zip(values, strengths, strict=True)
            )
        ],
    )


def _about(task, study, protocol: Protocol, folds: Sequence[Folds]) -> dict[str, Any]:
    shared = sorted({patient for one in folds for patient in one.shared})
    return {
        "task": task,
        "study": study.name,
        "fingerprint": study.fingerprint,
        "synthetic": bool(study.synthetic),
        "protocol": protocol.name,
        "shared_patients": tuple(shared),
    }
