"""From a study to a problem for a probe: rows by role, pooled embeddings and labels.

    task, study, embeddings, folds by role -> prepare -> Prepared (a Problem and its names)

Pooling happens inside a fold: where slides of one patient are in different folds, only
the fold's own tiles enter. Rows without a label are left out and counted. Classes and
genes are decided on the fit fold; what the test fold holds beyond is refused or named.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from pathjax.data.expression import most_variable, select
from pathjax.embeddings.embedding_file import not_finite
from pathjax.evals import EvalError
from pathjax.evals.audit import NO_SITE, ids_of
from pathjax.evals.partial import leave_out_few
from pathjax.evals.probes.base import FoldRows, Problem
from pathjax.evals.protocols import Protocol
from pathjax.evals.row_features import (
    Features,
    Rows,
    bags_of,
    no_features,
    with_features,
)
from pathjax.evals.survival import survival_labels
from pathjax.evals.tasks import Task

OWNERS = ("sample", "patient", "slide")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A problem, with what else its outcome says.

    Attributes:
      problem: For the probe.
      columns: Class names, gene names or directions of retrieval.
      info: What was left out, for the record.
      shared: Patients on both sides, which the split declares.
    """

    problem: Problem
    columns: tuple[str, ...]
    info: dict[str, Any]
    shared: frozenset[str]


def prepare(
    task: Task,
    study,
    features: Features,
    roles: dict[str, tuple[str, ...]],
    protocol: Protocol,
    genes: int | tuple[str, ...] | None = None,
    partner: Float[np.ndarray, "S E"] | None = None,
) -> Prepared:
    """Collects and labels the rows of one fit.

    Args:
      task, study, features, genes, partner: As in `run.run_task`.
      roles: Role -> folds, of `task.fits`.
      protocol: With the options of this run.

    Raises:
      EvalError: A fold leaks, or there is nothing to learn from or to test on.
    """
    level = "patient" if task.kind == "survival" else task.level
    rows, shared = collect(task, study, roles, level)
    if task.kind == "classification":
        rows, labels, columns, info = _class_labels(task, study, rows, protocol)
    elif task.kind == "regression":
        rows, labels, columns, info = _number_labels(task, study, rows)
    elif task.kind == "survival":
        rows, labels, columns, info = survival_labels(
            task, study, rows, _drop, _require_rows
        )
    elif task.kind == "expression":
        asked = task.genes if genes is None else genes
        rows, labels, columns, info = _expression_labels(study, rows, asked, protocol)
    else:
        partner = _require_partner(study, partner)
        rows, labels, columns, info = _pairs(rows, partner)
    rows = with_features(study, level, rows, features)
    problem = Problem(
        rows,
        labels,
        classes=len(columns) if task.kind == "classification" else 0,
        names={role: "+".join(folds) for role, folds in roles.items()},
        by_slide=study.split(task.split).unit == "slide_id",
        bags=lambda parts, most: bags_of(study, parts, features, most, level),
        survival=task.kind == "survival",
        partner=None if partner is None else partner[rows["test"].index],
    )
    return Prepared(problem, columns, info, shared)


def _ids(column: pd.Series) -> np.ndarray:
    return column.astype(str).to_numpy(dtype=np.str_)


def fold_rows(study, level: str, split: str, fold: str | Sequence[str]) -> FoldRows:
    """The rows of a fold, or of several, at level "tile", "sample" or "patient".

    A patient's row is that of its first sample. Embeddings are read later, by
    `with_features`.
    """
    names = (fold,) if isinstance(fold, str) else fold
    tiles = np.sort(np.concatenate([study.fold_tiles(split, name) for name in names]))
    runs = study.runs
    if level == "tile":
        of_tile = study.run_of(tiles)
        ids = {name: _ids(runs[f"{name}_id"])[of_tile] for name in OWNERS}
        unit = _ids(study.tile_rows(tiles, ["tile_id"])["tile_id"])
        return FoldRows(tiles, tiles, no_features(tiles), unit, **ids)
    # By runs, which are few where tiles are 10^8.
    bounds = np.r_[runs["first_row"].to_numpy(), len(study)]
    entered = np.flatnonzero(np.diff(np.searchsorted(tiles, bounds)))
    ids = {name: _ids(runs[f"{name}_id"].iloc[entered]) for name in OWNERS}
    owners, first_run = np.unique(ids[level], return_index=True)
    known, row = np.unique(_ids(study.samples[f"{level}_id"]), return_index=True)
    where = row[np.searchsorted(known, owners)]
    order = np.argsort(where)
    ids = {name: own[first_run[order]] for name, own in ids.items()}
    return FoldRows(where[order], tiles, no_features(where), ids[level], **ids)


