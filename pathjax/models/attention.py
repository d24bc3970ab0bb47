"""Self-attention of q, k and v, by the fastest implementation for the device.

- CPU: `einsum_attention`, the fastest measured there, and in bfloat16
  `narrow_attention`, whose gradient is (docs/performance.md).
- GPU in bfloat16: cuDNN's fused kernel, by `jax.nn.dot_product_attention`.
- TPU, and GPU in float32: `einsum_attention`, which XLA fuses.
- "xla" is JAX's own composition of the same operations, for comparison.

The choice is made when a step is traced, from the default backend unless the config
names one. `compiled_for` traces a step for other hardware.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.models.linear import is_narrow
from pathjax.models.narrow_attention import narrow_attention

Implementation = Literal["auto", "einsum", "xla", "cudnn"]
IMPLEMENTATIONS: tuple[Implementation, ...] = ("auto", "einsum", "xla", "cudnn")
# cuDNN's fused attention takes heads of at most 128, in steps of 8.
CUDNN_HEAD_MAX, CUDNN_HEAD_STEP = 128, 8


_TARGET: contextvars.ContextVar[str] = contextvars.ContextVar("target", default="")


@contextlib.contextmanager
def compiled_for(platform: str) -> Iterator[None]:
    """Within the context, steps are traced for "cpu", "gpu" or "tpu"."""
    token = _TARGET.set(platform)
    try:
        yield
    finally:
        _TARGET.reset(token)


def choose(requested: Implementation, platform: str, dtype: str, head: int) -> str:
    """The implementation to use: "einsum", "xla" or "cudnn".

    Args:
      requested: By the config; "auto" chooses by the other arguments.
      platform: "cpu", "gpu" or "tpu".
      dtype: Of q, k and v.
      head: Size of a head.

    Raises:
      ValueError: Unknown, or cuDNN's where it is not supported.
    """
    if requested not in IMPLEMENTATIONS:
        raise ValueError(f"attention={requested!r}: expected one of {IMPLEMENTATIONS}")
    fits = (
        dtype in ("bfloat16", "float16")
        and head <= CUDNN_HEAD_MAX
        and head % CUDNN_HEAD_STEP == 0
    )
    if requested == "cudnn" and not fits:
        raise ValueError(
            f"attention='cudnn': expected bfloat16 and heads of at most {CUDNN_HEAD_MAX} in "
            f"steps of {CUDNN_HEAD_STEP}, got {dtype} and heads of {head}; set "
            "model.dtype=bfloat16, or model.attention=einsum"
        )
    if requested == "auto":
        return "cudnn" if platform == "gpu" and fits else "einsum"
    return requested


def attend(
    q: Float[Array, "B h N d"],
    k: Float[Array, "B h N d"],
    v: Float[Array, "B h N d"],
    requested: Implementation = "auto",
) -> Float[Array, "B h N d"]:
    """softmax(q k^T / sqrt(d)) v for each head; softmax in float32."""
    platform = _TARGET.get() or jax.default_backend()
    chosen = choose(requested, platform, str(q.dtype), q.shape[-1])
    if chosen == "einsum":
        narrow = platform == "cpu" and is_narrow(q.dtype)
        return (narrow_attention if narrow else einsum_attention)(q, k, v)
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))  # each (B, N, h, d)
    kernel: Any = chosen  # a name that `choose` checked
    y = jax.nn.dot_product_attention(q, k, v, implementation=kernel)
    return y.transpose(0, 2, 1, 3)


def einsum_attention(
    q: Float[Array, "B h N d"], k: Float[Array, "B h N d"], v: Float[Array, "B h N d"]
) -> Float[Array, "B h N d"]:
    """Two matrix products with the weights between them in memory."""
    logits = jnp.einsum(
        "bhnd,bhmd->bhnm",
        q * q.shape[-1] ** -0.5,
        k,
        preferred_element_type=jnp.float32,
    )
    weights = jax.nn.softmax(logits, axis=-1).astype(q.dtype)
    return jnp.einsum("bhnm,bhmd->bhnd", weights, v)
