"""What is drawn and exchanged as one: the patients of tasks that share patients.

    rows of every task -> units by number, parts -> bootstrap draws, permutation swaps

A patient who is in the test rows of several tasks counts as often, and changes places,
in all of them alike. So tasks that share patients, directly or through another task,
number them together: they are one part. It draws nothing itself.
"""

import dataclasses
import zlib
from collections.abc import Iterable

import numpy as np

from pathjax.stats.bootstrap import number_units


@dataclasses.dataclass(frozen=True)
class Part:
    """Units of tasks that share some.

    Attributes:
      units: how many.
      key: of their names: streams of parts with other units differ, whatever other
        parts a table has.
    """

    units: int
    key: int


def resampled_ids(rows: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """What is a unit: the patient; the row itself where there is one patient."""
    if len(np.unique(rows["patient"])) > 1:
        return rows["patient"], "patient"
    return rows["unit"], "row"


class SharedUnits:
    """The units of every task.

    Args:
      tasks: (study, task, rows) of each task; of a task named twice the last counts.

    Attributes:
      unit: task -> `[N]`, which unit of its part each row is of.
      part: task -> its part.
    """

    def __init__(self, tasks: Iterable[tuple[str, str, dict[str, np.ndarray]]]):
        ids: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for study, task, rows in tasks:
            own, kind = resampled_ids(rows)
            ids.setdefault((study, kind), {})[task] = own
        self.unit: dict[str, np.ndarray] = {}
        self.part: dict[str, Part] = {}
        for (study, kind), named in ids.items():
            for members in _components(named):
                numbers, count = number_units([theirs for _, theirs in members])
                names = np.unique(np.concatenate([theirs for _, theirs in members]))
                text = "\n".join([study, kind, *map(str, names)])
                part = Part(count, zlib.crc32(text.encode()))
                for (task, _), unit in zip(members, numbers, strict=True):
                    self.unit[task], self.part[task] = unit, part


def _components(tasks: dict[str, np.ndarray]) -> list[list[tuple[str, np.ndarray]]]:
    """Tasks in groups that share units, directly or through another task."""
    groups: list[tuple[set, list]] = []
    for task, ids in tasks.items():
        mine, members = set(ids.tolist()), [(task, ids)]
        apart = []
        for theirs, others in groups:
            if mine & theirs:
                mine, members = mine | theirs, others + members
            else:
                apart.append((theirs, others))
        groups = [*apart, (mine, members)]
    return [members for _, members in groups]
