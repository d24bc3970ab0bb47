"""Labels of a task's folds: classes as numbers, values, expression of chosen genes.

    Folds (rows by role) -> class_labels | number_labels | expression_labels

Rows without a label are left out and counted. Classes and genes are decided on the fit
fold; what the test fold holds beyond it is refused or named.
"""

import dataclasses

import numpy as np
import pandas as pd

from pathjax.data.expression import most_variable
from pathjax.evals.protocols import Protocol
from pathjax.evals.rows import (
    FoldRows,
    column_of,
    expression_of,
    without_expression,
)
from pathjax.evals.tasks import Task, TaskError

ROLES = ("fit", "select", "test")


@dataclasses.dataclass(frozen=True)
class Folds:
    """Labelled rows by role, and what was left out."""

    fit: FoldRows | None
    select: FoldRows | None
    test: FoldRows
    shared: tuple[str, ...]


def drop(folds: Folds, missing_in) -> tuple[Folds, dict[str, int]]:
    """Leaves out rows for which `missing_in` is True; says how many by role."""
    parts, dropped = {}, {}
    for role in ROLES:
        part = getattr(folds, role)
        if part is not None:
            missing = np.asarray(missing_in(part), bool)
            dropped[role] = int(missing.sum())
            part = part.keep(~missing)
        parts[role] = part
    return dataclasses.replace(folds, **parts), dropped


def require_rows(task: Task, folds: Folds) -> None:
    for role in ROLES:
        part = getattr(folds, role)
        if part is not None and not len(part):
            raise TaskError(
                f"task {task.name}: no row of the {role} fold has a label: choose "
                "another fold or target"
            )


def class_labels(task: Task, study, folds: Folds, protocol: Protocol):
    """Class numbers by role, the class names, and what was left out."""
    folds, dropped = drop(
        folds, lambda part: column_of(study, task.level, task.target, part).isna()
    )
    other = dict.fromkeys(dropped, 0)
    if task.classes:
        folds, other = drop(
            folds,
            lambda part: (
                ~column_of(study, task.level, task.target, part).isin(task.classes)
            ),
        )
    require_rows(task, folds)
    named = {
        role: column_of(study, task.level, task.target, part)
        .astype(str)
        .to_numpy(dtype=np.str_)
        for role in ROLES
        if (part := getattr(folds, role)) is not None
    }
    present = set(np.concatenate(list(named.values())).tolist())
    order = study.targets[task.target].classes or tuple(sorted(present))
    strange = sorted(present - set(order))
    if strange:
        raise TaskError(
            f"task {task.name}: labels {strange[:5]} are not among the classes of "
            f"target {task.target}: {', '.join(order)}"
        )
    classes = tuple(one for one in order if one in present)
    counts = {role: set(names.tolist()) for role, names in named.items()}
    # A fold of a cross-validation may lack a class: all folds are scored together.
    wanted = 1 if task.crossed else 2
    if len(counts["fit"]) < 2 or len(counts["test"]) < wanted:
        raise TaskError(
            f"task {task.name}: classes in fit {sorted(counts['fit'])}, in test "
            f"{sorted(counts['test'])}: wanted at least two in each"
        )
    unseen = sorted(counts["test"] - counts["fit"])
    if unseen and not protocol.allow_unseen:
        raise TaskError(
            f"task {task.name}: classes {unseen} of the test fold are absent from the "
            "fit fold, so no probe can predict them: choose other folds, or count "
            "them as wrong with allow_unseen=True"
        )
    number = {one: place for place, one in enumerate(classes)}
    labels = {
        role: np.array([number[one] for one in names], np.int32)
        for role, names in named.items()
    }
    left_out = {"unlabelled": dropped, "of_other_classes": other, "unseen": unseen}
    return folds, labels, classes, left_out


def number_labels(task: Task, study, folds: Folds):
    def values(part):
        return pd.to_numeric(column_of(study, task.level, task.target, part))

    folds, dropped = drop(folds, lambda part: ~np.isfinite(values(part)))
    require_rows(task, folds)
    labels = {
        role: values(part).to_numpy(np.float32)[:, None]
        for role in ROLES
        if (part := getattr(folds, role)) is not None
    }
    return folds, labels, (task.target,), {"unlabelled": dropped}


def expression_labels(task: Task, study, folds: Folds, genes, protocol: Protocol):
    """Expression by role; genes are chosen on the fit fold's samples alone."""
    expression = study.expression()
    folds, dropped = drop(folds, lambda part: without_expression(expression, part))
    require_rows(task, folds)
    wanted = task.genes if genes is None else genes
    if isinstance(wanted, int):
        layer = "counts" if protocol.values == "log1p_counts" else None
        wanted = most_variable(expression, list(folds.fit.sample), wanted, layer)
    wanted = tuple(map(str, wanted))
    labels = {
        role: expression_of(expression, part, wanted, protocol.values)
        for role in ROLES
        if (part := getattr(folds, role)) is not None
    }
    return folds, labels, wanted, {"without_expression": dropped}
