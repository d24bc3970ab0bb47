"""Attention in bfloat16 by plain products, with a gradient that is fast on CPUs too.

Two of the four products of the gradient contract the rows of the weight matrix: dv is
weights^T dy and dk is dlogits^T q. As they come from automatic differentiation, XLA's
CPU backend runs them in float32 on one core (docs/performance.md). Here the small
operand is turned instead, and the result turned back.

What is kept for the gradient are q, k, v and the weights in their narrow dtype.
Choosing an implementation is `pathjax.models.attention`'s.
"""

import jax
from jax import lax
from jaxtyping import Array, Float

from pathjax.models.linear import product

HEADS = (0, 1)  # batch axes of (B, h, N, d)
TURNED = (0, 2)  # of (B, N, h, d)


@jax.custom_vjp
def narrow_attention(
    q: Float[Array, "B h N d"], k: Float[Array, "B h N d"], v: Float[Array, "B h N d"]
) -> Float[Array, "B h N d"]:
    """softmax(q k^T / sqrt(d)) v for each head, all in one narrow dtype.

    Logits, softmax and accumulation are float32; weights are rounded to the dtype of v.
    """
    return _forward(q, k, v)[0]


def _forward(q: Array, k: Array, v: Array):
    logits = product(q * q.shape[-1] ** -0.5, k, ((3,), (3,)), (HEADS, HEADS))
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    y = product(weights, v, ((3,), (2,)), (HEADS, HEADS)).astype(v.dtype)
    return y, (q, k, v, weights)


def _backward(kept, dy: Array):
    q, k, v, weights = kept
    scale = q.shape[-1] ** -0.5
    dweights = product(dy, v, ((3,), (3,)), (HEADS, HEADS))
    inner = (dweights * weights).sum(-1, keepdims=True)
    dlogits = ((dweights - inner) * weights).astype(q.dtype)
    dq = product(dlogits, k, ((3,), (2,)), (HEADS, HEADS)) * scale
    dk = turned_product(q, dlogits) * scale
    dv = turned_product(dy, weights)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)


narrow_attention.defvjp(_forward, _backward)


def turned_product(
    rows: Float[Array, "B h N d"], matrix: Float[Array, "B h N M"]
) -> Float[Array, "B h M d"]:
    """matrix^T rows as (rows^T matrix)^T.

    Without the barriers XLA folds the transposes into the product again: at best it is
    as slow as before, at worst its CPU backend refuses to run it.
    """
    turned = lax.optimization_barrier(rows.transpose(0, 2, 1, 3))  # (B, N, h, d)
    y = product(turned, matrix, ((1,), (2,)), (TURNED, HEADS))  # (B, h, d, M)
    return lax.optimization_barrier(y).swapaxes(2, 3)
