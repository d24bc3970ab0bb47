"""What a probe is given and what it gives back: one fit of a task.

A task has one round, or with cross-validation one for each fold of its split.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from pathjax.embeddings.features import FileRows
from pathjax.evals.labels import Folds
from pathjax.evals.plan import Plan, PlanError, make_plan
from pathjax.evals.protocols import Protocol
from pathjax.evals.tasks import Task, TaskError

LARGE = 16_384  # rows


@dataclasses.dataclass(frozen=True)
class Round:
    """Labelled rows by role, and all that is known of the task.

    Attributes:
      task, study, protocol: what is asked, of what and how.
      folds: rows with labels.
      labels: by role: class numbers `[n]` or values `[n, T]`.
      classes: how many classes; 0 for values.
      features: embeddings of all the study's tiles, `[T, E]`, for bags.
    """

    task: Task
    study: Any
    protocol: Protocol
    folds: Folds
    labels: dict[str, Shaped[np.ndarray, "_ *more"]]
    classes: int
    features: Float[np.ndarray, "T E"] | FileRows

    @property
    def learned(self) -> list[str]:
        """Roles that are learned from: fit, and select where there is one."""
        return [role for role in ("fit", "select") if role in self.labels]

    def rows(self, field: str) -> np.ndarray:
        """A field of the learned rows, fit then select."""
        return _joined([getattr(getattr(self.folds, r), field) for r in self.learned])

    @property
    def y(self) -> np.ndarray:
        """Labels of the learned rows."""
        return _joined([self.labels[role] for role in self.learned])

    def plan(self, seeds: int) -> tuple[Plan, str]:
        """Weights over patients; over slides where the split has one patient.

        Raises:
          TaskError: fit and select rows cannot be arranged.
        """
        unit, split = "patient", self.study.split(self.task.split)
        one_patient = len(np.unique(self.folds.fit.patient)) == 1
        if one_patient and split.unit == "slide_id":
            # A split that holds slides of one patient apart is chosen inside by slide.
            unit = "slide"
        groups = np.unique(self.rows(unit), return_inverse=True)[1]
        select = np.repeat(
            [role == "select" for role in self.learned],
            [len(self.labels[role]) for role in self.learned],
        )
        try:
            plan = make_plan(
                groups,
                select,
                self.y if self.classes else None,
                seeds=seeds,
                folds=self.protocol.folds,
                seed=self.protocol.resample_seed,
            )
        except PlanError as error:
            raise TaskError(f"task {self.task.name}: {error}") from error
        return plan, unit


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """One array; itself, not a copy, where it is one already."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a probe found.

    Attributes:
      prediction: `[R, n, T]` of the test rows for each probe seed or run: class
        scores, the largest is the class, or values.
      strength: of each seed, what was chosen of the protocol's grid, or None.
      how: for the record: what chose it, and what else there is to know.
    """

    prediction: Float[np.ndarray, "R n T"]
    strength: tuple[float | int | None, ...]
    how: dict[str, Any]


def bucket(rows: int) -> int:
    """Rows rounded up a little, so that tasks of about one size share a compile.

    Of large tasks the padded copy would cost more than a compile.
    """
    if rows > LARGE:
        return rows
    step = max(64, 2 ** (max(rows, 1).bit_length() - 4))
    return -(-rows // step) * step


def pad(array: np.ndarray, axis: int = 0) -> np.ndarray:
    """Zero rows up to the bucket; as weights they make the other rows not count."""
    missing = bucket(array.shape[axis]) - array.shape[axis]
    if not missing:
        return array
    width = [(0, 0)] * array.ndim
    width[axis] = (0, missing)
    return np.pad(array, width)


def chosen_by(round: Round, plan: Plan) -> str:
    """In words, what a strength was chosen on."""
    return f"fold {round.task.select}" if plan.folds == 0 else f"{plan.folds} folds"


def chosen(grid, choice, loss) -> tuple[tuple[float | int, ...], dict[str, Any]]:
    """Each seed's strength, and what the record says of seed 0's."""
    at_edge = int(choice[0]) in (0, len(grid) - 1)
    return tuple(grid[int(one)] for one in choice), {
        "strength_at_edge": len(grid) > 1 and at_edge,
        "held_out_loss": [float(one) for one in loss[0]],
    }
