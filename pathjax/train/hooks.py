"""What happens between steps: logging, validation, checkpoints.

Each hook is independent of the others; `loop.fit` calls them in order.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain.python as grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from pathjax.config import ConfigError, EvalConfig
from pathjax.data.batch import check_batch
from pathjax.files import write_json
from pathjax.parallel.collective import is_first, rows_of_all
from pathjax.parallel.mesh import to_global
from pathjax.parallel.preemption import Preemption
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.state import TrainState
from pathjax.train.step import means_of
from pathjax.train.telemetry.learning import Learning
from pathjax.train.telemetry.metric_writer import MetricWriter
from pathjax.train.telemetry.timing import StepTimer, note

Batch = dict[str, jax.Array]


class NonFiniteError(FloatingPointError):
    """The loss, the parameters or all validations are NaN or infinite."""


@jax.jit
def _all_finite(params: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(params)]).all()


def require_finite(state: TrainState, step: int) -> None:
    """Refuses parameters that are not finite: the loss of their step is from before.

    Raises:
      NonFiniteError: Naming the step.
    """
    if not _all_finite((state.params, state.extra)):
        raise NonFiniteError(
            f"the parameters are not finite after step {step}, although its loss was: "
            "lower optim.lr. They were not saved; the last checkpoint is from before"
        )


def due(step: int, every: int) -> bool:
    """True at multiples of `every`, except step 0; never if `every` is 0."""
    return bool(every) and step > 0 and step % every == 0


class Feed:
    """Training batches on the devices, with the rows of their samples.

    Args:
      iterator: Of host batches; its state is that of the batches consumed.
      mesh: Of the run.
      requires: Keys that a batch must have; checked on the first one.
    """

    def __init__(
        self, iterator: grain.DatasetIterator, mesh: Mesh, requires: tuple[str, ...]
    ):
        self.iterator = iterator
        self._mesh, self._requires, self._checked = mesh, requires, False

    def __next__(self) -> tuple[Batch, np.ndarray]:
        batch = next(self.iterator)
        if not self._checked:
            check_batch(batch, self._requires)
            self._checked = True
        return to_global(batch, self._mesh), batch["sample"]


@dataclasses.dataclass
class Stopping:
    """Early stopping's record; part of every checkpoint."""

    mode: str
    patience: int
    best: float | None = None
    best_step: int = 0
    worse: int = 0

    def update(self, step: int, value: float) -> bool:
        """Records a validation; True if it is the best so far, and finite."""
        sign = 1.0 if self.mode == "max" else -1.0
        # Checkpoints of earlier versions may have a best value that is not finite.
        best = -math.inf
        if self.best is not None and math.isfinite(self.best):
            best = sign * self.best
        if math.isfinite(value) and sign * value > best:
            self.best, self.best_step, self.worse = value, step, 0
            return True
        self.worse += 1
        return False

    @property
    def stop(self) -> bool:
        """Whether the run should end."""
        return bool(self.patience) and self.worse >= self.patience


