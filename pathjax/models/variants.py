"""The configuration of a ViT and the table of named variants.

No arrays here: `vit.py` is the model. A variant is a shape; what belongs to one set of
published weights (registers, LayerScale, mean and std) is given as overrides.
"""

import dataclasses
import difflib
from typing import Any, Literal, Self

from pathjax.models.attention import IMPLEMENTATIONS, Implementation
from pathjax.models.lora import LoRA
from pathjax.models.positions import RULES, Rule

# Widths and depths of Dosovitskiy et al. 2021 (Ti, S after Touvron et al. 2021) and,
# for g/14, of DINOv2 (Oquab et al. 2023); Xs, Mi and Ti6 are ours, for CPUs.
_SIZES = {  # width, depth, heads, mlp_dim
    "Xs": (96, 4, 3, 384),
    "Mi": (128, 6, 4, 512),
    "Ti6": (192, 6, 3, 768),
    "Ti": (192, 12, 3, 768),
    "S": (384, 12, 6, 1536),
    "B": (768, 12, 12, 3072),
    "L": (1024, 24, 16, 4096),
    "g": (1536, 40, 24, 4096),
}


def _variant(name: str, **fields: Any) -> dict[str, Any]:
    size, patch = name.split("/")
    shape = zip(("width", "depth", "heads", "mlp_dim"), _SIZES[size], strict=True)
    return {"patch": int(patch), **dict(shape), **fields}


