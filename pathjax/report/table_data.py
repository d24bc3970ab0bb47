"""The table as data: estimates by row and column, and what has to be said below it.

Numbers are fractions (0.5 is 50 %); rendering turns them into percent. Nothing is read
or computed here except the mean delta of numbers that came without rows.
"""

import dataclasses

import numpy as np

MEAN = "mean delta"
LEVEL = 0.05  # of a test that is marked in the table; intervals are of 1 - LEVEL


class ReportError(ValueError):
    """Results cannot be put into one table; the message lists why."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and its test, where they could be had.

    Attributes:
      value, low, high: the number and its interval.
      p: of a delta, in a paired permutation test, two-sided.
      p_holm: p after Holm's correction over the tasks of this model and base; None for
        a mean delta, which is one test.
      permutations: over how many patterns of exchanged patients p is.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    permutations: int | None = None

    @property
    def excludes_zero(self) -> bool:
        """True when the interval lies on one side of 0."""
        return self.low is not None and (self.low > 0 or self.high < 0)

    @property
    def significant(self) -> bool:
        """True when the corrected p, or the only one there is, is below LEVEL."""
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < LEVEL


@dataclasses.dataclass(frozen=True)
class Column:
    """One task."""

    task: str
    metric: str = ""
    chance: float | None = None
    n: int | None = None
    n_patients: int | None = None
    protocol: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
      name: the model.
      base: the model it is compared with; None for a base and for a yardstick.
      is_base: some other row is compared with it.
      values, deltas: by task; a missing task was not run.
      mean: mean delta over the tasks that have one.
      seeds: fine-tuning seeds; 0 when unknown.
    """

    name: str
    base: str | None
    is_base: bool
    values: dict[str, Estimate]
    deltas: dict[str, Estimate]
    mean: Estimate | None = None
    seeds: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows in order: each base with the models tuned from it, then the others.

    `replicates` of the bootstrap are None for a table that came as numbers.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    title: str = ""
    replicates: int | None = None


def plain_mean(
    deltas: dict[str, Estimate], signs: dict[str, int] | None = None
) -> Estimate | None:
    """Mean of the deltas without an interval; None when there are none.

    `signs` are -1 for tasks whose metric is better when lower.
    """
    signs = signs or {}
    values = [signs.get(task, 1) * delta.value for task, delta in deltas.items()]
    return Estimate(float(np.mean(values))) if values else None


def check_bases(bases: dict[str, str | None]) -> None:
    """Checks model -> base: each base is there, and is itself tuned from nothing.

    Raises:
      ReportError: all that are not.
    """
    found = []
    for model, base in bases.items():
        if base is None:
            continue
        if base not in bases:
            found.append(f"{model} names {base!r} as its base, which has no results")
        elif bases[base] is not None:
            found.append(f"{model}'s base {base} is itself tuned from {bases[base]}")
    if found:
        raise ReportError("; ".join(found) + f"; models are {', '.join(bases)}")


def in_order(bases: dict[str, str | None]) -> list[str]:
    """Each base, then the models tuned from it, then models that are neither."""
    used = {base for base in bases.values() if base is not None}
    grouped = []
    for model in bases:
        if model in used:
            grouped += [model, *(one for one in bases if bases[one] == model)]
    return grouped + [model for model in bases if model not in grouped]


def mean_notes(columns: tuple[Column, ...], rows: tuple[Row, ...]) -> list[str]:
    """Says so where a mean delta does not cover every column."""
    return [
        f"{row.name}: mean delta over {len(row.deltas)} of {len(columns)} tasks "
        f"(none for {', '.join(c.task for c in columns if c.task not in row.deltas)})."
        for row in rows
        if row.deltas and len(row.deltas) < len(columns)
    ]
