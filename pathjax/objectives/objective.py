"""What an objective is: pure functions of (parameters, batch, key, step).

An objective turns a model and a batch into losses per example; the trainer reduces,
differentiates, updates and stores. It knows no optimiser, mesh or config.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from pathjax.models.vit import ViT, ViTConfig, normalise

Params = dict[str, Any]
Batch = dict[str, jax.Array]
# Losses [B], metrics of [B] each, and what update_extra needs.
Losses = tuple[jax.Array, dict[str, jax.Array], Any]


class ObjectiveError(ValueError):
    """An objective, or an option of one, that does not exist or cannot be built."""


def keep_extra(extra: Any, *_: Any) -> Any:
    """`update_extra` of an objective whose extra state does not change."""
    return extra


def same_extra(params: Params, extra: Any) -> Any:
    """`reset_extra` of an objective whose extra state does not follow parameters."""
    return extra


@dataclasses.dataclass(frozen=True)
class Objective:
    """A training objective; every field is pure and can be jitted.

    Attributes:
      name: "contrastive", "regression" or "dino".
      requires: keys that a batch must have.
      init: (key, batch) -> (params, extra). Only shapes of the batch are read. `params`
        has the encoder under "vit"; `extra` is state without gradients, or {}.
      loss: (params, extra, batch, key, step, train) -> (values, metrics, aux).
        `values` and each of `metrics` are [B] float32, to be averaged over the mask;
        `key` is the run's base key, what depends on the step is derived inside.
      update_extra: (extra, params, aux, step) -> extra, after the update at `step`.
      reset_extra: (params, extra) -> extra, for parameters that were replaced after
        `init`, such as by a pretrained encoder.
      encode: (params, image [N, H, W, 3] uint8) -> [N, E] float32; the encoder alone.
      export: (params, extra) -> what a next stage starts from; the encoder is "vit".
      predict: (params, batch) -> arrays by name; {} where there is nothing to predict.
    """

    name: str
    requires: tuple[str, ...]
    init: Callable[[jax.Array, Batch], tuple[Params, Any]]
    loss: Callable[[Params, Any, Batch, jax.Array, Any, bool], Losses]
    encode: Callable[[Params, jax.Array], jax.Array]
    export: Callable[[Params, Any], Params]
    predict: Callable[[Params, Batch], dict[str, jax.Array]]
    update_extra: Callable[[Any, Params, Any, Any], Any] = keep_extra
    reset_extra: Callable[[Params, Any], Any] = same_extra


def encode(
    config: ViTConfig, params: Params, image: UInt8[Array, "N H W 3"]
) -> Float[Array, "N E"]:
    """Pooled float32 embeddings of uint8 tiles by the encoder `params` alone."""
    pixels = normalise(image, config.mean, config.std, config.dtype)
    return ViT(config).apply({"params": params}, pixels).pooled.astype(jnp.float32)


def pool_tiles(
    config: ViTConfig,
    params: Params,
    image: UInt8[Array, "B K H W 3"],
    *,
    train: bool,
    key: jax.Array,
) -> Float[Array, "B K E"]:
    """Pooled embeddings of K tiles of each sample; `key` draws stochastic depth."""
    batch, tiles = image.shape[:2]
    flat = image.reshape(batch * tiles, *image.shape[2:])
    pixels = normalise(flat, config.mean, config.std, config.dtype)
    out = ViT(config).apply(
        {"params": params}, pixels, train=train, rngs={"dropout": key}
    )
    return out.pooled.reshape(batch, tiles, -1)


def init_vit(config: ViTConfig, key: jax.Array) -> Params:
    """Fresh parameters of the encoder."""
    pixels = jnp.zeros((1, config.image_px, config.image_px, 3), jnp.float32)
    return ViT(config).init(key, pixels)["params"]