VARIANTS: dict[str, dict[str, Any]] = {
    "Xs/8": _variant("Xs/8", image_px=64),
    "Mi/8": _variant("Mi/8", image_px=64),
    "Ti6/16": _variant("Ti6/16", image_px=112),
    **{
        name: _variant(name)
        for name in ("Ti/16", "S/16", "S/14", "S/8", "B/16", "B/14", "B/8")
    },
    "L/16": _variant("L/16"),
    "L/14": _variant("L/14"),
    "g/14": _variant("g/14", mlp="swiglu"),
}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Shape and conventions of a ViT; hashable, so it can be static under jit.

    Attributes:
      patch: side of a patch in pixels.
      width: D, the size of a token.
      depth: number of blocks.
      heads: attention heads; divides `width`.
      mlp_dim: hidden width of the MLP (for "swiglu", of each of its two halves).
      image_px: side of the image the position embedding is made for.
      registers: extra tokens after CLS (Darcet et al. 2024).
      no_embed_class: True adds positions to the patches only, as in DINOv2 weights with
        registers; False to CLS, registers and patches.
      layerscale: initial LayerScale factor (Touvron et al. 2021b), None for none.
      pool: "cls", "mean" (of the patches) or "cls_mean" (both, concatenated).
      mlp: "gelu", or "swiglu" with gate and value packed in one linear.
      gelu: "exact" (erf, as all public weights) or the "tanh" approximation.
      drop_path: stochastic depth of the last block (Huang et al. 2016), rising linearly
        from 0 at the first.
      dtype: type of matrix products and activations, "float32" or "bfloat16".
      norm_eps: LayerNorm's epsilon.
      positions: rule by which position embeddings are resized to another grid; it
        belongs to the weights (`positions.py`).
      attention: "einsum", "xla", "cudnn", or "auto" to choose by the device
        (`attention.py`).
      scan: compile one block and loop over a stack of all; slower on a CPU, but a deep
        model compiles in the time of a shallow one.
      remat: keep only each block's input for the backward pass and compute the rest
        again (gradient checkpointing).
      lora: low-rank adapters on the linears of the blocks, None for none.
      mean, std: of the pixels in [0, 1], by channel, subtracted and divided by; they
        belong to the weights.
    """

    patch: int
    width: int
    depth: int
    heads: int
    mlp_dim: int
    image_px: int = 224
    registers: int = 0
    no_embed_class: bool = False
    layerscale: float | None = None
    pool: Literal["cls", "mean", "cls_mean"] = "cls"
    mlp: Literal["gelu", "swiglu"] = "gelu"
    gelu: Literal["exact", "tanh"] = "exact"
    drop_path: float = 0.0
    dtype: str = "float32"
    norm_eps: float = 1e-6
    positions: Rule = "timm"
    attention: Implementation = "auto"
    scan: bool = False
    remat: bool = False
    lora: LoRA | None = None
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        problems = []
        for name in ("patch", "width", "depth", "heads", "mlp_dim", "image_px"):
            if getattr(self, name) < 1:
                problems.append(f"{name}={getattr(self, name)}: expected at least 1")
        if not problems and self.image_px % self.patch:
            problems.append(
                f"image_px={self.image_px} is no multiple of patch={self.patch}: "
                f"use {nearest_multiples(self.image_px, self.patch)}"
            )
        if not problems and self.width % self.heads:
            problems.append(
                f"width={self.width} does not divide into heads={self.heads}: use "
                f"{nearest_multiples(self.width, self.heads)}, or other heads"
            )
        if self.registers < 0:
            problems.append(f"registers={self.registers}: expected 0 or more")
        if not 0 <= self.drop_path < 1:
            problems.append(f"drop_path={self.drop_path}: expected 0 <= drop_path < 1")
        for name, known in (
            ("pool", ("cls", "mean", "cls_mean")),
            ("mlp", ("gelu", "swiglu")),
            ("gelu", ("exact", "tanh")),
            ("dtype", ("float32", "bfloat16")),
            ("positions", RULES),
            ("attention", IMPLEMENTATIONS),
        ):
            if getattr(self, name) not in known:
                problems.append(
                    f"{name}={getattr(self, name)!r}: expected one of {known}"
                )
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                problems.append(f"{name}={getattr(self, name)}: expected 3 channels")
        if min(self.std, default=0) <= 0:
            problems.append(f"std={self.std}: expected positive numbers")
        if problems:
            raise ValueError("cannot build this ViT: " + "; ".join(problems))

    @property
    def grid(self) -> int:
        """Patches along a side of an image of `image_px`."""
        return self.image_px // self.patch

    @property
    def embed_dim(self) -> int:
        """E, the size of the pooled output."""
        return 2 * self.width if self.pool == "cls_mean" else self.width

    def replace(self, **overrides: Any) -> Self:
        """Returns a copy with these fields changed, validated again."""
        return dataclasses.replace(self, **overrides)


def nearest_multiples(number: int, divisor: int) -> str:
    """The multiples of `divisor` next to `number`, for a message."""
    below = number // divisor * divisor
    return f"{below} or {below + divisor}" if below else f"{divisor}"


def vit_config(variant: str, **overrides: Any) -> ViTConfig:
    """Returns the configuration of a named variant with fields overridden.

    Raises:
      ValueError: for an unknown variant or field, with the nearest names, or for a
        shape that cannot be built.
    """
    if variant not in VARIANTS:
        near = difflib.get_close_matches(variant, VARIANTS, 3, 0.3) or list(VARIANTS)
        raise ValueError(f"unknown ViT variant {variant!r}: try {', '.join(near)}")
    fields = [field.name for field in dataclasses.fields(ViTConfig)]
    unknown = [
        f"{name!r} (nearest: {', '.join(difflib.get_close_matches(name, fields, 3, 0.3))})"
        for name in overrides
        if name not in fields
    ]
    if unknown:
        raise ValueError(f"unknown ViT field {'; '.join(unknown)}")
    return ViTConfig(**{**VARIANTS[variant], **overrides})


def param_shapes(config: ViTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of an encoder's parameters by path, blocks apart and without adapters."""
    d, m = config.width, config.mlp_dim
    prefix = 0 if config.no_embed_class else 1 + config.registers
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, d)}
    if config.registers:
        shapes["reg_token"] = (1, config.registers, d)
    shapes["pos_embed"] = (1, prefix + config.grid**2, d)
    linears = {"patch_embed": (3 * config.patch**2, d)}
    norms = ["norm"]
    for index in range(config.depth):
        block = f"blocks_{index}"
        norms += [f"{block}/norm1", f"{block}/norm2"]
        hidden = 2 * m if config.mlp == "swiglu" else m
        linears[f"{block}/attn/qkv"] = (d, 3 * d)
        linears[f"{block}/attn/proj"] = (d, d)
        linears[f"{block}/mlp/fc1"] = (d, hidden)
        linears[f"{block}/mlp/fc2"] = (m, d)
        if config.layerscale is not None:
            shapes |= {f"{block}/{ls}/gamma": (d,) for ls in ("ls1", "ls2")}
    for path, shape in linears.items():
        shapes |= {f"{path}/kernel": shape, f"{path}/bias": shape[1:]}
    for path in norms:
        shapes |= {f"{path}/scale": (d,), f"{path}/bias": (d,)}
    return shapes
