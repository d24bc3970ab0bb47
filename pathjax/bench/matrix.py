"""The rate of one large matrix product: what a machine can do at most, by library.

A 2,048 square in float32 takes 17 GFLOP and 50 MB: large enough for the best kernels,
small enough to be repeated in every round.
"""

import statistics
import time
from collections.abc import Callable

SIDE = 2048
REPEATS = 5


def rate(product: Callable[[], object], side: int = SIDE) -> float:
    """GFLOP/s, the median of some products after one to warm up."""
    product()
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - begun)
    return 2e-9 * side**3 / statistics.median(seconds)


def jax_matrix(side: int = SIDE) -> dict[str, float]:
    """By JAX on its default device, float32 throughout."""
    import jax

    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side)) for key in keys)
    product = jax.jit(lambda a, b: a @ b)
    return {"jax": rate(lambda: product(a, b).block_until_ready(), side)}


def torch_matrix(side: int = SIDE) -> dict[str, float]:
    """By PyTorch and by NumPy (in one interpreter, one after the other)."""
    import numpy as np
    import torch

    a, b = torch.randn(side, side), torch.randn(side, side)
    c, d = (np.asarray(m) for m in (a, b))
    return {
        "torch": rate(lambda: a @ b, side),
        "numpy": rate(lambda: np.matmul(c, d), side),
    }