@dataclasses.dataclass
class StepLog:
    """Reads the numbers of steps one step late, and refuses a loss that is not finite.

    Late, because the device computes a step while the host reads the numbers of the
    step before and loads the next batch.

    Attributes:
      workdir: The run's folder.
      sample_ids: Of the study, by row.
      writer, timer: Of the run.
      every: Steps between lines.
      learning: Warns of lines that show no learning.
      note: The last line, for a progress bar.
    """

    workdir: Path
    sample_ids: np.ndarray
    writer: MetricWriter
    timer: StepTimer
    every: int
    learning: Learning
    note: str = ""
    _pending: tuple[int, dict[str, jax.Array], np.ndarray] | None = None

    def push(self, step: int, logs: dict[str, jax.Array], rows: np.ndarray) -> None:
        """Flushes the step before, and keeps this one for later."""
        self.flush()
        self._pending = (step, logs, rows)

    def flush(self) -> None:
        """Reads the last step's numbers.

        Raises:
          NonFiniteError: Its loss is not finite.
        """
        if self._pending is None:
            return
        (step, logs, rows), self._pending = self._pending, None
        with self.timer.phase("step"):
            host = jax.device_get(logs)
        self.timer.moved(step)
        values = {name: float(value) for name, value in host.items()}
        if not np.isfinite(values["loss"]):
            self._refuse(step, values, rows)
        if due(step, self.every):
            times = self.timer.flush(step)
            self.note = note(times)
            losses = {f"train/{name}": value for name, value in values.items()}
            self.writer.write(step, losses | times)
            self.learning(step, values)

    def _refuse(self, step: int, values: dict[str, float], rows: np.ndarray) -> None:
        names = [str(name) for name in self.sample_ids[rows_of_all(rows)]]
        path = self.workdir / "nonfinite.json"
        text = {name: str(value) for name, value in values.items()}
        if is_first():
            write_json(path, {"step": step, "samples": names, "metrics": text})
        raise NonFiniteError(
            f"the loss is {values['loss']} at step {step}; the batch held "
            f"{len(names)} samples: {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''} (all in {path}). Look at their tiles "
            "and expression, or lower optim.lr. The last checkpoint is from before"
        )


@dataclasses.dataclass
class Validator:
    """Computes the metric to choose the best model and to stop by.

    Attributes:
      config: Section `eval`.
      eval_step: (state, batch) -> sums over rows and their counts.
      batches: Returns an iterator over the validation fold.
      mesh, stopping, preemption, writer, timer: Of the run.
      note: The last result, for a progress bar.
    """

    config: EvalConfig
    eval_step: Callable[[TrainState, Batch], dict[str, jax.Array]]
    batches: Callable[[], Iterator[dict[str, np.ndarray]]]
    mesh: Mesh
    stopping: Stopping
    preemption: Preemption
    writer: MetricWriter
    timer: StepTimer
    note: str = ""

    def due(self, step: int, last: bool) -> bool:
        """Whether to validate after `step`."""
        return due(step, self.config.every) or last

    def __call__(self, state: TrainState, step: int) -> bool | None:
        """Whether the state is the best so far; None if a signal came first."""
        totals: dict[str, float] = {}
        batches: Any = self.batches()  # a generator, to be closed
        with self.timer.phase("validation"), contextlib.closing(batches):
            for batch in batches:
                if self.preemption.reached():
                    return None
                sums = self.eval_step(state, to_global(batch, self.mesh))
                for name, value in jax.device_get(sums).items():
                    totals[name] = totals.get(name, 0.0) + float(value)
                self.timer.moved(step)
        means = {f"val/{name}": value for name, value in means_of(totals).items()}
        self.writer.write(step, means)
        metric = self.config.metric
        if metric not in means:
            raise ConfigError(
                f"eval.metric={metric!r}: expected one of {', '.join(sorted(means))}"
            )
        self.note = f"{metric} {means[metric]:.4g}"
        return self.stopping.update(step, means[metric])


@dataclasses.dataclass
class Saver:
    """Writes checkpoints.

    Attributes:
      checkpoints: Of the run.
      record: Constant entries of each checkpoint's metadata.
      iterator: Of training batches.
      stopping, timer: Of the run.
      every: Steps between checkpoints.
    """

    checkpoints: Checkpoints
    record: dict[str, Any]
    iterator: grain.DatasetIterator
    stopping: Stopping
    timer: StepTimer
    every: int

    def due(self, step: int) -> bool:
        """Whether to save after `step`."""
        return due(step, self.every)

    def __call__(self, step: int, state: TrainState, validated: bool) -> None:
        """Begins to write; `validated` is False if a validation is still to be done."""
        meta = self.record | {
            "step": step,
            "iterator": self.iterator.get_state(),
            "stopping": dataclasses.asdict(self.stopping),
            "validated": validated,
        }
        with self.timer.phase("save"):
            self.checkpoints.save(step, state, meta)

    def wait(self) -> None:
        """Returns when the last checkpoint is complete."""
        with self.timer.phase("save"):
            self.checkpoints.wait()
