"""`train(config, workdir)`: the one loop, whatever the objective.

DINO pre-training, contrastive and regression fine-tuning differ by objective; the
command line, the tests, the notebooks and a pod all call this. A run that is killed at
any moment and started again ends bit for bit as if it had not been.

    study -> panel -> batches -> state -> [validate, save, next batch, step]* -> model
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

import pathjax
from pathjax.config import validate
from pathjax.data.pipeline import train_batches
from pathjax.data.samples import gather
from pathjax.data.study import Study
from pathjax.embeddings.cache import cached_embeddings, identity
from pathjax.files import write_json
from pathjax.models.blocks import from_plain
from pathjax.models.model_file import load_model
from pathjax.parallel.collective import MeshSlice, is_first, require_same
from pathjax.parallel.mesh import make_mesh, replicated, require_divisible
from pathjax.parallel.preemption import Preemption
from pathjax.progress import console
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.loop import Loop, Stopping
from pathjax.train.program import make_program
from pathjax.train.resume import (
    comparable,
    continuation,
    layout,
    require_same_run,
)
from pathjax.train.setup import (
    encoder_config,
    make_finish,
    model_meta,
    read_panel,
    read_texts,
    require_negatives,
    require_same_scale,
    text_dim_of,
    view_options,
)
from pathjax.train.telemetry.metric_writer import MetricWriter
from pathjax.train.telemetry.mfu import model_flops, peak_flops
from pathjax.train.telemetry.profiler import Profile
from pathjax.train.telemetry.timing import StepTimer
from pathjax.train.telemetry.watchdog import Watchdog


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
      model: path of model.safetensors (best on validation, else last).
      step: steps taken; fewer than configured after early stopping.
      best: the best validation value, None without validation.
    """

    model: Path
    step: int
    best: float | None


def train(
    config: ConfigDict,
    workdir: str | Path,
    progress: Callable[..., None] | None = None,
) -> TrainResult:
    """Runs or resumes one training run.

    Args:
      config: from `config.load`.
      workdir: the run's folder; holds config.json, metrics.jsonl, checkpoints/ and
        model.safetensors.
      progress: called with (steps done, a note).

    Returns:
      Where the model is, and how it went.

    Raises:
      ConfigError: the config cannot be run, or another run lies in `workdir`.
      StudyError, GeneListError, TextError: the data do not fit.
      MeshError: the batch does not divide over the devices.
      NonFiniteError: the loss was not finite.
      CheckpointError: a checkpoint could not be written or read.
      ProcessError: the processes of a run were not given the same.
      Preempted: a signal said to stop; what was done is saved.
    """
    validate(config)
    workdir = Path(workdir)
    mesh = make_mesh(config.mesh.data, config.mesh.fsdp)
    parts = config.optim.accumulate
    require_divisible(
        config.data.batch // parts,
        mesh,
        "data.batch" if parts == 1 else "data.batch / optim.accumulate",
    )
    part = MeshSlice(mesh)

    study = Study(config.study)
    init = load_model(config.init) if config.init else None
    require_same_scale(config, study, init)
    vit = encoder_config(config, init)
    panel = read_panel(study, config, init)
    texts = read_texts(study, config)
    fixed = {
        "config": json.loads(config.to_json()),
        "panel": panel.to_json() if panel else None,
        "text": texts.scale.to_json() if texts else None,
        "study": {"name": study.name, "fingerprint": study.fingerprint},
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
        "layout": layout(mesh),
    }
    if jax.process_count() > 1:
        start = identity(config.init).split()[-1] if config.init else ""
        require_same(comparable(fixed, start))
    program = make_program(config, vit, panel, mesh, text_dim_of(fixed))
    objective = program.objective
    counts = "counts" in objective.requires
    reading = {
        "unit": config.data.unit,
        "pair_by": config.data.pair_by,
        "panel": panel,
        "counts": counts,
        "drop_unpaired": config.data.drop_unpaired,
        "texts": texts,
    }
    samples = gather(study, config.split, config.fold, **reading)
    require_negatives(config, samples)
    validation = None
    if config.val_fold:
        validation = gather(study, config.split, config.val_fold, **reading)

    towers = config.adapt.mode == "towers"
    features = None
    if towers:
        features = cached_embeddings(
            workdir / "embeddings.h5", init, identity(config.init), study
        )
    iterator = train_batches(
        study,
        samples,
        batch=config.data.batch,
        tiles=config.data.tiles,
        image_px=config.data.image_px,
        options=view_options(config),
        seed=config.seed,
        threads=config.data.threads,
        buffer=config.data.buffer,
        part=part,
        features=features,
    )
    start_from = None
    if init is not None and not towers:
        start_from = {"vit": from_plain(vit, init.params["vit"])}
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated(mesh))()
    state, shardings = program.make_state(key, start_from, config.init)

    stopping = Stopping(config.eval.mode, config.eval.patience)
    with (
        Preemption() as preemption,
        Checkpoints(workdir / "checkpoints", config.checkpoint.keep) as checkpoints,
        Profile(workdir, config.log.profile) as profile,
    ):
        start, validated = checkpoints.latest() or 0, True
        if start:
            meta = checkpoints.meta(start)
            require_same_run(meta, fixed, workdir)
            state = checkpoints.restore(start, state)
            iterator.set_state(meta["iterator"])
            stopping = Stopping(**meta["stopping"])
            validated = meta.get("validated", True)
            told = continuation(meta, fixed)
            if told and is_first():
                console.print(told, highlight=False)
        if is_first():
            write_json(workdir / "config.json", fixed)

        peak, flops = peak_flops(mesh.devices.flat, vit.dtype), None
        if peak:
            once = vit.replace(remat=False)
            flops = model_flops(
                make_program(config, once, panel, mesh, text_dim_of(fixed))
            )
        images = config.data.batch * config.data.tiles
        timer = StepTimer(start, images, flops, peak)
        loop = Loop(
            config=config,
            workdir=workdir,
            mesh=mesh,
            key=key,
            study=study,
            objective=objective,
            validation=validation,
            part=part,
            train_step=program.train_step(shardings),
            eval_step=program.eval_step(shardings),
            stopping=stopping,
            fixed=fixed,
            model_meta=model_meta(config, fixed, study, samples, init),
            finish=make_finish(vit, init),
            features=features,
            progress=progress or (lambda done, note="": None),
            preemption=preemption,
            timer=timer,
            profile=profile,
            validated=validated,
        )
        with (
            Watchdog(workdir, timer, config.log.stall_seconds),
            MetricWriter(
                workdir,
                start,
                tensorboard=config.log.tensorboard,
                active=is_first(),
                validated=validated,
            ) as writer,
        ):
            state = loop.run(state, start, iterator, checkpoints, writer)
        step = int(state.step)
    return TrainResult(workdir / "model.safetensors", step, stopping.best)
