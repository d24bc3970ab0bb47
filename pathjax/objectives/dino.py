"""DINO: self-distillation without labels (Caron et al. 2021), to make base models.

The student sees all views, the teacher, an exponential moving average of the student,
the global ones. Collapse is held off by centring and sharpening the teacher's output.
The exported encoder is the teacher's. Views are cut by the data pipeline.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax import losses
from pathjax.models.towers import l2_normalise
from pathjax.models.vit import LINEAR_INIT, ViT, ViTConfig, normalise
from pathjax.objectives.objective import (
    Objective,
    ObjectiveError,
    encode,
    init_vit,
)
from pathjax.rng import stream

PROTOTYPE_INIT = nn.initializers.normal(1.0)  # only directions count


class DINOHead(nn.Module):
    """Three-layer GELU MLP, unit length, then prototypes of unit length.

    The last layer is the paper's weight-normalised linear with its gain fixed at 1, so
    logits are cosines: `kernel [bottleneck, P]` counts by its columns' directions only.
    """

    prototypes: int
    hidden: int
    bottleneck: int

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B P"]:
        x = x.astype(jnp.float32)
        for i, width in enumerate((self.hidden, self.hidden, self.bottleneck)):
            x = nn.gelu(x, approximate=False) if i else x
            x = nn.Dense(width, kernel_init=LINEAR_INIT, name=f"fc{i + 1}")(x)
        shape = (self.bottleneck, self.prototypes)
        kernel = self.param("prototypes", PROTOTYPE_INIT, shape, jnp.float32)
        return l2_normalise(x) @ l2_normalise(kernel.T).T


def momentum_at(
    step: int | Array, total_steps: int, start: float = 0.996
) -> Float[Array, ""]:
    """The teacher's momentum: a cosine from `start` at step 0 to 1 at the last."""
    done = jnp.clip(jnp.asarray(step, jnp.float32) / total_steps, 0, 1)
    return 1 - (1 - start) * 0.5 * (1 + jnp.cos(jnp.pi * done))


def temperature_at(
    step: int | Array, start: float, end: float, warmup_steps: int
) -> Float[Array, ""]:
    """The teacher's temperature: linear from `start` to `end`, then constant."""
    done = jnp.asarray(step, jnp.float32) / max(warmup_steps, 1)
    return start + (end - start) * jnp.clip(done, 0, 1)


def moved(teacher, student, momentum):
    """momentum * teacher + (1 - momentum) * student, leaf by leaf."""
    return jax.tree.map(lambda t, s: t + (1 - momentum) * (s - t), teacher, student)


