"""LayerNorm in float32 (Ba et al. 2016, arXiv:1607.06450), with its gradient written out.

The gradient of automatic differentiation is a chain of sums and products that XLA's CPU
backend leaves in pieces, with the reciprocal deviation copied to the size of x: a tenth
of a ViT-S training step (docs/performance.md). Here it is two means and one expression:

    dx = rstd (g - mean(g) - z mean(g z)),  g = dy scale,  z = (x - mean(x)) rstd

Forward-mode differentiation (jvp) is not offered.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "... D"],
    scale: Float[Array, " D"],
    bias: Float[Array, " D"],
    epsilon: float,
) -> Float[Array, "... D"]:
    """x with mean 0 and variance 1 over the last axis, times `scale` plus `bias`.

    The variance is that of two passes: cancellation is not worth 1 % of time.
    """
    return _forward(x, scale, bias, epsilon)[0]


def _mean(x: Array) -> Array:
    return x.mean(-1, keepdims=True)


def _along(x: Array, factor: Array) -> Array:
    """`factor`, of the last axis, with the axes of x."""
    return factor.reshape((1,) * (x.ndim - 1) + factor.shape)


def _forward(x: Array, scale: Array, bias: Array, epsilon: float):
    mean = _mean(x)
    rstd = lax.rsqrt(_mean(jnp.square(x - mean)) + epsilon)
    y = (x - mean) * rstd * _along(x, scale) + _along(x, bias)
    return y, (x, mean, rstd, scale)


def _backward(epsilon: float, kept, dy: Array):
    x, mean, rstd, scale = kept
    z = (x - mean) * rstd
    g = dy * _along(x, scale)
    dx = rstd * (g - _mean(g) - z * _mean(g * z))
    rows = tuple(range(x.ndim - 1))
    return dx, (dy * z).sum(rows), dy.sum(rows)


layer_norm.defvjp(_forward, _backward)


class LayerNorm(nn.Module):
    """`layer_norm` with its parameters `scale` and `bias`, 1 and 0 at the start."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        return layer_norm(x.astype(jnp.float32), scale, bias, self.epsilon)
