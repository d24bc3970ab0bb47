"""`train(config, workdir)`: the one entry to training, whatever the objective.

A run that is killed at any moment and started again ends bit for bit as if it had not
been interrupted.

    config -> inputs -> program -> state -> fit with hooks -> model.safetensors
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

import pathjax
from pathjax.buckets import local
from pathjax.config import Config, ConfigError, RunConfig, resolve
from pathjax.files import write_json
from pathjax.models.model_file import FILE
from pathjax.parallel.allocator import trim_after_compilation
from pathjax.parallel.collective import MeshSlice, barrier, is_first, require_same
from pathjax.parallel.lock import exclusive
from pathjax.parallel.mesh import replicated
from pathjax.parallel.preemption import Preemption
from pathjax.train.bucket_run import LOCK, owned
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.export import Exporter, model_meta
from pathjax.train.hooks import (
    Feed,
    NonFiniteError,
    Saver,
    StepLog,
    Stopping,
    Validator,
)
from pathjax.train.inputs import Inputs, read_inputs
from pathjax.train.loop import Hooks, fit
from pathjax.train.program import Program, make_program
from pathjax.train.resume import (
    comparable,
    continuation,
    layout,
    require_no_other_model,
    require_same_run,
)
from pathjax.train.state import TrainState
from pathjax.train.telemetry.learning import Learning
from pathjax.train.telemetry.metric_writer import MetricWriter
from pathjax.train.telemetry.mfu import model_flops, peak_flops
from pathjax.train.telemetry.profiler import Profile
from pathjax.train.telemetry.timing import StepTimer
from pathjax.train.telemetry.watchdog import Watchdog

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The outcome of a run.

    Attributes:
      model: Path of model.safetensors (best on validation, else last).
      step: Steps taken; fewer than configured after early stopping.
      best: The best validation value; None without validation.
    """

    model: Path
    step: int
    best: float | None


def train(
    config: Config,
    workdir: str | Path,
    progress: Callable[..., None] | None = None,
) -> TrainResult:
    """Runs or resumes one training run, alone in its folder.

    Args:
      config: From `config.load`, or a ConfigDict as config files make it.
      workdir: The run's folder: config.json, metrics.jsonl, checkpoints/ and
        model.safetensors.
      progress: Called with (steps done, a note).

    Raises:
      ConfigError, ObjectiveError: The config cannot be run, or `workdir` holds another
        run or is in use.
      StudyError, TextError: The data do not fit.
      MeshError: The batch does not divide over the devices.
      NonFiniteError: Losses, parameters or all validations were not finite.
      CheckpointError: A checkpoint could not be written or read.
      ProcessError: The processes of a run were started differently.
      Preempted: A signal stopped the run, which is saved.
    """
    config, workdir = resolve(config), local(workdir)
    trim_after_compilation()
    mesh = config.make_mesh()
    progress = progress or (lambda done, note="": None)
    advice = "wait for it, stop it, or choose another --workdir"
    held = exclusive(workdir / LOCK, ConfigError, advice)
    with held if is_first() else contextlib.nullcontext(), owned(workdir):
        barrier("folder")
        inputs = read_inputs(config)
        record = run_record(inputs, mesh)
        keep = config.checkpoint.keep
        with Checkpoints(workdir / "checkpoints", keep) as checkpoints:
            # Before anything in the folder is changed.
            if start := checkpoints.latest():
                require_same_run(checkpoints.meta(start), record, workdir)
            else:
                require_no_other_model(workdir, record)
            return _train(inputs, record, mesh, workdir, checkpoints, progress)


def _train(
    inputs: Inputs,
    record: dict[str, Any],
    mesh: Mesh,
    workdir: Path,
    checkpoints: Checkpoints,
    progress: Callable[..., None],
) -> TrainResult:
    config = inputs.config
    samples, held_out = inputs.training_fold(), inputs.validation_fold()
    features, part = inputs.features(workdir), MeshSlice(mesh)
    program = make_program(config, inputs.objective, mesh)
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated(mesh))()
    state, shardings = program.make_state(key, inputs.start(), config.init)
    batches = inputs.train_batches(samples, part, features)
    meta = model_meta(inputs, samples, held_out, record)
    run = Run(
        config=config,
        workdir=workdir,
        record=record,
        program=program,
        checkpoints=checkpoints,
        feed=Feed(batches, mesh, program.objective.requires),
        held_out=lambda: inputs.eval_batches(held_out, part, features),
        export=Exporter(workdir, program.objective, inputs.init, meta),
        sample_ids=inputs.study.samples["sample_id"].to_numpy(),
        progress=progress,
    )
    return run(state, shardings, key)


