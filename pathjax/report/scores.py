"""Every result's scores without each unit, and the intervals that follow from them.

    Scored, rows -> Scores -> LeftOut by model, task and seeds -> Estimate

The unit is the patient; where all test rows are of one patient, a block of neighbouring
rows if the task names blocks, and else the row. Tasks with blocks have intervals over rows
beside them. The statistics are in `stats`, units that tasks share in paired.py.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.evals.results import BLOCK, SLIDE
from pathjax.evals.tasks import further_column
from pathjax.report.paired import SharedUnits, Tested
from pathjax.report.table_data import Estimate
from pathjax.stats.interval import LARGEST_DELTA, interval, left_out
from pathjax.stats.metric import Terms
from pathjax.stats.metrics import find_metric


@dataclasses.dataclass(frozen=True)
class Scored:
    """An entry of results.json with its rows (None where they were not saved)."""

    entry: dict[str, Any]
    rows: dict[str, np.ndarray] | None

    @property
    def key(self) -> tuple[str, str, Any]:
        """Model, task, seed."""
        return self.entry["model"], self.entry["task"], self.entry["seed"]

    def each_metric(self) -> Iterator["Scored"]:
        """One of each metric of the entry, which is a column of its own.

        Entries of further ones are named after both, and have `of`, the task.
        """
        yield self._with({})
        for record in self.entry.get("more_metrics", ()):
            task, found = self.entry["task"], dict(record)
            seeds = zip(self.entry["per_fold"], found.pop("values"), strict=False)
            found["per_fold"] = [seed | {"value": value} for seed, value in seeds]
            column = further_column(task, record["metric"])
            yield self._with(found | {"task": column, "of": task})

    def _with(self, found: dict[str, Any]) -> "Scored":
        item = Scored(self.entry | found, self.rows)
        if self.rows is None:
            return item
        metric, rows = _metric(item), dict(self.rows)
        if self.entry.get("more_metrics"):
            rows["prediction"] = metric.as_needed(rows["prediction"])
        rows["stratum"], combine = metric.grouped(
            rows["stratum"], rows.get(SLIDE), self.entry["combine"]
        )
        return Scored(item.entry | {"combine": combine}, rows)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Scores of some seeds, or differences of two models', with all units and without each.

    Attributes:
      units: Over the task's units.
      rows: Over single rows, of tasks with blocks.
    """

    units: Float[np.ndarray, "S 1+U"]
    rows: Float[np.ndarray, "S 1+R"] | None = None

    def __sub__(self, other: "LeftOut") -> "LeftOut":
        rows = None
        if self.rows is not None and other.rows is not None:
            rows = self.rows - other.rows
        return LeftOut(self.units - other.units, rows)


class Scores:
    """Every entry's scores without each unit, by its key.

    Attributes:
      shared: The units of every task.
    """

    def __init__(self, scored: Sequence[Scored]):
        known = [item for item in scored if item.rows is not None]
        blocked = [item for item in known if BLOCK in item.rows]
        self.shared = _units(known)
        self.scale = {item.entry["task"]: _metric(item).scale for item in known}
        self._units = _all_left_out(known, self.shared)
        rows = _units(blocked, without=BLOCK)
        self._rows = _all_left_out(blocked, rows)

    def of(self, model: str, task: str, seeds: Iterable) -> LeftOut | None:
        """The scores of these seeds; None where rows are missing."""
        keys = [(model, task, seed) for seed in seeds]
        if any(key not in self._units for key in keys):
            return None
        rows = None
        if all(key in self._rows for key in keys):
            rows = np.stack([self._rows[key] for key in keys])
        return LeftOut(np.stack([self._units[key] for key in keys]), rows)

    def estimate(self, value: float, task: str, scores: LeftOut | None) -> Estimate:
        """A score with its intervals."""
        return self._estimate(value, task, scores, scale=self.scale.get(task, ""))

    def estimate_delta(
        self, value: float, task: str, deltas: LeftOut | None, test: Tested | None
    ) -> Estimate:
        """A delta with its test and its intervals, which are within what can occur."""
        limit = LARGEST_DELTA[self.scale.get(task, "")]
        found = self._estimate(value, task, deltas, limit=limit)
        return dataclasses.replace(found, **(vars(test) if test else {}))

    def _estimate(self, value, task, scores: LeftOut | None, **options) -> Estimate:
        if scores is None:
            return Estimate(float(value))
        over = self.shared.of_task(task, scores.units)
        rows: tuple = ()
        if scores.rows is not None:
            rows = interval([scores.rows], **options)
        ends = dict(zip(("row_low", "row_high"), rows, strict=False))
        return Estimate(float(value), *interval([over], **options), **ends)

    def mean_parts(
        self, deltas: Mapping[str, Float[np.ndarray, "S 1+U"]]
    ) -> list[Float[np.ndarray, "S 1+U"]]:
        """Mean of tasks' deltas, for `interval`; parts of the table are independent."""
        parts = []
        for part in dict.fromkeys(self.shared.part[task] for task in deltas):
            # Leaving out a patient of this part leaves the other parts' tasks alone.
            each = [
                delta if self.shared.part[task] == part else delta[:, :1]
                for task, delta in deltas.items()
            ]
            parts.append(sum(each) / len(each))
        return parts


def _units(scored: Sequence[Scored], without: str = "") -> SharedUnits:
    return SharedUnits(
        (
            item.entry["study"],
            item.entry["task"],
            {name: part for name, part in (item.rows or {}).items() if name != without},
        )
        for item in scored
    )


def _metric(item: Scored):
    return find_metric(item.entry["metric"], item.entry["task"], in_file=True)


def _terms(item: Scored, units: SharedUnits) -> Terms:
    rows = item.rows or {}
    return _metric(item).terms(
        rows["truth"],
        rows["prediction"],
        units.unit[item.entry["task"]],
        rows["stratum"],
        item.entry["combine"],
    )


def _all_left_out(
    scored: Sequence[Scored], units: SharedUnits
) -> dict[tuple, np.ndarray]:
    return {
        item.key: left_out(_terms(item, units), units.part[item.entry["task"]].units)
        for item in scored
    }
