"""What an objective is: pure functions of (parameters, batch, key, step).

An objective turns a model and a batch into losses per example; the trainer reduces,
differentiates, updates and stores. It knows no optimiser or config.

A loss is two functions. `represent` takes each row by itself: encoders and heads, all
that costs memory. `compare` is where rows meet: negatives, correlations, centres. Cut
there, a batch can go through `represent` in parts and still be one batch to `compare`
(`accumulate.py`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from pathjax.models.vit import ViT, ViTConfig, normalise

Params = dict[str, Any]
Batch = dict[str, jax.Array]
# Values [B] of the rows [B] that are true; an array alone is of the batch's mask.
Metric = jax.Array | tuple[jax.Array, jax.Array]
# Losses [B], metrics by name, and what update_extra needs.
Losses = tuple[jax.Array, dict[str, Metric], Any]


class ObjectiveError(ValueError):
    """An objective, or an option of one, that does not exist or cannot be built."""


def counted(metric: Metric, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A metric's values and the rows that they are of."""
    return metric if isinstance(metric, tuple) else (metric, mask)


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
      represent: (params, extra, batch, key, step, train) -> arrays [B, ...] by name;
        `key` is the run's base key, what depends on the step is derived inside.
      compare: (params, extra, representations, batch, step, mesh) -> (values, metrics,
        aux). `values` and each of `metrics` are [B] float32, to be averaged over the
        mask, or over rows of its own where a metric is a pair (values, rows). `mesh` is
        what the rows are divided over, or None: where rows meet, devices do.
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
    represent: Callable[[Params, Any, Batch, jax.Array, Any, bool], Batch]
    compare: Callable[[Params, Any, Batch, Batch, Any, Mesh | None], Losses]
    encode: Callable[[Params, jax.Array], jax.Array]
    export: Callable[[Params, Any], Params]
    predict: Callable[[Params, Batch], dict[str, jax.Array]]
    update_extra: Callable[[Any, Params, Any, Any], Any] = keep_extra
    reset_extra: Callable[[Params, Any], Any] = same_extra

    def loss(
        self,
        params: Params,
        extra: Any,
        batch: Batch,
        key: jax.Array,
        step: Any,
        train: bool,
        mesh: Mesh | None = None,
    ) -> Losses:
        """`compare` of `represent`, on one batch."""
        rows = self.represent(params, extra, batch, key, step, train)
        return self.compare(params, extra, rows, batch, step, mesh)


def on_embeddings(objective: Objective) -> Objective:
    """The objective over cached embeddings, `embedding [B, K, E]` in place of `image`.

    The encoder is then no part of its parameters.

    Raises:
      ObjectiveError: it does not read images, or trains the encoder alone.
    """
    if "image" not in objective.requires:
        raise ObjectiveError(
            f"objective {objective.name} trains the encoder itself: it cannot learn "
            "from cached embeddings"
        )
    keys = ("embedding" if k == "image" else k for k in objective.requires)
    return dataclasses.replace(objective, requires=tuple(keys))


def encode(
    config: ViTConfig, params: Params, image: UInt8[Array, "N H W 3"]
) -> Float[Array, "N E"]:
    """Pooled float32 embeddings of uint8 tiles by the encoder `params` alone."""
    pixels = normalise(image, config.mean, config.std, config.dtype)
    return ViT(config).apply({"params": params}, pixels).pooled.astype(jnp.float32)


def pool_tiles(
    config: ViTConfig,
    params: Params,
    batch: Batch,
    *,
    train: bool,
    key: jax.Array,
) -> Float[Array, "B K E"]:
    """Pooled embeddings of K tiles of each sample.

    Args:
      config: of the encoder.
      params: of the objective, with the encoder under "vit".
      batch: with `image [B, K, H, W, 3] uint8`, or `embedding [B, K, E]`, which is
        what an encoder made of them before.
      train, key: `key` draws stochastic depth.
    """
    if "embedding" in batch:
        return batch["embedding"]
    image = batch["image"]
    flat = image.reshape(-1, *image.shape[2:])
    pixels = normalise(flat, config.mean, config.std, config.dtype)
    out = ViT(config).apply(
        {"params": params["vit"]}, pixels, train=train, rngs={"dropout": key}
    )
    return out.pooled.reshape(*image.shape[:2], -1)


def init_encoder(config: ViTConfig, key: jax.Array, batch: Batch) -> Params:
    """`{"vit": ...}`, freshly initialised; {} for a batch of cached embeddings."""
    return {} if "embedding" in batch else {"vit": init_vit(config, key)}


def tiles_like(config: ViTConfig, batch: Batch) -> Float[Array, "1 K E"]:
    """Zeros of the shape of one sample's embeddings, to initialise what reads them."""
    source = batch["embedding"] if "embedding" in batch else batch["image"]
    return jnp.zeros((1, source.shape[1], config.embed_dim), jnp.float32)


def init_vit(config: ViTConfig, key: jax.Array) -> Params:
    """Fresh parameters of the encoder."""
    # Any size will do for shapes; the smallest one traces and runs quickest.
    pixels = jnp.zeros((1, config.patch, config.patch, 3), jnp.float32)
    return ViT(config).init(key, pixels)["params"]
