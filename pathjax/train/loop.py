"""The loop: validate, save, take a batch, step; made by `train`, which sets it up.

The order is what makes a killed run resume bit for bit: a checkpoint is written before
the next batch is taken, and nothing that is not finite is ever written. A run that is
told to stop saves before it validates, for it may have seconds left; that validation is
then the first thing the resumed run does.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grain.python as grain
import jax
import numpy as np
from ml_collections import ConfigDict

from pathjax.config import ConfigError
from pathjax.data.batch import check_batch
from pathjax.data.pipeline import eval_batches
from pathjax.data.samples import Samples
from pathjax.data.study import Study
from pathjax.files import write_json
from pathjax.models.model_file import FILE, Model, save_model
from pathjax.models.vit import ViTConfig
from pathjax.objectives import Objective
from pathjax.parallel.collective import is_first, rows_of_all, to_host
from pathjax.parallel.mesh import to_global
from pathjax.parallel.preemption import Preempted, Preemption
from pathjax.parallel.slice import Slice
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.optim import merge
from pathjax.train.state import TrainState
from pathjax.train.step import means_of
from pathjax.train.telemetry.metric_writer import MetricWriter
from pathjax.train.telemetry.profiler import Profile
from pathjax.train.telemetry.timing import StepTimer, note

# A step's number, its metrics still on the device, and the rows that were in its batch.
Pending = tuple[int, dict[str, jax.Array], np.ndarray]


class NonFiniteError(FloatingPointError):
    """The loss is NaN or infinite; the message says at which step, on which samples."""


@dataclasses.dataclass
class Stopping:
    """Early stopping's record; part of every checkpoint."""

    mode: str
    patience: int
    best: float | None = None
    best_step: int = 0
    worse: int = 0

    def update(self, step: int, value: float) -> bool:
        """Notes a validation; True when it is the best so far."""
        sign = 1.0 if self.mode == "max" else -1.0
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_step, self.worse = value, step, 0
            return True
        self.worse += 1
        return False

    @property
    def stop(self) -> bool:
        return bool(self.patience) and self.worse >= self.patience


def due(step: int, every: int) -> bool:
    """True at multiples of `every`, never at step 0; 0 is never."""
    return bool(every) and step > 0 and step % every == 0


