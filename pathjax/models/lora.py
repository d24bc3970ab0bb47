"""Low-rank adapters (LoRA, Hu et al. 2022): options and merging.

An adapted linear computes x W + (alpha / rank) (x A) B with W frozen; `vit.Linear` does
that. Here are the options, and the sum W + (alpha / rank) A B of a plain model.
"""

import dataclasses
from typing import Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Target = Literal["qkv", "proj", "fc1", "fc2"]
TARGETS: tuple[Target, ...] = ("qkv", "proj", "fc1", "fc2")
# Names of the adapters' leaves, beside the linear's `kernel` and `bias`.
DOWN, UP = "lora_a", "lora_b"


@dataclasses.dataclass(frozen=True)
class LoRA:
    """Options of the adapters; hashable, part of a ViTConfig.

    Attributes:
      rank: r, the inner width.
      alpha: the update is scaled by alpha / rank.
      targets: linears of each block that get one.
    """

    rank: int = 8
    alpha: float = 8.0
    targets: tuple[Target, ...] = TARGETS

    def __post_init__(self) -> None:
        problems = []
        if self.rank < 1:
            problems.append(f"rank={self.rank}: expected at least 1")
        if not self.alpha > 0:  # at 0 the adapters have neither effect nor gradient
            problems.append(f"alpha={self.alpha}: expected above 0")
        if not self.targets or set(self.targets) - set(TARGETS):
            problems.append(f"targets={self.targets}: expected some of {TARGETS}")
        if problems:
            raise ValueError("cannot build LoRA: " + "; ".join(problems))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def merge_lora(params: dict[str, Any], lora: LoRA) -> dict[str, Any]:
    """Adds each adapter to its kernel and removes it; leading axes are kept.

    Args:
      params: of a ViT, on the host; kernels may be stacked over blocks.
      lora: the options they were trained with.

    Returns:
      A tree without adapters. The sum is taken in float64 and rounded once.
    """
    flat = flatten_dict(params)
    merged = {}
    for path, leaf in flat.items():
        if path[-1] in (DOWN, UP):
            continue
        down = flat.get((*path[:-1], DOWN)) if path[-1] == "kernel" else None
        if down is not None:
            up = np.asarray(flat[(*path[:-1], UP)], np.float64)
            update = lora.scale * np.asarray(down, np.float64) @ up
            leaf = (np.asarray(leaf, np.float64) + update).astype(np.float32)
        merged[path] = leaf
    return unflatten_dict(merged)
