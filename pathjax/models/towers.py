"""Modules on top of the encoders: aggregation, text tower, projections, heads.

All small, all float32. Losses are in `losses/`; an objective chooses its heads.
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pathjax.models.layer_norm import LayerNorm
from pathjax.models.vit import LINEAR_INIT
from pathjax.parallel.mesh import keep_rows

# Radford et al. 2021: the inverse temperature starts at 1/0.07 and stays below 100.
INIT_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100)
# Zhai et al. 2023, for the sigmoid loss.
INIT_SIGMOID_LOG_SCALE = math.log(10)
INIT_SIGMOID_BIAS = -10.0
# Largest absolute log-rate of the negative-binomial head: exp(15) is beyond any count
# per unit of library, and far from float32's overflow.
MAX_LOG_RATE = 15.0


def l2_normalise(x: Float[Array, "... E"], eps: float = 1e-6) -> Float[Array, "... E"]:
    """x / sqrt(|x|^2 + eps^2) in float32; a zero vector stays zero, gradient finite."""
    x = x.astype(jnp.float32)
    square = jnp.square(x).sum(axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(square + eps**2)


class Projection(nn.Module):
    """To the shared space: linear, or with a hidden GELU layer; unit length, float32.

    Attributes:
      embed_dim: E.
      hidden: width of the hidden layer, 0 for none.
    """

    embed_dim: int
    hidden: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B E"]:
        x = x.astype(jnp.float32)
        init = nn.initializers.lecun_normal()
        if self.hidden:
            x = nn.gelu(
                nn.Dense(self.hidden, kernel_init=init, name="fc1")(x),
                approximate=False,
            )
        x = nn.Dense(self.embed_dim, use_bias=False, kernel_init=init, name="out")(x)
        return l2_normalise(x)


class TextTower(nn.Module):
    """Frozen report embeddings to a vector: Dense, LayerNorm, GELU, dropout.

    The embeddings come from an encoder that is not trained here, so one layer
    adapts them; the projection to the shared space follows.

    Attributes:
      width: D.
      dropout: probability of dropping a unit, from the stream "dropout" when `train`.
    """

    width: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, text: Float[Array, "B T"], *, train: bool = False
    ) -> Float[Array, "B D"]:
        x = nn.Dense(self.width, name="fc1")(text.astype(jnp.float32))
        x = LayerNorm(name="norm1")(x)
        x = nn.gelu(x, approximate=False)
        return keep_rows(nn.Dropout(self.dropout, deterministic=not train)(x))


class Aggregator(nn.Module):
    """K tiles of a sample to one vector: `[B, K, D]` to `[B, D]`, order-invariant.

    Attributes:
      kind: "mean", or "attention": gated attention of Ilse et al. 2018, weights
        softmax_k(w . (tanh(V h_k) * sigmoid(U h_k))).
      hidden: of V and U.
    """

    kind: Literal["mean", "attention"] = "mean"
    hidden: int = 128

    @nn.compact
    def __call__(
        self, tiles: Float[Array, "B K D"], tile_mask: Bool[Array, "B K"] | None = None
    ) -> Float[Array, "B D"]:
        if self.kind not in ("mean", "attention"):
            raise ValueError(
                f"aggregator={self.kind!r}: expected 'mean' or 'attention'"
            )
        if tile_mask is None:
            tile_mask = jnp.ones(tiles.shape[:2], bool)
        if tile_mask.shape != tiles.shape[:2]:
            raise ValueError(
                f"tile_mask is {list(tile_mask.shape)}, expected {list(tiles.shape[:2])}"
            )
        mask = tile_mask[..., None]
        tiles = jnp.where(mask, tiles, 0).astype(jnp.float32)
        if self.kind == "mean":
            # A sample with no tile is zeros, and padding.
            return tiles.sum(axis=1) / jnp.maximum(mask.sum(axis=1), 1)
        v = nn.Dense(self.hidden, kernel_init=LINEAR_INIT, name="value")(tiles)
        u = nn.Dense(self.hidden, kernel_init=LINEAR_INIT, name="gate")(tiles)
        score = nn.Dense(1, use_bias=False, kernel_init=LINEAR_INIT, name="score")(
            jnp.tanh(v) * jax.nn.sigmoid(u)
        )
        # Finite, so that a sample with no tile gets zeros and no NaN.
        score = jnp.where(mask, score, jnp.finfo(jnp.float32).min)
        return (jax.nn.softmax(score, axis=1) * tiles).sum(axis=1)


class RegressionHead(nn.Module):
    """Expression from an image embedding: LayerNorm and a linear, `[B, D]` to `[B, G]`.

    Public encoders differ in the scale of their output; the norm keeps one learning
    rate right for all.
    """

    genes: int

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B G"]:
        x = LayerNorm(name="norm")(x.astype(jnp.float32))
        return nn.Dense(self.genes, kernel_init=LINEAR_INIT, name="out")(x)


class NegativeBinomialHead(nn.Module):
    """Log-rate per unit of library `[B, G]`, and log-dispersion `[G]`.

    Expected counts are library * exp(log_rate) (log link, library as exposure). The
    bias starts at log(1/G), an even share of the library each, and the dispersion at 1.
    Log-rates are held softly within +-15 of 0.
    """

    genes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B D"]
    ) -> tuple[Float[Array, "B G"], Float[Array, "G"]]:
        x = LayerNorm(name="norm")(x.astype(jnp.float32))
        start = nn.initializers.constant(-math.log(self.genes))
        dense = nn.Dense(
            self.genes, kernel_init=LINEAR_INIT, bias_init=start, name="out"
        )
        log_rate = MAX_LOG_RATE * jnp.tanh(dense(x) / MAX_LOG_RATE)
        zeros = nn.initializers.zeros
        return log_rate, self.param("log_dispersion", zeros, (self.genes,))


class DINOHead(nn.Module):
    """Three-layer GELU MLP, unit length, then prototypes of unit length.

    The last layer is DINO's weight-normalised linear with its gain fixed at 1, so
    logits are cosines: only the directions of `prototypes [bottleneck, P]` count.
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
        init = nn.initializers.normal(1.0)
        kernel = self.param("prototypes", init, shape, jnp.float32)
        return l2_normalise(x) @ l2_normalise(kernel.T).T


