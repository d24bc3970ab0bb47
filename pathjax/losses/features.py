"""Distances between features of two encoders, such as a tuned one and its base."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.losses.shapes import check_arrays

Distance = Literal["cosine", "mse"]
DISTANCES: tuple[Distance, ...] = ("cosine", "mse")


def feature_distance(
    features: Float[Array, "... D"],
    anchor: Float[Array, "... D"],
    distance: Distance = "cosine",
    eps: float = 1e-6,
) -> Float[Array, "..."]:
    """Distance over the last axis: 0 for equal features, whatever their scale.

    Args:
      features, anchor: Of one shape.
      distance: "cosine" is 1 - cos; "mse" is the mean squared difference after each
        vector is standardised (LayerNorm without parameters), at most 4.
      eps: Added to squared norms and variances, so that zeros have a finite gradient.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
    """
    check_arrays(
        {"features": (features, anchor.shape), "anchor": (anchor, anchor.shape)}
    )
    one, other = features.astype(jnp.float32), anchor.astype(jnp.float32)
    if distance == "mse":
        return jnp.square(_standard(one, eps) - _standard(other, eps)).mean(axis=-1)
    return 1 - (_unit(one, eps) * _unit(other, eps)).sum(axis=-1)


def _unit(x: jax.Array, eps: float) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + eps)


def _standard(x: jax.Array, eps: float) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps)