def build(
    vit: ViTConfig,
    n_genes: int | None = None,
    *,
    total_steps: int,
    prototypes: int = 4096,
    hidden: int = 2048,
    bottleneck: int = 256,
    momentum: float = 0.996,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
    teacher_temperature_start: float = 0.04,
    warmup_steps: int | None = None,
    centre_momentum: float = 0.9,
    freeze_last_steps: int = 0,
) -> Objective:
    """Builds the objective. Defaults are the paper's, but for `prototypes` (65,536).

    Args:
      vit: the encoder; stochastic depth acts on the student only.
      n_genes: not used; every objective takes it.
      total_steps: length of the momentum's schedule.
      prototypes: P, the outputs that are compared.
      hidden, bottleneck: of the head.
      momentum: of the teacher at step 0, rising to 1.
      student_temperature: of the student's softmax.
      teacher_temperature, teacher_temperature_start: of the teacher's, after and before
        a linear warm-up.
      warmup_steps: of that warm-up; by default three tenths of `total_steps`.
      centre_momentum: of the running centre.
      freeze_last_steps: steps in which the prototypes are not trained.

    Raises:
      ObjectiveError: for numbers outside their range.
    """
    ranges = {
        "total_steps": (total_steps, 1, math.inf),
        "prototypes": (prototypes, 2, math.inf),
        "hidden": (hidden, 1, math.inf),
        "bottleneck": (bottleneck, 1, math.inf),
        "momentum": (momentum, 0, 1),
        "centre_momentum": (centre_momentum, 0, 1),
        "student_temperature": (student_temperature, 1e-4, math.inf),
        "teacher_temperature": (teacher_temperature, 1e-4, math.inf),
        "teacher_temperature_start": (teacher_temperature_start, 1e-4, math.inf),
        "freeze_last_steps": (freeze_last_steps, 0, math.inf),
    }
    wrong = [
        f"{name}={value}: wanted {low} to {high}"
        for name, (value, low, high) in ranges.items()
        if not low <= value <= high
    ]
    if wrong:
        raise ObjectiveError("cannot build DINO: " + "; ".join(wrong))
    warmup = round(0.3 * total_steps) if warmup_steps is None else warmup_steps
    head = DINOHead(prototypes, hidden, bottleneck)

    def init(key, batch):
        embedded = jnp.zeros((1, vit.embed_dim), jnp.float32)
        params = {
            "vit": init_vit(vit, stream(key, "init/vit", 0)),
            "head": head.init(stream(key, "init/head", 0), embedded)["params"],
        }
        centre = jnp.zeros(prototypes, jnp.float32)
        return params, {"teacher": copied(params), "centre": centre}

    def copied(params):
        # Not an alias: the state is donated, and a buffer cannot be donated twice.
        return jax.tree.map(jnp.copy, params)

    def project(params, crops, key, train):
        batch, views = crops.shape[:2]
        pixels = normalise(
            crops.reshape(batch * views, *crops.shape[2:]), vit.mean, vit.std, vit.dtype
        )
        out = ViT(vit).apply(
            {"params": params["vit"]}, pixels, train=train, rngs={"dropout": key}
        )
        logits = head.apply({"params": params["head"]}, out.pooled)
        return logits.reshape(batch, views, prototypes)

    def represent(params, extra, batch, key, step, train):
        held = params["head"]["prototypes"]
        if freeze_last_steps:
            frozen = jax.lax.stop_gradient(held)
            held = jnp.where(step < freeze_last_steps, frozen, held)
        student = {**params, "head": {**params["head"], "prototypes": held}}
        views = [
            project(student, batch[name], stream(key, f"dino/{name}", step), train)
            for name in ("crops_global", "crops_local")
        ]
        no_key = stream(key, "dino/teacher", step)  # the teacher draws nothing
        teacher = jax.lax.stop_gradient(
            project(extra["teacher"], batch["crops_global"], no_key, False)
        )
        return {"student": jnp.concatenate(views, axis=1), "teacher": teacher}

    def compare(params, extra, rows, batch, step, mesh=None):
        student, teacher = rows["student"], jax.lax.stop_gradient(rows["teacher"])
        sharp = temperature_at(
            step, teacher_temperature_start, teacher_temperature, warmup
        )
        values = losses.dino_loss(
            student,
            teacher,
            extra["centre"],
            student_temperature,
            sharp,
        )
        mask = batch["mask"]
        q = jax.nn.log_softmax((teacher - extra["centre"][None, None]) / sharp)
        entropy = -(jnp.exp(q) * q).sum(axis=-1).mean(axis=1)
        # Sums, not means: padding weighs nothing, and sums of batches can be added.
        kept = jnp.where(mask[:, None, None], teacher, 0)
        aux = {
            "sum": kept.sum(axis=(0, 1)),
            "count": (mask.sum() * teacher.shape[1]).astype(jnp.float32),
        }
        return jnp.where(mask, values, 0), {"teacher_entropy": entropy}, aux

    def update_extra(extra, params, aux, step):
        mean = aux["sum"] / jnp.maximum(aux["count"], 1)
        rate = jnp.where(aux["count"] > 0, 1 - centre_momentum, 0.0)
        return {
            "teacher": moved(
                extra["teacher"], params, momentum_at(step, total_steps, momentum)
            ),
            "centre": extra["centre"] + rate * (mean - extra["centre"]),
        }

    return Objective(
        name="dino",
        requires=("crops_global", "crops_local", "mask"),
        init=init,
        represent=represent,
        compare=compare,
        update_extra=update_extra,
        reset_extra=lambda params, extra: {**extra, "teacher": copied(params)},
        encode=lambda params, image: encode(vit, params["vit"], image),
        export=lambda params, extra: {"vit": extra["teacher"]["vit"]},
        predict=lambda params, batch: {},
    )
