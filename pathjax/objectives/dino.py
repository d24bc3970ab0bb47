"""DINO: self-distillation without labels (Caron et al. 2021), to make base models.

The student sees all views; the teacher, an exponential moving average of the student,
sees the global ones. Centring and sharpening the teacher's output prevents collapse.
The exported encoder is the teacher's. The data pipeline cuts the views.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax import losses
from pathjax.data.transforms import MultiCrop
from pathjax.models.towers import DINOHead
from pathjax.models.vit import ViT, normalise
from pathjax.objectives.objective import Objective, ObjectiveError
from pathjax.rng import stream


def momentum_at(
    step: int | Array, total_steps: int, start: float = 0.996
) -> Float[Array, ""]:
    """The teacher's momentum: a cosine from `start` at step 0 to 1 at the last step."""
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


def copied(params):
    """A copy, not an alias: the state is donated, and a buffer only once."""
    return jax.tree.map(jnp.copy, params)


@dataclasses.dataclass(frozen=True)
class DINO(Objective):
    """Self-distillation. Defaults are the paper's except `prototypes` (65,536 there).

    Stochastic depth applies to the student only.

    Attributes:
      total_steps: Length of the momentum schedule; 0 takes the run's steps.
      prototypes: P, outputs that are compared.
      hidden: Hidden width of the head.
      bottleneck: Width before the prototypes.
      momentum: Momentum of the teacher at step 0, rising to 1.
      student_temperature: Temperature of the student's softmax.
      teacher_temperature: Temperature of the teacher's softmax after a linear warm-up.
      teacher_temperature_start: Temperature before that warm-up.
      warmup_steps: Length of that warm-up; None takes three tenths of `total_steps`.
      centre_momentum: Momentum of the running centre.
      freeze_last_steps: First steps, in which the prototypes are not trained.
    """

    unit = "tile"
    views = MultiCrop
    supports_validation = False
    supports_embeddings = False

    total_steps: int = 0
    prototypes: int = 4096
    hidden: int = 2048
    bottleneck: int = 256
    momentum: float = 0.996
    student_temperature: float = 0.1
    teacher_temperature: float = 0.07
    teacher_temperature_start: float = 0.04
    warmup_steps: int | None = None
    centre_momentum: float = 0.9
    freeze_last_steps: int = 0

    def problems(self, batch: int) -> list[str]:
        ranges = {
            "total_steps": (0, math.inf),
            "prototypes": (2, math.inf),
            "hidden": (1, math.inf),
            "bottleneck": (1, math.inf),
            "momentum": (0, 1),
            "centre_momentum": (0, 1),
            "student_temperature": (1e-4, math.inf),
            "teacher_temperature": (1e-4, math.inf),
            "teacher_temperature_start": (1e-4, math.inf),
            "freeze_last_steps": (0, math.inf),
        }
        return super().problems(batch) + [
            f"{name}={getattr(self, name)}: expected {low} to {high}"
            for name, (low, high) in ranges.items()
            if not low <= getattr(self, name) <= high
        ]

    def setup(self, spec):
        ready = super().setup(spec)
        total = self.total_steps or spec.steps
        if total < 1:
            raise ObjectiveError("objective DINO: total_steps is unknown: set it")
        warmup = self.warmup_steps
        return dataclasses.replace(
            ready,
            total_steps=total,
            warmup_steps=round(0.3 * total) if warmup is None else warmup,
        )

    @functools.cached_property
    def head(self) -> DINOHead:
        return DINOHead(self.prototypes, self.hidden, self.bottleneck)

    def init(self, key, batch):
        embedded = jnp.zeros((1, self.spec.vit.embed_dim), jnp.float32)
        params = self.init_encoder(stream(key, "init/vit", 0))
        made = self.head.init(stream(key, "init/head", 0), embedded)
        params["head"] = made["params"]
        centre = jnp.zeros(self.prototypes, jnp.float32)
        return params, {"teacher": copied(params), "centre": centre}

    def _project(self, params, crops, key, train):
        vit, (batch, views) = self.spec.vit, crops.shape[:2]
        pixels = normalise(
            crops.reshape(batch * views, *crops.shape[2:]), vit.mean, vit.std, vit.dtype
        )
        out = ViT(vit).apply(
            {"params": params["vit"]}, pixels, train=train, rngs={"dropout": key}
        )
        logits = self.head.apply({"params": params["head"]}, out.pooled)
        return logits.reshape(batch, views, self.prototypes)

    def represent(self, params, extra, batch, key, step, train):
        held = params["head"]["prototypes"]
        if self.freeze_last_steps:
            frozen = jax.lax.stop_gradient(held)
            held = jnp.where(step < self.freeze_last_steps, frozen, held)
        student = {**params, "head": {**params["head"], "prototypes": held}}
        views = [
            self._project(
                student, batch[name], stream(key, f"dino/{name}", step), train
            )
            for name in ("crops_global", "crops_local")
        ]
        no_key = stream(key, "dino/teacher", step)  # the teacher has no dropout
        teacher = jax.lax.stop_gradient(
            self._project(extra["teacher"], batch["crops_global"], no_key, False)
        )
        return {"student": jnp.concatenate(views, axis=1), "teacher": teacher}

    def compare(self, params, extra, rows, batch, step, mesh=None):
        student, teacher = rows["student"], jax.lax.stop_gradient(rows["teacher"])
        sharp = temperature_at(
            step,
            self.teacher_temperature_start,
            self.teacher_temperature,
            self.warmup_steps,
        )
        values = losses.dino_loss(
            student, teacher, extra["centre"], self.student_temperature, sharp
        )
        mask = batch["mask"]
        q = jax.nn.log_softmax((teacher - extra["centre"][None, None]) / sharp)
        entropy = -(jnp.exp(q) * q).sum(axis=-1).mean(axis=1)
        # Sums, not means: padding has no weight, and sums of batches can be added.
        kept = jnp.where(mask[:, None, None], teacher, 0)
        aux = {
            "sum": kept.sum(axis=(0, 1)),
            "count": (mask.sum() * teacher.shape[1]).astype(jnp.float32),
        }
        return jnp.where(mask, values, 0), {"teacher_entropy": entropy}, aux

    def update_extra(self, extra, params, aux, step):
        mean = aux["sum"] / jnp.maximum(aux["count"], 1)
        rate = jnp.where(aux["count"] > 0, 1 - self.centre_momentum, 0.0)
        momentum = momentum_at(step, self.total_steps, self.momentum)
        return {
            "teacher": moved(extra["teacher"], params, momentum),
            "centre": extra["centre"] + rate * (mean - extra["centre"]),
        }

    def reset_extra(self, params, extra):
        return {**extra, "teacher": copied(params)}

    def export(self, params, extra):
        return {"vit": extra["teacher"]["vit"]}
