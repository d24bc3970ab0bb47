"""The comparison table as data: estimates by row and column, and as JSON records.

Numbers are scores (0.5 is 50 %); rendering turns them into text. Nothing is read or
computed here except the mean delta of a table that came as numbers.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from pathjax.data.study import listing
from pathjax.registry import RegistryError
from pathjax.stats.metrics import find_metric

MEAN = "mean delta"
LEVEL = 0.05  # of the test that earns a *; intervals cover 1 - LEVEL
# Corrected test; interval only, not corrected; chosen on the scored rows.
STAR, INTERVAL_ONLY, OPTIMISTIC = "*", "°", "†"
SCHEMA = 1


class ReportError(ValueError):
    """Results or files that cannot be shown; the message lists all problems."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and its test, where available.

    Attributes:
      value, low, high: The number and its interval.
      p: Of a delta, from a two-sided paired permutation test.
      p_holm: p after Holm's correction over the tasks of this model and base; None for
        a mean delta, which is a single test.
      q: p after Benjamini and Hochberg's, in tables that have it.
      permutations: Number of exchange patterns that p is based on.
      row_low, row_high: The interval over rows, where `low` and `high` are over blocks.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    permutations: int | None = None
    row_low: float | None = None
    row_high: float | None = None
    q: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval is above or below 0."""
        return self.low is not None and (self.low > 0 or self.high < 0)

    @property
    def significant(self) -> bool:
        """True when the corrected p, or the only one, is below LEVEL."""
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < LEVEL

    @property
    def certain(self) -> bool:
        """True for what is in bold: the test and the interval agree.

        Of tables of seven tasks without any effect, a third to half have an interval
        that excludes 0 somewhere; the test is corrected for that.
        """
        return self.significant and self.excludes_zero


@dataclasses.dataclass(frozen=True)
class Column:
    """One task.

    Attributes:
      task, metric, chance, n, n_patients, n_blocks, protocol, kind: As in results.
      percent: False for an error, which is shown in its own unit.
      optimistic: Something was chosen on the scored rows themselves.
      of: The task whose further metric it is; "" for a first one.
    """

    task: str
    metric: str = ""
    chance: float | None = None
    n: int | None = None
    n_patients: int | None = None
    protocol: str = ""
    kind: str = ""
    percent: bool = True
    optimistic: bool = False
    n_blocks: int | None = None
    of: str = ""

    @property
    def sign(self) -> int:
        """-1 where lower is better; 1 otherwise, and for an unknown metric."""
        return 1 if self.percent and higher_is_better(self.metric) else -1

    @property
    def averaged(self) -> bool:
        """Whether it is in the mean delta: no error, and a task's first score."""
        return self.sign > 0 and self.kind != "robustness" and not self.of

    @property
    def title(self) -> str:
        """The task, marked where its scores are too high."""
        return f"{self.task} {OPTIMISTIC}" if self.optimistic else self.task

    @property
    def scale(self) -> int:
        """What a score is multiplied by to be shown."""
        return 100 if self.percent else 1


def higher_is_better(metric: str) -> bool:
    """A metric's direction; True for one that is not known here."""
    try:
        return find_metric(metric, in_file=True).higher_is_better
    except RegistryError:
        return True


@dataclasses.dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
      name: The model.
      base: The model it is compared with; None for a base and for a baseline.
      is_base: Whether some other row is compared with it.
      values, deltas: By task; absent where the task was not run.
      mean: Mean delta over the tasks that have one, errors left out.
      seeds: Number of fine-tuning seeds; 0 when unknown.
    """

    name: str
    base: str | None
    is_base: bool
    values: dict[str, Estimate]
    deltas: dict[str, Estimate]
    mean: Estimate | None = None
    seeds: int = 0

    def delta(self, task: str) -> Estimate | None:
        """The delta of a task, or the mean delta for `MEAN`."""
        return self.mean if task == MEAN else self.deltas.get(task)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows in order: each base with the models tuned from it, then the others."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    title: str = ""

    @property
    def tasks(self) -> list[str]:
        """The tasks, then `MEAN`."""
        return [column.task for column in self.all_columns]

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The tasks' columns, then that of `MEAN`."""
        optimistic = any(column.optimistic for column in self.columns)
        return *self.columns, Column(MEAN, optimistic=optimistic)

    @property
    def has_q(self) -> bool:
        """Whether deltas have q-values."""
        deltas = (delta for row in self.rows for delta in row.deltas.values())
        return any(delta.q is not None for delta in deltas)