def run_record(inputs: Inputs, mesh: Mesh) -> dict[str, Any]:
    """What identifies a run, for its checkpoints; the same on every process.

    Raises:
      ProcessError: The processes were started differently.
    """
    record = inputs.record() | {
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
        "layout": layout(mesh),
    }
    require_same(comparable(record))
    return record


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that is set up: resumes from its last checkpoint and calls `fit`."""

    config: RunConfig
    workdir: Path
    record: dict[str, Any]  # from `run_record`
    program: Program
    checkpoints: Checkpoints
    feed: Feed
    held_out: Callable[[], Iterator[Any]]  # returns validation batches
    export: Exporter
    sample_ids: np.ndarray  # of the study, by row
    progress: Callable[..., None]

    def __call__(
        self, state: TrainState, shardings: Any, key: jax.Array
    ) -> TrainResult:
        """Trains from the newest checkpoint, or from `state`."""
        config, workdir = self.config, self.workdir
        with (
            Preemption() as preemption,
            Profile(workdir, config.log.profile) as profile,
        ):
            state, start, stopping, validated = self._resume(state)
            if is_first():
                write_json(workdir / "config.json", self.record)
            timer = self._timer(start)
            with (
                Watchdog(workdir, timer, config.log.stall_seconds),
                MetricWriter(
                    workdir, start, config.log.tensorboard, is_first(), validated
                ) as writer,
            ):
                every = config.log.every
                concerns = self.program.objective.concerns
                learning = Learning(concerns, config.optim.warmup, is_first())
                validate = Validator(
                    config.eval,
                    _with_key(self.program.eval_step(shardings), key),
                    self.held_out,
                    self.program.mesh,
                    stopping,
                    preemption,
                    writer,
                    timer,
                )
                save = Saver(
                    self.checkpoints,
                    self.record,
                    self.feed.iterator,
                    stopping,
                    timer,
                    config.checkpoint.every,
                )
                state = fit(
                    _with_key(self.program.train_step(shardings), key),
                    state,
                    self.feed,
                    Hooks(
                        StepLog(
                            *(workdir, self.sample_ids, writer, timer, every), learning
                        ),
                        validate if config.eval.every else None,
                        save,
                        self.export,
                        stopping,
                        preemption,
                        profile,
                        timer,
                        self.progress,
                    ),
                    workdir=workdir,
                    start=start,
                    steps=config.optim.steps,
                    validated=validated,
                )
            step = int(state.step)
            if config.eval.every and stopping.best is None:
                raise NonFiniteError(
                    f"{config.eval.metric} was never finite, so no model was written: "
                    f"look at the samples of fold {config.val_fold!r}, or lower optim.lr"
                )
            # Without validation the last parameters are the model. A run that had ended
            # before is left alone, unless it was killed before it could write them.
            ended_before = step == start and (workdir / FILE).exists()
            if not config.eval.every and not ended_before:
                self.export(state, step)
            self.checkpoints.wait()
        return TrainResult(workdir / FILE, step, stopping.best)

    def _resume(self, state: TrainState) -> tuple[TrainState, int, Stopping, bool]:
        """State, step, early stopping, and whether that step was validated."""
        stopping = Stopping(self.config.eval.mode, self.config.eval.patience)
        if (found := self.checkpoints.resume(state)) is None:
            return state, 0, stopping, True
        start, state = found
        meta = self.checkpoints.meta(start)
        self.feed.iterator.set_state(meta["iterator"])
        if (message := continuation(meta, self.record)) and is_first():
            log.warning(message)
        validated = meta.get("validated", True)
        return state, start, Stopping(**meta["stopping"]), validated

    def _timer(self, start: int) -> StepTimer:
        data, vit = self.config.data, self.program.objective.spec.vit
        peak = peak_flops(self.program.mesh.devices.flat, vit.dtype)
        flops = model_flops(self.program).total if peak else None
        return StepTimer(start, data.batch * data.tiles, flops, peak)


def _with_key(step: Callable, key: jax.Array) -> Callable:
    return lambda state, batch: step(state, batch, key)
