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
from typing import Any

import jax
from ml_collections import ConfigDict

import pathjax
from pathjax import objectives
from pathjax.atomic import write_json
from pathjax.checkpoint import Checkpoints
from pathjax.config import validate
from pathjax.data.expression import GenePanel, fit_panel, require_same_genes
from pathjax.data.pipeline import (
    MultiCrop,
    Slice,
    train_batches,
)
from pathjax.data.samples import Samples, gather
from pathjax.data.study import Study
from pathjax.data.transforms import Augment
from pathjax.loop import Loop, Stopping
from pathjax.mesh import make_mesh, replicated, require_divisible
from pathjax.model_file import Model, load_model
from pathjax.models.vit import ViTConfig, vit_config
from pathjax.optim import make_optimizer, make_schedule
from pathjax.resume import require_same_run
from pathjax.state import make_state
from pathjax.step import make_eval_step, make_train_step
from pathjax.writer import MetricWriter


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


def read_panel(
    study: Study, config: ConfigDict, init: Model | None
) -> GenePanel | None:
    """Fits the gene panel on the training fold, if the objective reads expression."""
    if config.objective.name == "dino":
        return None
    ids = study.samples["sample_id"].to_numpy()
    train = list(ids[study.fold_samples(config.split, config.fold)])
    expression = study.expression()
    if config.data.drop_unpaired:
        train = [one for one in train if one in expression.obs_names]
    genes: Any = int(config.data.genes)
    if config.data.gene_list:
        text = Path(config.data.gene_list).read_text(encoding="utf-8")
        genes = [line.strip() for line in text.splitlines() if line.strip()]
    panel = fit_panel(expression, train, genes)
    # A start from a model with heads of its own has to keep its genes in order.
    if init is not None and init.meta.get("panel") and set(init.params) != {"vit"}:
        require_same_genes(init.meta["panel"]["genes"], panel.genes, config.init)
    return panel


def view_options(config: ConfigDict) -> Augment | MultiCrop:
    """How training views are made."""
    if config.objective.name == "dino":
        return MultiCrop(**config.multicrop.to_dict())
    keys = ("flip", "stain", "min_scale")
    return Augment(**{key: config.data[key] for key in keys})