def collect(task: Task, study, roles, level: str) -> tuple[Rows, frozenset[str]]:
    """The folds' rows; refuses rows and undeclared patients on both sides."""
    rows = {
        role: fold_rows(study, level, task.split, folds)
        for role, folds in roles.items()
    }
    empty = [role for role, part in rows.items() if not len(part)]
    if empty:
        raise EvalError(f"folds without a row: {', '.join(empty)}")
    test, shared = rows["test"], set[str]()
    tested = _sites(study, test) if task.site_preserved else set()
    for role, part in rows.items():
        if role == "test":
            continue
        both = np.intersect1d(part.unit, test.unit)
        if both.size:
            raise EvalError(
                f"{both.size} {level}s are in fit and test, first {both[0]}: split "
                f"{task.split} leaks"
            )
        shared |= set(np.intersect1d(part.patient, test.patient).tolist())
        sites = sorted(tested and tested & _sites(study, part))
        if sites:
            raise EvalError(
                f"{len(sites)} sites are in fit and test, first {sites[:5]}, and "
                "the task asks for site-preserved folds: make a split with `pathjax data "
                "split --site-preserved`, or leave out site_preserved"
            )
    undeclared = sorted(shared - set(study.split(task.split).shared_patients))
    if undeclared:
        raise EvalError(
            f"{len(undeclared)} patients are in fit and test, first {undeclared[:5]}: "
            "split by patient, or declare them in the split's shared_patients; the "
            "table will then say so"
        )
    return rows, frozenset(shared)


def _sites(study, rows: FoldRows) -> set[str]:
    return set(ids_of(study, rows.tiles)["site"])


def _drop(rows: Rows, missing_in: Callable) -> tuple[Rows, dict[str, int]]:
    """Leaves out rows for which `missing_in` is True; says how many by role."""
    kept, dropped = {}, {}
    for role, part in rows.items():
        missing = np.asarray(missing_in(part), bool)
        dropped[role] = int(missing.sum())
        kept[role] = part.keep(~missing)
    return kept, dropped


def _require_rows(rows: Rows) -> None:
    for role, part in rows.items():
        if not len(part):
            raise EvalError(
                f"no row of the {role} fold has a label: choose another fold or target"
            )


def column_of(study, level: str, name: str, rows: FoldRows) -> pd.Series:
    """A column's values for the rows, missing ones as pandas has them."""
    table = study.tiles if level == "tile" else study.samples
    return table[name].iloc[rows.index]