def mark(delta: Estimate | None) -> str:
    """STAR, INTERVAL_ONLY or nothing."""
    if delta is None:
        return ""
    return STAR if delta.significant else INTERVAL_ONLY * delta.excludes_zero


def plain_mean(deltas: Iterable[Estimate]) -> Estimate | None:
    """Mean of the deltas without an interval; None when there are none."""
    values = [delta.value for delta in deltas]
    return Estimate(float(np.mean(values))) if values else None


def check_bases(bases: dict[str, str | None]) -> None:
    """Checks model -> base: each base has results and is not itself tuned.

    Raises:
      ReportError: Lists every base that fails.
    """
    problems = []
    for model, base in bases.items():
        if base is None:
            continue
        if base not in bases:
            problems.append(f"{model} names {base!r} as its base, which has no results")
        elif bases[base] is not None:
            problems.append(f"{model}'s base {base} is itself tuned from {bases[base]}")
    if problems:
        raise ReportError(listing([*problems, f"models are {', '.join(bases)}"]))


def in_order(bases: dict[str, str | None]) -> list[str]:
    """Each base, then the models tuned from it, then models that are neither."""
    used = {base for base in bases.values() if base is not None}
    grouped = []
    for model in bases:
        if model in used:
            grouped += [model, *(name for name in bases if bases[name] == model)]
    return grouped + [model for model in bases if model not in grouped]


def records(table: Table) -> list[dict[str, Any]]:
    """One record per model and task, numbers as scores.

    Returns:
      `model, base, task, metric, protocol, chance, n, n_patients, seeds`; `value,
      value_low, value_high` of the model itself; `delta, delta_low, delta_high, p,
      p_holm, q, permutations` against its base; `mark` and `bold` as in the table; `of`,
      the task, for a further metric of it; and `optimistic` where something was chosen on the scored rows. Every record has every
      key, None where unknown or without meaning. The mean delta is a record whose task
      is "mean delta". A table of which a task has blocks has `n_blocks`, and intervals
      over rows as `value_row_low` to `delta_row_high`.
    """
    blocks = any(column.n_blocks for column in table.columns)
    return [
        _record(row, column, blocks)
        for row in table.rows
        for column in table.all_columns
        if row.values.get(column.task) or row.delta(column.task)
    ]


def _record(row: Row, column: Column, blocks: bool) -> dict[str, Any]:
    missing = dict.fromkeys(field.name for field in dataclasses.fields(Estimate))
    own, change = (
        vars(estimate) if estimate else missing
        for estimate in (row.values.get(column.task), row.delta(column.task))
    )
    over_rows = {"n_blocks": column.n_blocks} | {
        f"{name}_{end}": part[end]
        for name, part in (("value", own), ("delta", change))
        for end in ("row_low", "row_high")
    }
    return {
        "model": row.name,
        "base": row.base,
        "task": column.task,
        "metric": column.metric or None,
        "protocol": column.protocol or None,
        "chance": column.chance,
        "n": column.n,
        "n_patients": column.n_patients,
        "seeds": row.seeds or None,
        "value": own["value"],
        "value_low": own["low"],
        "value_high": own["high"],
        "delta": change["value"],
        "delta_low": change["low"],
        "delta_high": change["high"],
        **{key: change[key] for key in ("p", "p_holm", "q", "permutations")},
        "mark": mark(row.delta(column.task)),
        "bold": bool((delta := row.delta(column.task)) and delta.certain),
        "of": column.of or None,
        "optimistic": column.optimistic,
        **(over_rows if blocks else {}),
    }


def table_json(table: Table) -> dict[str, Any]:
    """The content of table.json: `schema, title, interval, cells, notes`."""
    return {
        "schema": SCHEMA,
        "title": table.title,
        "interval": 1 - LEVEL,
        "cells": records(table),
        "notes": list(table.notes),
    }