def build_objective(
    config: ConfigDict, vit: ViTConfig, panel: GenePanel | None
) -> objectives.Objective:
    """The objective that the config names."""
    options = config.objective.to_dict()
    name = options.pop("name")
    if name == "dino":
        options.setdefault("total_steps", config.optim.steps)
    n_genes = None if panel is None else len(panel.genes)
    return objectives.build(name, vit, n_genes, **options)


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
      StudyError, GeneListError: the data do not fit.
      MeshError: the batch does not divide over the devices.
      NonFiniteError: the loss was not finite.
      CheckpointError: a checkpoint could not be written or read.
    """
    validate(config)
    workdir = Path(workdir)
    mesh = make_mesh(config.mesh.data, config.mesh.fsdp)
    require_divisible(config.data.batch, mesh)
    part = Slice(jax.process_index(), jax.process_count())

    study = Study(config.study)
    init = load_model(config.init) if config.init else None
    overrides = config.model.to_dict()
    vit = vit_config(
        overrides.pop("variant"), image_px=config.data.image_px, **overrides
    )
    panel = read_panel(study, config, init)
    objective = build_objective(config, vit, panel)
    counts = "counts" in objective.requires
    reading = {
        "unit": config.data.unit,
        "pair_by": config.data.pair_by,
        "panel": panel,
        "counts": counts,
        "drop_unpaired": config.data.drop_unpaired,
    }
    samples = gather(study, config.split, config.fold, **reading)
    validation = None
    if config.val_fold:
        validation = gather(study, config.split, config.val_fold, **reading)

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
    )
    optim = config.optim
    schedule = make_schedule(
        steps=optim.steps, lr=optim.lr, warmup=optim.warmup, end_lr=optim.end_lr
    )
    tx = make_optimizer(
        schedule,
        weight_decay=optim.weight_decay,
        clip=optim.clip,
        b2=optim.b2,
        vit_lr=optim.vit_lr,
    )
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated(mesh))()
    state, shardings = make_state(
        objective,
        tx,
        key,
        example_batch(config, objective, panel),
        mesh,
        freeze=tuple(optim.freeze),
        init={"vit": init.params["vit"]} if init else None,
        init_name=config.init,
    )

    fixed = {
        "config": json.loads(config.to_json()),
        "panel": panel.to_json() if panel else None,
        "study": {"name": study.name, "fingerprint": study.fingerprint},
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
    }
    stopping = Stopping(config.eval.mode, config.eval.patience)
    first = jax.process_index() == 0
    with Checkpoints(workdir / "checkpoints", config.checkpoint.keep) as checkpoints:
        start = checkpoints.latest() or 0
        if start:
            meta = checkpoints.meta(start)
            require_same_run(meta, fixed, workdir)
            state = checkpoints.restore(start, state)
            iterator.set_state(meta["iterator"])
            stopping = Stopping(**meta["stopping"])
        if first:
            write_json(workdir / "config.json", fixed)

        loop = Loop(
            config=config,
            workdir=workdir,
            mesh=mesh,
            key=key,
            study=study,
            objective=objective,
            validation=validation,
            part=part,
            train_step=make_train_step(objective, tx, mesh, shardings),
            eval_step=make_eval_step(objective, mesh, shardings),
            stopping=stopping,
            fixed=fixed,
            model_meta=model_meta(config, fixed, study, samples, init),
            vit=vit,
            progress=progress or (lambda done, note="": None),
        )
        with MetricWriter(
            workdir, start, tensorboard=config.log.tensorboard, active=first
        ) as writer:
            state = loop.run(state, start, iterator, checkpoints, writer)
        step = int(state.step)
    return TrainResult(workdir / "model.safetensors", step, stopping.best)


def example_batch(
    config: ConfigDict, objective: objectives.Objective, panel: GenePanel | None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a global batch, for initialisation."""
    b, px = config.data.batch, config.data.image_px
    crops, genes = config.multicrop, len(panel.genes) if panel else 0
    shapes = {
        "image": ((b, config.data.tiles, px, px, 3), "uint8"),
        "crops_global": ((b, crops.global_crops, px, px, 3), "uint8"),
        "crops_local": (
            (b, crops.local_crops, crops.local_px, crops.local_px, 3),
            "uint8",
        ),
        "expression": ((b, genes), "float32"),
        "counts": ((b, genes), "float32"),
        "library": ((b,), "float32"),
        "mask": ((b,), "bool"),
        "pair_id": ((b,), "int32"),
    }
    wanted = dict.fromkeys([*objective.requires, "mask", "pair_id"])
    return {key: jax.ShapeDtypeStruct(*shapes[key]) for key in wanted}


def model_meta(
    config: ConfigDict,
    fixed: dict[str, Any],
    study: Study,
    samples: Samples,
    init: Model | None,
) -> dict[str, Any]:
    """What travels in model.safetensors beside the parameters."""
    patients = study.samples["patient_id"].to_numpy()[samples.row]
    slides = study.tiles["slide_id"].to_numpy()[samples.tile_rows]
    seen = {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "synthetic": study.synthetic,
        "objective": config.objective.name,
        "patients": sorted({str(one) for one in patients}),
        "slides": sorted({str(one) for one in slides}),
    }
    earlier = init.meta["audit"] if init else []
    return {
        "name": config.name,
        "objective": config.objective.to_dict(),
        "image_px": config.data.image_px,
        "panel": fixed["panel"],
        "versions": fixed["versions"],
        "config": fixed["config"],
        "init": config.init,
        "seed": config.seed,
        "audit": [*earlier, seen],
    }