def _class_labels(task: Task, study, rows: Rows, protocol: Protocol):
    """Class numbers by role, the class names, and what was left out."""

    def column(part):
        return column_of(study, task.level, str(task.target), part)

    rows, dropped = _drop(rows, lambda part: column(part).isna())
    other = dict.fromkeys(dropped, 0)
    if task.classes:
        rows, other = _drop(rows, lambda part: ~column(part).isin(task.classes))
    _require_rows(rows)
    lacking = dict.fromkeys(dropped, 0)
    if task.asks_site(study):
        both = set(column(rows["fit"]).astype(str)) - NO_SITE
        if not both.intersection(column(rows["test"]).astype(str)):
            raise EvalError(
                f"split {task.split} holds sites apart, so no site is in fit and test: name "
                "another split to ask for the site"
            )
        rows, lacking = _drop(rows, lambda part: ~column(part).astype(str).isin(both))
    named = {role: _ids(column(part)) for role, part in rows.items()}
    seen = {role: set(names.tolist()) for role, names in named.items()}
    present = set().union(*seen.values())
    known = () if task.asks_site(study) else study.targets[task.target].classes
    order = known or tuple(sorted(present))
    unknown = sorted(present - set(order))
    if unknown:
        raise EvalError(
            f"labels {unknown[:5]} are not among the classes of target {task.target}: "
            f"{', '.join(order)}"
        )
    classes = tuple(name for name in order if name in present)
    # A fold of a cross-validation may lack a class: all folds are scored together.
    least = 1 if task.crossed else 2
    if len(seen["fit"]) < 2 or len(seen["test"]) < least:
        raise EvalError(
            f"expected at least two classes in fit and test, got {sorted(seen['fit'])} "
            f"in fit and {sorted(seen['test'])} in test"
        )
    unseen = sorted(seen["test"] - seen["fit"])
    if unseen and not protocol.allow_unseen:
        raise EvalError(
            f"classes {unseen} of the test fold are absent from the fit fold, so no "
            "probe can predict them: choose other folds, or count them as wrong with "
            "allow_unseen=True"
        )
    labels = {
        role: pd.Index(classes).get_indexer(names).astype(np.int32)
        for role, names in named.items()
    }
    info = {"unlabelled": dropped, "of_other_classes": other, "unseen": unseen}
    info["of_unseen_sites"] = lacking
    return rows, labels, classes, info


def _number_labels(task: Task, study, rows: Rows):
    def values(part):
        return pd.to_numeric(column_of(study, task.level, str(task.target), part))

    rows, dropped = _drop(rows, lambda part: ~np.isfinite(values(part)))
    _require_rows(rows)
    labels = {
        role: values(part).to_numpy(np.float64)[:, None] for role, part in rows.items()
    }
    every = np.concatenate(list(labels.values()))
    # float32 has 7 digits, too few for numbers that vary little beside their size.
    if np.ptp(every) > 1e-3 * np.abs(every).max():
        labels = {role: part.astype(np.float32) for role, part in labels.items()}
    return rows, labels, (task.target,), {"unlabelled": dropped}


def _expression_labels(study, rows: Rows, genes, protocol: Protocol):
    """Expression by role; genes are chosen on the fit fold's samples alone."""
    expression = study.expression()
    known = np.asarray(expression.obs_names, dtype=np.str_)
    rows, dropped = _drop(rows, lambda part: ~np.isin(part.sample, known))
    _require_rows(rows)
    layer = "counts" if protocol.values == "log1p_counts" else None
    if isinstance(genes, int):
        genes = most_variable(expression, list(rows["fit"].sample), genes, layer)
    genes = tuple(map(str, genes))
    labels = {}
    for role, part in rows.items():
        values = select(expression, list(part.sample), genes, layer, unmeasured=np.nan)
        labels[role] = np.log1p(values) if layer else values
    info: dict[str, Any] = {"without_expression": dropped}
    few = leave_out_few(labels, genes)
    if few:
        info["measured_in_few_test_rows"] = few
    return rows, labels, genes, info


def _require_partner(study, partner) -> Float[np.ndarray, "S E"]:
    if partner is None:
        raise EvalError(
            "retrieval needs `partner`, the expression tower's embedding of each "
            "sample; only contrastive models have one"
        )
    partner = np.asarray(partner)
    if len(partner) != len(study.samples):
        raise EvalError(
            f"expected one row of partner for each of the {len(study.samples)} samples "
            f"(NaN where there is none), got {len(partner)}"
        )
    return partner


def _pairs(rows: Rows, partner):
    """Test rows that have a partner; every query has one right answer."""
    without = np.zeros(len(partner), bool)
    without[not_finite(partner)] = True
    rows, dropped = _drop(rows, lambda part: without[part.index])
    _require_rows(rows)
    labels = {"test": np.ones(len(rows["test"]), np.int32)}
    columns = ("image_to_expression", "expression_to_image")
    return rows, labels, columns, {"without_partner": dropped["test"]}
