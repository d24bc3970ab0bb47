"""What a probe is given and gives back: one fit of a task.

    Problem (labelled rows by role) -> Probe.fit -> Fit (predictions of the test rows)

A task has one problem, or with cross-validation one for each fold of its split. This
module fits nothing; docs/extend/probe.md adds a probe.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
import scipy.special
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Shaped

from pathjax.evals import EvalError
from pathjax.evals.folds import FoldWeights, fold_weights

LARGE = 16_384  # rows


@dataclasses.dataclass(frozen=True)
class FoldRows:
    """Rows of a fold, tiles or samples.

    Attributes:
      index: Row numbers into `study.tiles` or `study.samples`.
      tiles: Row numbers into `study.tiles` of everything that entered.
      features: `[n, E]` float32; the mean of a sample's tiles at level "sample". Width 0
        before they are read.
      unit, sample, patient, slide: Ids of each row: of the row itself (tile or sample),
        of its sample, its patient, and its slide (a sample's first).
    """

    index: Int[np.ndarray, "n"]
    tiles: Int[np.ndarray, "t"]
    features: Float[np.ndarray, "n E"]
    unit: Shaped[np.ndarray, "n"]
    sample: Shaped[np.ndarray, "n"]
    patient: Shaped[np.ndarray, "n"]
    slide: Shaped[np.ndarray, "n"]

    def keep(self, which: Bool[np.ndarray, "n"]) -> "FoldRows":
        """The rows that `which` marks; `tiles` stays, for the audit."""
        if which.all():
            return self
        kept = {
            name: part[which] for name, part in vars(self).items() if name != "tiles"
        }
        return FoldRows(tiles=self.tiles, **kept)

    def __len__(self) -> int:
        return len(self.index)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a probe learns from and predicts.

    Attributes:
      rows: By role, "fit", "select" (where there is one) and "test".
      labels: By role: class numbers `[n]`, values `[n, T]`, or months and events `[n, 2]`.
      classes: How many classes; 0 for values.
      names: Role to the fold's name, for the record.
      by_slide: The split holds slides of one patient apart.
      bags: `bags([rows, ...], most)` gives each sample's own tiles, at most so many: the
        tiles' embeddings [t, E], and [(tile numbers [n, M], mask [n, M]), ...].
      partner: For retrieval: the other tower's embedding `[n, E]` of the test rows.
      survival: Labels are months and events.
    """

    rows: dict[str, FoldRows]
    labels: dict[str, Shaped[np.ndarray, "_ *more"]]
    classes: int = 0
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    by_slide: bool = False
    bags: Callable[[Sequence[FoldRows], int], tuple] | None = None
    partner: Float[np.ndarray, "n E"] | None = None
    survival: bool = False

    @property
    def test(self) -> FoldRows:
        return self.rows["test"]

    @property
    def learned(self) -> list[str]:
        """Roles that are learned from: fit, and select where there is one."""
        return [role for role in ("fit", "select") if role in self.labels]

    def joined(self, field: str) -> np.ndarray:
        """A field of the learned rows, fit then select."""
        return _joined([getattr(self.rows[role], field) for role in self.learned])

    @property
    def y(self) -> np.ndarray:
        """Labels of the learned rows."""
        return _joined([self.labels[role] for role in self.learned])

    @property
    def dealt(self) -> np.ndarray | None:
        """Classes, or events, that inner folds have alike; None for values."""
        if self.survival:
            return self.y[:, 1].astype(np.int64)
        return self.y if self.classes else None

    def fold_weights(
        self, seeds: int, folds: int, seed: int = 0
    ) -> tuple[FoldWeights, dict[str, str]]:
        """Weights over patients (slides, if the fit fold is one patient's).

        Returns:
          The weights, and what the record says of them.

        Raises:
          EvalError: Fit and select rows cannot be arranged.
        """
        one_patient = len(np.unique(self.rows["fit"].patient)) == 1
        unit = "slide" if one_patient and self.by_slide else "patient"
        weights = fold_weights(
            np.unique(self.joined(unit), return_inverse=True)[1],
            np.repeat(
                [role == "select" for role in self.learned],
                [len(self.labels[role]) for role in self.learned],
            ),
            self.dealt,
            seeds=seeds,
            folds=folds,
            seed=seed,
        )
        held_out = f"{weights.folds} folds"
        if weights.folds == 0:
            held_out = f"fold {self.names['select']}"
        return weights, {"chosen_by": held_out, "groups": unit}


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """One array; no copy of one, nor of parts of one that follow one another."""
    first = parts[0]
    alike = all(
        part.flags.c_contiguous
        and part.base is not None
        and (part.base is first.base and part.dtype == first.dtype)
        and part.shape[1:] == first.shape[1:]
        for part in parts
    )
    if alike and all(
        one.ctypes.data + one.nbytes == other.ctypes.data
        for one, other in itertools.pairwise(parts)
    ):
        shape = sum(map(len, parts)), *first.shape[1:]
        return np.lib.stride_tricks.as_strided(first, shape)
    return first if len(parts) == 1 else np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a probe predicts.

    Attributes:
      prediction: `[R, n, T]` of the test rows for each probe seed or run: class
        probabilities (the largest is the class), values, hits of retrieval, or risk and
        survival curve (stats/survival.py).
      strength: The regularisation, or other setting, chosen for each; None if none is.
      info: For the record: what chose it, and what else there is to know.
      chance: The chance level, where the probe and not the metric knows it.
    """

    prediction: Float[np.ndarray, "R n T"]
    strength: tuple[float | int | None, ...] = (None,)
    info: dict[str, Any] = dataclasses.field(default_factory=dict)
    chance: float | None = None


class Probe:
    """How embeddings become predictions. Subclasses are frozen dataclasses of options.

    Attributes:
      kinds: Kinds of task that it can do: "classification", "regression", "expression",
        "survival", "retrieval".
      samples_only: It takes bags of tiles, so the task's level must be "sample".
      averaged: Its seeds are runs of one fit whose mean is the score; otherwise they
        are bootstrap samples of the fit fold's patients, and seed 0, the whole fold, is.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    samples_only: ClassVar[bool] = False
    averaged: ClassVar[bool] = False

    def fit(self, problem: Problem) -> Fit:
        """Learns from the fit (and select) rows and predicts the test rows.

        Raises:
          EvalError: The rows cannot be learned from; `run_task` adds the task's name.
        """
        raise NotImplementedError(
            f"probe {type(self).__name__} has no method fit(problem): write one, see "
            "docs/extend/probe.md"
        )


def require_finite(*numbers: ArrayLike) -> None:
    """Refuses a solver's losses and gradients that are not numbers.

    Raises:
      EvalError: One is NaN or infinite; what was fitted would be what it began with.
    """
    if not all(np.isfinite(np.asarray(one)).all() for one in numbers):
        raise EvalError(
            "the probe's solver met a loss that is not finite: expected embeddings whose "
            "sums of squares float32 can hold. If they are small numbers, this is a fault: "
            "please report it with the sizes of the task"
        )


def chosen(grid, choice, loss) -> tuple[tuple[float | int, ...], dict[str, Any]]:
    """Each seed's choice from the grid, and what the record says of seed 0's."""
    at_edge = int(choice[0]) in (0, len(grid) - 1)
    return tuple(grid[int(place)] for place in choice), {
        "strength_at_edge": len(grid) > 1 and at_edge,
        "held_out_loss": [float(value) for value in loss[0]],
    }


def class_probabilities(
    logits: Float[np.ndarray, "*rows K"],
) -> Float[np.ndarray, "*rows C"]:
    """Softmax in float64; one logit is that of the second of two classes."""
    logits = np.asarray(logits, np.float64)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    return scipy.special.softmax(logits, axis=-1)


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


def over_devices(
    run: Callable[..., Any], shared: Sequence[Any], each: Sequence[np.ndarray]
) -> Any:
    """`run(*shared, *each)` as NumPy arrays, its runs divided over local devices.

    Runs do not depend on each other, so nothing is exchanged: each device has all rows
    and stops when its own runs have.

    Args:
      run: A jitted function whose results all have a leading axis R.
      shared: Arrays that every run needs whole.
      each: Arrays with a leading axis R, a row for each run.
    """
    runs = len(each[0])
    devices = min(jax.local_device_count(), runs)
    if devices > 1:
        # The first runs again, until they divide; their results are dropped.
        rows = -(-runs // devices) * devices
        each = [np.resize(part, (rows, *part.shape[1:])) for part in each]
        mesh = jax.make_mesh(
            (devices,),
            ("runs",),
            axis_types=(jax.sharding.AxisType.Auto,),
            devices=jax.local_devices()[:devices],
        )
        whole, split = PartitionSpec(), PartitionSpec("runs")
        run = jax.jit(
            jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(whole,) * len(shared) + (split,) * len(each),
                out_specs=split,
                check_vma=False,
            )
        )
    results = run(*shared, *each)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:runs], results)
