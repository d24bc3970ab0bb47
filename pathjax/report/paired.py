"""Units that tasks share, and the permutation tests of one tuned model.

    rows of every task -> SharedUnits -> units by number, parts -> intervals, tests

A patient in the test rows of several tasks is left out, and swapped, in all of them
alike. Tasks that share patients, directly or through another task, are one part and
number their units together; parts are independent. The statistics are in `stats`.
"""

import dataclasses
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
from jaxtyping import Float, Int

from pathjax.stats.interval import UNITS_AT_MOST, groups, number_units, seed_error
from pathjax.stats.permutation import (
    Swaps,
    contributions,
    holm,
    null_deltas,
    p_with_seeds,
    q_values,
    redrawn,
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Units of tasks that share some: how many, and a hash of their names.

    The random streams of parts with other units differ, whatever else a table has.
    """

    units: int
    key: int


@dataclasses.dataclass(frozen=True)
class Tested:
    """A p-value, its corrections, and the number of patterns it is based on.

    The mean delta is a single test: its `p_holm` and `q` are None.
    """

    p: float
    p_holm: float | None
    permutations: int
    q: float | None = None


def corrected(
    p: Mapping[str, float], further: Collection[str], correct: Callable = holm
) -> dict[str, float]:
    """p by column, corrected over the others.

    Those of tasks' first metrics over one another, so that asking for more metrics
    changes no star; those of `further` metrics over all columns.
    """
    first = {task: value for task, value in p.items() if task not in further}
    each = [dict(zip(of, map(float, correct([*of.values()])), strict=True))
            for of in (p, first) if of]  # fmt: skip
    return {task: value for part in each for task, value in part.items()}


class SharedUnits:
    """The units of every task.

    Args:
      tasks: (study, task, rows) of each task; of a task named twice the last counts. The
        unit is the patient; where there is one patient, the row's block if `rows` have
        any, and else the row itself.

    Attributes:
      unit: task -> `[N]`, which unit of its part each row is of.
      part: task -> its part.
    """

    def __init__(self, tasks: Iterable[tuple[str, str, dict[str, np.ndarray]]]):
        ids: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for study, task, rows in tasks:
            single = "block" if "block" in rows else "unit"
            column = "patient" if len(np.unique(rows["patient"])) > 1 else single
            kind, own = "row" if column == "unit" else column, rows[column]
            ids.setdefault((study, kind), {})[task] = own
        self.unit: dict[str, np.ndarray] = {}
        self.part: dict[str, Part] = {}
        for (study, kind), by_task in ids.items():
            for tasks_of_part in _sharing(by_task):
                parts = [by_task[task] for task in tasks_of_part]
                numbers, count = number_units(parts)
                names = np.unique(np.concatenate(parts))
                text = "\n".join([study, kind, *map(str, names)])
                part = Part(count, zlib.crc32(text.encode()))
                self.unit |= dict(zip(tasks_of_part, numbers, strict=True))
                self.part |= dict.fromkeys(tasks_of_part, part)

    def own(self, task: str) -> Int[np.ndarray, "K"]:
        """Which units of its part a task has; which groups, where they are many."""
        return np.unique(groups(self.part[task].units)[self.unit[task]])

    def of_task(
        self, task: str, scores: Float[np.ndarray, "S 1+U"]
    ) -> Float[np.ndarray, "S 1+K"]:
        """Scores without each unit that the task has, of those without each of its part."""
        return scores[:, np.append(0, 1 + self.own(task))]


def _sharing(ids: dict[str, np.ndarray]) -> list[list[str]]:
    """Tasks in groups that share units, directly or through another task."""
    groups: list[tuple[set, list[str]]] = []
    for task, own in ids.items():
        units, tasks = set(own.tolist()), [task]
        for other in [group for group in groups if group[0] & units]:
            groups.remove(other)
            units, tasks = units | other[0], other[1] + tasks
        groups.append((units, tasks))
    return [tasks for _, tasks in groups]


def permute_deltas(
    deltas: Mapping[str, Float[np.ndarray, "S 1+U"]],
    units: SharedUnits,
    *,
    permutations: int,
    seed: int,
    averaged: Collection[str] | None = None,
    uncorrected: Collection[str] = (),
    further: Collection[str] = (),
    mean_error: float = 0.0,
) -> tuple[dict[str, Tested], Tested | None]:
    """Tests each task's delta and the mean over the `averaged` ones.

    Tasks of one part swap the same patients in the same permutation, so that their null
    deltas can be averaged one by one.

    Args:
      deltas: task -> differences of tuned and base for each fine-tuning seed, with all
        units of its part and without each.
      units: Of all tasks.
      permutations: Number of random ones, where a part has more patterns than that.
      seed: Of the random ones.
      averaged: Tasks that are in the mean; None: all.
      uncorrected: Tasks whose bias is left in, see `contributions`.
      further: Columns of further metrics, see `corrected`.
      mean_error: Standard error of the mean over seeds.

    Returns:
      The tests by task, corrected over all of them, and that of the mean; None when
      it has no task.
    """
    averaged = [task for task in deltas if averaged is None or task in averaged]
    observed, p = {}, {}
    sums: dict[Part, np.ndarray] = {}
    swaps = {
        part: Swaps(min(part.units, UNITS_AT_MOST), permutations, (seed, part.key))
        for part in dict.fromkeys(units.part[task] for task in deltas)
    }
    for task, every in deltas.items():
        part, own = units.part[task], units.of_task(task, every)
        fair = task not in uncorrected
        adds = contributions(own.mean(axis=0), corrected=fair)
        observed[task] = float(adds.mean())
        null = null_deltas(adds, swaps[part], units.own(task))
        p[task] = p_with_seeds(
            observed[task],
            null,
            exact=swaps[part].exact,
            error=seed_error([own]),
            seeds=len(own),
            draws=permutations,
            seed=(seed, part.key, zlib.crc32(task.encode())),
        )
        if task in averaged:
            sums[part] = sums.get(part, 0.0) + null
    stepped, q = corrected(p, further), corrected(p, further, q_values)
    tests = {
        task: Tested(p[task], stepped[task], swaps[units.part[task]].patterns, q[task])
        for task in p
    }
    if not averaged:
        return tests, None
    if len(sums) == 1:
        ((part, total),) = sums.items()
        exact, patterns = swaps[part].exact, swaps[part].patterns
    else:
        exact, patterns = False, permutations
        total = sum(
            redrawn(null, permutations, (seed, part.key, 1))
            if swaps[part].exact
            else null
            for part, null in sums.items()
        )
    p_mean = p_with_seeds(
        float(np.mean([observed[task] for task in averaged])),
        total / len(averaged),
        exact=exact,
        error=mean_error,
        seeds=len(deltas[averaged[0]]),
        draws=permutations,
        seed=(seed, *sorted(part.key for part in sums)),
    )
    return tests, Tested(p_mean, None, patterns)
