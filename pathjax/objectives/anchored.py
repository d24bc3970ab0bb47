"""Anchors any objective to its starting model: gain the new, keep the old.

    loss = the objective's loss + weight x distance of the encoder's features to the base's

The base's features are those of the starting weights, without gradient. With adapters
they come from the same weights with the adapters left out; else a copy of the starting
encoder is kept in the state. Each tile passes once through each of the two encoders, so
a step costs one forward pass more. Feature distillation against forgetting follows Li
and Hoiem 2016 ("Learning without forgetting"), here on features in place of logits.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.losses.features import DISTANCES, Distance, feature_distance
from pathjax.models.lora import DOWN, UP
from pathjax.models.vit import ViT, ViTOutputs, normalise
from pathjax.objectives.objective import Batch, Objective, Params, extended
from pathjax.rng import stream


@dataclasses.dataclass(frozen=True)
class Anchor:
    """Keeps the encoder's features close to those of the model given as `init`.

    Attributes:
      weight: Factor on the distance of pooled features; 0 trains without an anchor.
      patches: Factor on the distance of patch tokens, relative to `weight`.
      distance: "cosine" or "mse" (after standardising each vector).
      end: The weight at the last step, as a fraction of `weight`; linear between.
    """

    weight: float = 0.0
    patches: float = 0.0
    distance: Distance = "cosine"
    end: float = 1.0

    def problems(self) -> list[str]:
        """All invalid options, a phrase each."""
        problems = [
            f"anchor.{name}={value}: expected a finite number, at least 0"
            for name, value in (
                ("weight", self.weight),
                ("patches", self.patches),
                ("end", self.end),
            )
            if not 0 <= value < math.inf
        ]
        if self.distance not in DISTANCES:
            problems.append(
                f"anchor.distance={self.distance!r}: expected {' or '.join(DISTANCES)}"
            )
        return problems

    def between(self, tuned: ViTOutputs, base: ViTOutputs) -> jax.Array:
        """The distance of each image, `[N]`."""
        pooled = feature_distance(tuned.pooled, base.pooled, self.distance)
        if not self.patches:
            return pooled
        tokens = feature_distance(tuned.patches, base.patches, self.distance)
        return pooled + self.patches * tokens.mean(axis=-1)

    def weight_at(self, step: Any, steps: int) -> jax.Array:
        """The weight at a step of a run of `steps`; constant if that is unknown."""
        done = jnp.clip(jnp.asarray(step, jnp.float32) / max(steps - 1, 1), 0, 1)
        return self.weight * (1 + (self.end - 1) * done * (steps > 1))


def anchored(objective: Objective, anchor: Anchor) -> Objective:
    """The objective with an anchor, or as it is if the anchor's weight is 0.

    The result is a subclass of the objective's own class: it declares the same needs,
    exports the same parameters and predicts the same. Its extra state is the pair of the
    objective's own and the base's encoder.

    Args:
      objective: After `setup`.
      anchor: Without problems.
    """
    return extended(objective, _Anchored, anchor=anchor) if anchor.weight else objective


class _Anchored(Objective):
    """What an anchor changes of an objective's methods; comes before its class."""

    anchor: Anchor

    def _base(self, params: Params) -> Params:
        """A copy of the starting encoder; {} where leaving out adapters gives it."""
        return {} if self.spec.vit.lora else jax.tree.map(jnp.array, params["vit"])

    def init(self, key, batch):
        params, extra = super().init(key, batch)
        return params, (extra, self._base(params))

    def reset_extra(self, params, extra):
        return super().reset_extra(params, extra[0]), self._base(params)

    def represent(self, params, extra, batch, key, step, train):
        vit, image = self.spec.vit, batch["image"]
        pixels = normalise(
            image.reshape(-1, *image.shape[2:]), vit.mean, vit.std, vit.dtype
        )
        sampled = stream(key, "anchor/vit", step)
        tuned: Any = ViT(vit).apply(
            {"params": params["vit"]}, pixels, train=train, rngs={"dropout": sampled}
        )
        start = extra[1] or without_adapters(params["vit"])
        base: Any = ViT(vit.replace(lora=None)).apply({"params": start}, pixels)
        distance = self.anchor.between(tuned, jax.lax.stop_gradient(base))
        shape = image.shape[:2]
        inner: Batch = {name: rows for name, rows in batch.items() if name != "image"}
        inner["embedding"] = tuned.pooled.reshape(*shape, -1)
        rows = super().represent(params, extra[0], inner, key, step, train)
        return rows | {"anchor": distance.reshape(shape).mean(axis=1)}

    def compare(self, params, extra, rows, batch, step, mesh=None):
        own = {name: value for name, value in rows.items() if name != "anchor"}
        values, metrics, aux = super().compare(params, extra[0], own, batch, step, mesh)
        distance = jnp.where(batch["mask"], rows["anchor"], 0)
        weight = self.anchor.weight_at(step, self.spec.steps)
        return values + weight * distance, {**metrics, "anchor": distance}, aux

    def update_extra(self, extra, params, aux, step):
        return super().update_extra(extra[0], params, aux, step), extra[1]

    def export(self, params, extra):
        return super().export(params, extra[0])


def without_adapters(vit: Params) -> Params:
    """An encoder's parameters without adapters, as before they were trained."""
    flat = flatten_dict(vit)
    return unflatten_dict({p: v for p, v in flat.items() if p[-1] not in (DOWN, UP)})