@dataclasses.dataclass
class Loop:
    """What the loop reads; made once by `train`.

    Attributes:
      validation: samples of the validation fold, or None.
      fixed: config, panel, study and versions; part of every checkpoint.
      model_meta: what travels in model.safetensors.
      finish: exported parameters -> the encoder's config and all in the plain form.
      features: embeddings of all tiles, where they are read in place of tiles.
      progress: called with (steps done, a note).
      preemption: says when to save and stop.
      timer: told what is going on.
      profile: told where the run is.
      validated: False when the run goes on from a checkpoint that was written before
        the validation that was due at its step.
    """

    config: ConfigDict
    workdir: Path
    mesh: jax.sharding.Mesh
    key: jax.Array
    study: Study
    objective: Objective
    validation: Samples | None
    part: Slice
    train_step: Callable
    eval_step: Callable
    stopping: Stopping
    fixed: dict[str, Any]
    model_meta: dict[str, Any]
    finish: Callable[[dict[str, Any]], tuple[ViTConfig, dict[str, Any]]]
    features: np.ndarray | None
    progress: Callable[..., None]
    preemption: Preemption
    timer: StepTimer
    profile: Profile
    validated: bool = True
    _told: dict[str, str] = dataclasses.field(default_factory=dict, init=False)

    def run(
        self,
        state: TrainState,
        start: int,
        iterator: grain.DatasetIterator,
        checkpoints: Checkpoints,
        writer: MetricWriter,
    ) -> TrainState:
        """Steps from `start` to the end, or to early stopping.

        Raises:
          Preempted: a signal said to stop; what was done is saved.
        """
        config, total = self.config, self.config.optim.steps
        step = start
        pending: Pending | None = None
        while True:
            stop = self.preemption.reached()
            new = step != start or start == 0  # a resumed run did these before
            last = step == total or self.stopping.stop
            validating = (new or not self.validated) and self._validates(step, last)
            saving = new and (due(step, config.checkpoint.every) or last)
            if validating or saving or stop:
                # Nothing that is not finite is ever validated or saved.
                self._log(pending, writer)
                pending = None
            if validating and not stop:
                value = self._validate(state, step, writer)
                if value is None:
                    stop = True
                else:
                    validating = False
                    self._told["metric"] = f"{config.eval.metric} {value:.4g}"
                    if self.stopping.update(step, value):
                        self._export(state, step)
                    last = last or self.stopping.stop
            if saving or (new and last) or (stop and step > start):
                # Before the next batch is taken: the iterator's state is that of
                # the batches consumed.
                self._save(checkpoints, step, state, iterator, not validating)
            if stop:
                with self.timer.phase("save"):
                    checkpoints.wait()
                raise Preempted(step, self.workdir)
            self.progress(step, ", ".join(self._told.values()))
            if last:
                break
            self.profile.at(step, state)
            with self.timer.phase("data"):
                batch = next(iterator)
                if step == start:
                    check_batch(batch, self.objective.requires)
                rows = to_global(batch, self.mesh)
            with self.timer.phase("compile" if step == start else "step"):
                state, logs = self.train_step(state, rows, self.key)
            # One step late: the device works on this step while the host reads the
            # numbers of the one before and the next batch.
            self._log(pending, writer)
            step += 1
            pending = (step, logs, batch["sample"])
        self.profile.at(step, state)
        # A run without validation leaves its last parameters; one that had ended
        # already is left alone, unless it was killed before it could write them.
        ended_before = step == start and (self.workdir / FILE).exists()
        if not config.eval.every and not ended_before:
            self._export(state, step)
        return state

    def _validates(self, step: int, last: bool) -> bool:
        every = self.config.eval.every
        return due(step, every) or bool(last and every)

    def _log(self, pending: Pending | None, writer: MetricWriter) -> None:
        """Looks at the step's numbers; stops when they are not finite."""
        if pending is None:
            return
        step, logs, rows = pending
        with self.timer.phase("step"):
            host = jax.device_get(logs)
        self.timer.moved(step)
        values = {name: float(value) for name, value in host.items()}
        if not np.isfinite(values["loss"]):
            self._stop_non_finite(step, values, rows)
        if due(step, self.config.log.every):
            times = self.timer.flush(step)
            self._told["times"] = note(times)
            writer.write(step, {f"train/{k}": v for k, v in values.items()} | times)

    def _stop_non_finite(self, step: int, values: dict, rows: np.ndarray) -> None:
        table = self.study.samples.reset_index(drop=True)
        rows = rows_of_all(rows)
        names = [str(one) for one in table["sample_id"].to_numpy()[rows]]
        path = self.workdir / "nonfinite.json"
        text = {name: str(value) for name, value in values.items()}
        if is_first():
            write_json(path, {"step": step, "samples": names, "metrics": text})
        raise NonFiniteError(
            f"the loss is {values['loss']} at step {step}; the batch held "
            f"{len(names)} samples: {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''} (all in {path}). Look at their tiles "
            "and expression, or lower optim.lr; the last checkpoint is from before"
        )

    def _validate(self, state, step, writer) -> float | None:
        """The metric to stop by; None when a signal came first."""
        config = self.config
        totals: dict[str, float] = {}
        batches = eval_batches(
            self.study,
            self.validation,
            batch=config.data.batch,
            tiles=config.data.tiles,
            image_px=config.data.image_px,
            threads=config.data.threads,
            part=self.part,
            features=self.features,
        )
        with self.timer.phase("validation"), contextlib.closing(batches):
            for batch in batches:
                if self.preemption.reached():
                    return None
                sums = self.eval_step(state, to_global(batch, self.mesh), self.key)
                for name, value in jax.device_get(sums).items():
                    totals[name] = totals.get(name, 0.0) + float(value)
                self.timer.moved(step)
        means = {f"val/{name}": value for name, value in means_of(totals).items()}
        writer.write(step, means)
        if config.eval.metric not in means:
            raise ConfigError(
                f"eval.metric={config.eval.metric!r} is not measured; there are "
                f"{', '.join(sorted(means))}"
            )
        return means[config.eval.metric]

    def _save(self, checkpoints, step, state, iterator, validated: bool) -> None:
        meta = self.fixed | {
            "step": step,
            "iterator": iterator.get_state(),
            "stopping": dataclasses.asdict(self.stopping),
            "validated": validated,
        }
        with self.timer.phase("save"):
            checkpoints.save(step, state, meta)

    def _export(self, state: TrainState, step: int) -> None:
        with self.timer.phase("save"):
            params = merge(state.params, state.frozen)
            host = to_host(self.objective.export(params, state.extra))
            if is_first():
                vit, plain = self.finish(host)
                save_model(
                    self.workdir, Model(plain, vit, self.model_meta | {"step": step})
                )
