"""The loop: validate, save, take a batch, step.

The order makes a killed run resume bit for bit: a checkpoint is written before the next
batch is taken, and a state that is not finite is never written. A run that receives a
signal saves before it validates, since it may have seconds left; that validation is then
the first thing the resumed run does.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from pathjax.parallel.preemption import Preempted, Preemption
from pathjax.train.hooks import (
    Batch,
    Feed,
    Saver,
    StepLog,
    Stopping,
    Validator,
    require_finite,
)
from pathjax.train.state import TrainState
from pathjax.train.telemetry.profiler import Profile
from pathjax.train.telemetry.timing import StepTimer


@dataclasses.dataclass
class Hooks:
    """What `fit` calls between steps."""

    log: StepLog
    validate: Validator | None  # None without validation
    save: Saver
    export: Callable[[TrainState, int], None]  # writes the model file
    stopping: Stopping
    preemption: Preemption
    profile: Profile
    timer: StepTimer
    progress: Callable[..., Any]  # called with (steps done, a note)


def fit(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]],
    state: TrainState,
    feed: Feed,
    hooks: Hooks,
    *,
    workdir: Path,
    start: int,
    steps: int,
    validated: bool = True,
) -> TrainState:
    """Steps from `start` to `steps`, or to early stopping.

    Args:
      train_step: (state, batch) -> (state, logs).
      state: After `start` steps.
      feed: Batches.
      hooks: What happens between steps.
      workdir: The run's folder, for the message of a preempted run.
      start, steps: Steps taken before, and in all.
      validated: False if the checkpoint at `start` was written before its validation.

    Raises:
      Preempted: A signal stopped the run, which is saved.
      NonFiniteError: The loss or the parameters were not finite.
    """
    step, timer, validate = start, hooks.timer, hooks.validate
    while True:
        interrupted = hooks.preemption.reached()
        new = step != start or start == 0  # a resumed run did these before
        last = step == steps or hooks.stopping.stop
        validating = (
            validate is not None and (new or not validated) and validate.due(step, last)
        )
        saving = new and (hooks.save.due(step) or last)
        if validating or saving or interrupted:
            hooks.log.flush()  # a state that is not finite is never written
            if new:
                require_finite(state, step)
        if validate is not None and validating and not interrupted:
            improved = validate(state, step)
            interrupted = improved is None
            validating = interrupted
            if improved:
                with timer.phase("save"):
                    hooks.export(state, step)
            last = last or hooks.stopping.stop
        if saving or (new and last) or (interrupted and step > start):
            # Before the next batch is taken: the iterator's state is then that of the
            # batches consumed.
            hooks.save(step, state, not validating)
        if interrupted:
            hooks.save.wait()
            raise Preempted(step, workdir)
        notes = (hooks.log.note, validate.note if validate else "")
        hooks.progress(step, ", ".join(filter(None, notes)))
        hooks.profile.at(step, state)
        if last:
            return state
        with timer.phase("data"):
            batch, rows = next(feed)
        with timer.phase("compile" if step == start else "step"):
            state, logs = train_step(state, batch)
        step += 1
        hooks.log.push(step, logs, rows)
