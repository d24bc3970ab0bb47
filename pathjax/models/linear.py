"""The product of a linear layer, written so that bfloat16 training is fast on CPUs too.

In float32 it is `x @ kernel + bias` and JAX's own gradient. In a narrower dtype the
gradient is written out, because three things that automatic differentiation gives are
slow in XLA's CPU backend (docs/performance.md has the measurements): products whose
left operand is contracted along its first axis miss the bfloat16 kernels, products that
XLA transposes after it has chosen their dtype fall back to a plain loop, and a bias
gradient summed in bfloat16 is rounded after every addition.

Only jnp and lax operations are used, so vmap, scan, remat and sharding work as ever.
Forward-mode differentiation (jvp) is not offered in narrow dtypes.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

__all__ = ["dense", "is_narrow", "product"]


def dense(
    x: Float[Array, "... C"],
    kernel: Float[Array, "C F"],
    bias: Float[Array, " F"],
    dtype: DTypeLike,
) -> Float[Array, "... F"]:
    """x @ kernel + bias over the last axis, in `dtype`.

    Narrow products are accumulated in float32 and rounded once, after the bias has been
    added. Gradients have the dtypes of their arguments and are not rounded to `dtype`
    on the way.

    Hand x over with its axes apart (batch, tokens): with a single leading axis the
    gradient of a narrow kernel runs at float32's speed on CPUs.
    """
    dtype = jnp.dtype(dtype)
    if is_narrow(dtype):
        return _narrow(x, kernel, bias, dtype, x.dtype)
    # Flattened, since the gradient of the kernel is then a plain product; over (batch,
    # tokens) XLA's CPU backend is 10 % slower in a float32 training step.
    y = x.reshape(-1, x.shape[-1]).astype(dtype) @ kernel.astype(dtype)
    y = y + bias.astype(dtype)[None]
    return y.reshape(*x.shape[:-1], kernel.shape[1])


def is_narrow(dtype: DTypeLike) -> bool:
    """Whether `dtype` is a float of less than 32 bits."""
    return jnp.finfo(dtype).bits < 32


def product(
    a: Array,
    b: Array,
    contract: tuple[tuple[int, ...], tuple[int, ...]],
    batch: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
) -> Array:
    """`lax.dot_general`, accumulated and returned in float32."""
    dims = (contract, batch)
    return lax.dot_general(a, b, dims, preferred_element_type=jnp.float32)


# x_dtype, the dtype of x before it is cast, has to be known when the gradient is made.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _narrow(x: Array, kernel: Array, bias: Array, dtype, x_dtype) -> Array:
    flat = x.reshape(-1, x.shape[-1]).astype(dtype)
    y = product(flat, kernel.astype(dtype), ((1,), (0,))) + bias[None]
    return y.astype(dtype).reshape(*x.shape[:-1], kernel.shape[1])


def _forward(x: Array, kernel: Array, bias: Array, dtype, x_dtype):
    # The kernel is kept as it is, since it lives on anyway, and cast again later.
    y = _narrow(x, kernel, bias, dtype, x_dtype)
    return y, (x.astype(dtype), kernel, bias)


def _backward(dtype, x_dtype, kept, dy: Array):
    x, kernel, bias = kept
    flat = dy.reshape(-1, dy.shape[-1])
    dx = product(flat, kernel.astype(dtype), ((1,), (1,)))
    # Over all leading axes at once and in this order, x is turned in memory and not by
    # the product. The barrier keeps XLA from moving a later transpose (a caller's)
    # into the product, which its CPU backend cannot run.
    leading = tuple(range(x.ndim - 1))
    dkernel = lax.optimization_barrier(product(x, dy, (leading, leading)))
    dbias = flat.astype(jnp.float32).sum(0)
    return (
        dx.astype(x_dtype).reshape(x.shape),
        dkernel.astype(kernel.dtype),
        dbias.astype(bias.dtype),
    )


_narrow.defvjp(_forward, _backward)
