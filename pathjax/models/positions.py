"""Position embeddings at another grid: the three rules that public models come with.

A ViT's learned positions belong to the grid it was trained at. How they are resampled
to another one is part of a model: the libraries that ship the weights do it in
different ways, and outputs differ by more than rounding if the wrong one is used.

| rule | kernel | antialias | scale | library |
|---|---|---|---|---|
| "timm" | cubic, a = -0.5 | yes | old / new | timm `resample_abs_pos_embed` |
| "dinov2" | cubic, a = -0.75 | no | old / (new + 0.1) | DINO and DINOv2 hub code |
| "torch" | cubic, a = -0.75 | no | old / new | Hugging Face ViT and Dinov2 |

Each is a matrix per axis, made by NumPy when a step is traced, so that on the device a
resize is two small matrix products and its gradient is exact.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Rule = Literal["timm", "dinov2", "torch"]
RULES: tuple[Rule, ...] = ("timm", "dinov2", "torch")

# Keys 1981 gives a = -0.5, third-order exact; PyTorch's plain bicubic has a = -0.75.
KEYS_A, TORCH_A = -0.5, -0.75
# DINO adds this to the new size before dividing, against rounding in a floor.
DINO_OFFSET = 0.1


def cubic(x: Float[np.ndarray, "..."], a: float) -> Float[np.ndarray, "..."]:
    """The cubic convolution kernel (Keys 1981), zero from |x| = 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def resize_matrix(old: int, new: int, rule: Rule) -> Float[np.ndarray, "new old"]:
    """Weights of each old position in each new one, along one axis; rows sum to 1.

    Pixel centres are at half-integers (`align_corners=False`).

    Raises:
      ValueError: unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"positions={rule!r}: expected one of {RULES}")
    scale = old / (new + DINO_OFFSET) if rule == "dinov2" else old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    weights = np.zeros((new, old))
    if rule == "timm":
        # Pillow's resampling: the kernel is stretched when shrinking, cut at the
        # border and renormalised.
        stretch = max(scale, 1.0)
        weights = cubic((centres[:, None] - np.arange(old)) / stretch, KEYS_A)
        return weights / weights.sum(axis=1, keepdims=True)
    first = np.floor(centres).astype(int)
    for tap in range(-1, 3):
        place = first + tap
        weight = cubic(centres - place, TORCH_A)
        # Beyond the border, PyTorch repeats the last pixel.
        np.add.at(weights, (np.arange(new), np.clip(place, 0, old - 1)), weight)
    return weights


def resize_positions(
    positions: Float[Array, "1 N D"],
    old: tuple[int, int],
    new: tuple[int, int],
    rule: Rule = "timm",
) -> Float[Array, "1 M D"]:
    """Resamples a grid of position embeddings in float32.

    Args:
      positions: of `old[0] * old[1]` patches, row by row. Prefix tokens (CLS,
        registers) are the caller's.
      old, new: (rows, columns).
      rule: of the weights' own library.

    Returns:
      Positions of `new[0] * new[1]` patches, in the dtype given.
    """
    if old == new:
        return positions
    width = positions.shape[-1]
    rows, columns = (
        jnp.asarray(resize_matrix(o, n, rule), jnp.float32)
        for o, n in zip(old, new, strict=True)
    )
    square = positions.astype(jnp.float32).reshape(*old, width)
    square = jnp.einsum("ar,bc,rcd->abd", rows, columns, square)
    return square.reshape(1, new[0] * new[1], width).astype(positions.dtype)