@jax.custom_vjp
def clip_log_scale(log_scale: Float[Array, ""]) -> Float[Array, ""]:
    """min(log_scale, log 100), with a gradient that can come back from the bound.

    A plain clip has no gradient above the bound: a temperature that once overshot would
    stay for good. Here, above the bound, a gradient that would raise it further is
    dropped and one that lowers it passes, as projected descent would do.
    """
    return jnp.minimum(log_scale, MAX_LOG_SCALE)


def _clip_forward(log_scale):
    return clip_log_scale(log_scale), log_scale


def _clip_backward(log_scale, gradient):
    return (jnp.where((log_scale > MAX_LOG_SCALE) & (gradient < 0), 0, gradient),)


clip_log_scale.defvjp(_clip_forward, _clip_backward)


class Temperature(nn.Module):
    """The learned log inverse temperature, clipped, and the sigmoid loss's bias.

    Attributes:
      sigmoid: start at the sigmoid loss's values and add its bias.
    """

    sigmoid: bool = False

    @nn.compact
    def __call__(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        start = INIT_SIGMOID_LOG_SCALE if self.sigmoid else INIT_LOG_SCALE
        scale = self.param("log_scale", nn.initializers.constant(start), ())
        bias = jnp.zeros(())
        if self.sigmoid:
            init = nn.initializers.constant(INIT_SIGMOID_BIAS)
            bias = self.param("bias", init, ())
        return clip_log_scale(scale), bias
