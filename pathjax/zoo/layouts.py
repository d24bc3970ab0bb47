"""Names and shapes of a ViT's tensors in the files that public weights come in.

One table per dialect, read both ways: a row says which of our parameters (by path, as
in "blocks_{i}/attn/qkv/kernel") is made of which of their tensors. Where several of
theirs make one of ours, as query, key and value do, they follow one another along
their first axis. A layout is what a registry entry names; it has several dialects where
the same model is around under different names:

| layout | dialects |
|---|---|
| timm | timm's; "hub", of the DINO and DINOv2 code (`w12`, `w3`, `register_tokens`) |
| hf_vit | "hf_vit" in files; "hf_vit_5" as transformers 5 names them in memory |
| hf_dinov2 | "hf_dinov2" in files; "hf_dinov2_5" in memory |

Names only: `convert.py` moves the numbers.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pathjax.models.variants import ViTConfig

Shape = tuple[int, ...]
BLOCK = "{i}"

# What files hold beside the encoder: the mask token of masked training, and heads after
# the final norm. They are dropped, and listed as dropped. `fc_norm` is not among them,
# because a model that has it averages before its norm and is another architecture.
DROPPED = re.compile(
    r"(embeddings\.)?mask_token$|(head|dino_head|ibot_head|classifier|pooler)\."
)
# Wrappers' prefixes, stripped where all names carry them.
PREFIXES = (
    "_orig_mod.",
    "module.",
    "model.",
    "teacher.",
    "backbone.",
    "encoder.",
    "vit.",
    "dinov2.",
    "dinov2_with_registers.",
)
# DINOv2's sharded training names a block by its chunk and its number.
CHUNKED = re.compile(r"blocks\.\d+\.(\d+\.)")


@dataclasses.dataclass(frozen=True)
class Row:
    """One of our parameters and the tensors it is made of.

    Attributes:
      ours: path with "/", `{i}` for a block's number.
      theirs: names, with the same `{i}`.
      mlp: the row holds for this MLP only; None for both.
    """

    ours: str
    theirs: tuple[str, ...]
    mlp: Literal["gelu", "swiglu"] | None = None


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The rows of one way to name tensors.

    Attributes:
      folded: registers enter after the positions are added, and the file has a position
        for CLS; we, like timm, keep that position added to `cls_token`.
    """

    name: str
    rows: tuple[Row, ...]
    folded: bool


def _same(ours: str, theirs: str) -> list[Row]:
    return [Row(ours, (theirs,))]


def _linear(ours: str, *theirs: str, mlp=None) -> list[Row]:
    return [
        Row(f"{ours}/{leaf}", tuple(f"{one}.{suffix}" for one in theirs), mlp)
        for leaf, suffix in (("kernel", "weight"), ("bias", "bias"))
    ]


def _norm(ours: str, theirs: str) -> list[Row]:
    return [
        Row(f"{ours}/scale", (f"{theirs}.weight",)),
        Row(f"{ours}/bias", (f"{theirs}.bias",)),
    ]


def _timm_like(name: str, registers: str, swiglu: tuple[str, str]) -> Dialect:
    ours, theirs = "blocks_{i}", "blocks.{i}"
    rows = [
        *_same("cls_token", "cls_token"),
        *_same("reg_token", registers),
        *_same("pos_embed", "pos_embed"),
        *_linear("patch_embed", "patch_embed.proj"),
        *_norm(f"{ours}/norm1", f"{theirs}.norm1"),
        *_linear(f"{ours}/attn/qkv", f"{theirs}.attn.qkv"),
        *_linear(f"{ours}/attn/proj", f"{theirs}.attn.proj"),
        *_same(f"{ours}/ls1/gamma", f"{theirs}.ls1.gamma"),
        *_norm(f"{ours}/norm2", f"{theirs}.norm2"),
        *_same(f"{ours}/ls2/gamma", f"{theirs}.ls2.gamma"),
        *_norm("norm", "norm"),
    ]
    for linear, gated in zip(("fc1", "fc2"), swiglu, strict=True):
        rows += _linear(f"{ours}/mlp/{linear}", f"{theirs}.mlp.{linear}", mlp="gelu")
        rows += _linear(f"{ours}/mlp/{linear}", f"{theirs}.mlp.{gated}", mlp="swiglu")
    return Dialect(name, tuple(rows), folded=name == "hub")


def _hugging_face(
    name: str,
    *,
    block: str,
    norms: tuple[str, str],
    qkv: tuple[str, str, str],
    proj: str,
    gelu: tuple[str, str],
    swiglu: tuple[tuple[str, ...], str] | None = None,
) -> Dialect:
    """All dialects of transformers: they differ in the names inside a block."""
    ours = "blocks_{i}"
    rows = [
        *_same("cls_token", "embeddings.cls_token"),
        *_same("reg_token", "embeddings.register_tokens"),
        *_same("pos_embed", "embeddings.position_embeddings"),
        *_linear("patch_embed", "embeddings.patch_embeddings.projection"),
        *_norm(f"{ours}/norm1", f"{block}.{norms[0]}"),
        *_linear(f"{ours}/attn/qkv", *(f"{block}.{one}" for one in qkv)),
        *_linear(f"{ours}/attn/proj", f"{block}.{proj}"),
        *_same(f"{ours}/ls1/gamma", f"{block}.layer_scale1.lambda1"),
        *_norm(f"{ours}/norm2", f"{block}.{norms[1]}"),
        *_same(f"{ours}/ls2/gamma", f"{block}.layer_scale2.lambda1"),
        *_linear(f"{ours}/mlp/fc1", f"{block}.{gelu[0]}", mlp="gelu"),
        *_linear(f"{ours}/mlp/fc2", f"{block}.{gelu[1]}", mlp="gelu"),
        *_norm("norm", "layernorm"),
    ]
    if swiglu is not None:
        gate_value = (f"{block}.{one}" for one in swiglu[0])
        rows += _linear(f"{ours}/mlp/fc1", *gate_value, mlp="swiglu")
        rows += _linear(f"{ours}/mlp/fc2", f"{block}.{swiglu[1]}", mlp="swiglu")
    return Dialect(name, tuple(rows), folded=True)


_QKV = tuple(f"attention.attention.{one}" for one in ("query", "key", "value"))
_QKV_5 = tuple(f"attention.{one}_proj" for one in "qkv")

LAYOUTS: dict[str, tuple[Dialect, ...]] = {
    "timm": (
        _timm_like("timm", "reg_token", ("fc1", "fc2")),
        _timm_like("hub", "register_tokens", ("w12", "w3")),
    ),
    "hf_vit": (
        _hugging_face(
            "hf_vit",
            block="encoder.layer.{i}",
            norms=("layernorm_before", "layernorm_after"),
            qkv=_QKV,
            proj="attention.output.dense",
            gelu=("intermediate.dense", "output.dense"),
        ),
        _hugging_face(
            "hf_vit_5",
            block="layers.{i}",
            norms=("layernorm_before", "layernorm_after"),
            qkv=_QKV_5,
            proj="attention.o_proj",
            gelu=("mlp.fc1", "mlp.fc2"),
        ),
    ),
    "hf_dinov2": (
        _hugging_face(
            "hf_dinov2",
            block="encoder.layer.{i}",
            norms=("norm1", "norm2"),
            qkv=_QKV,
            proj="attention.output.dense",
            gelu=("mlp.fc1", "mlp.fc2"),
            swiglu=(("mlp.weights_in",), "mlp.weights_out"),
        ),
        _hugging_face(
            "hf_dinov2_5",
            block="encoder.layer.{i}",
            norms=("norm1", "norm2"),
            qkv=_QKV_5,
            proj="attention.o_proj",
            gelu=("mlp.fc1", "mlp.fc2"),
            swiglu=(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
        ),
    ),
}


def dialects(layout: str) -> tuple[Dialect, ...]:
    """The dialects of a layout.

    Raises:
      ValueError: an unknown layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r}: wanted one of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]


def param_shapes(config: ViTConfig) -> dict[str, Shape]:
    """Shapes of our parameters by path, blocks apart and without adapters."""
    d, m = config.width, config.mlp_dim
    prefix = 0 if config.no_embed_class else 1 + config.registers
    shapes: dict[str, Shape] = {"cls_token": (1, 1, d)}
    if config.registers:
        shapes["reg_token"] = (1, config.registers, d)
    shapes["pos_embed"] = (1, prefix + config.grid**2, d)
    linears = {
        "attn/qkv": (d, 3 * d),
        "attn/proj": (d, d),
        "mlp/fc1": (d, 2 * m if config.mlp == "swiglu" else m),
        "mlp/fc2": (m, d),
    }

    def linear(path: str, shape: Shape) -> None:
        shapes.update({f"{path}/kernel": shape, f"{path}/bias": shape[1:]})

    def norm(path: str) -> None:
        shapes.update({f"{path}/scale": (d,), f"{path}/bias": (d,)})

    linear("patch_embed", (3 * config.patch**2, d))
    for index in range(config.depth):
        block = f"blocks_{index}"
        norm(f"{block}/norm1")
        norm(f"{block}/norm2")
        for name, shape in linears.items():
            linear(f"{block}/{name}", shape)
        if config.layerscale is not None:
            shapes.update({f"{block}/{ls}/gamma": (d,) for ls in ("ls1", "ls2")})
    norm("norm")
    return shapes


def expand(dialect: Dialect, config: ViTConfig) -> dict[str, tuple[str, ...]]:
    """Every one of our paths, and the names of its tensors in this dialect.

    A path that the dialect has no row for, such as SwiGLU's in HF's ViT, is left out.
    """
    wanted = param_shapes(config)
    found = {}
    for row in dialect.rows:
        if row.mlp not in (None, config.mlp):
            continue
        for index in range(config.depth) if BLOCK in row.ours else (0,):
            path = row.ours.replace(BLOCK, str(index))
            if path in wanted:
                found[path] = tuple(
                    one.replace(BLOCK, str(index)) for one in row.theirs
                )
    return found


def is_folded(dialect: Dialect, config: ViTConfig) -> bool:
    """Whether the file has a position for CLS that we keep inside `cls_token`."""
    return dialect.folded and config.no_embed_class and config.registers > 0


def their_shapes(dialect: Dialect, config: ViTConfig) -> dict[str, Shape]:
    """Names and shapes of the tensors that this dialect has for this encoder."""
    shapes = param_shapes(config)
    found: dict[str, Shape] = {}
    for path, names in expand(dialect, config).items():
        shape = shapes[path]
        if path == "patch_embed/kernel":
            shape = (shape[1], 3, config.patch, config.patch)
        elif path == "pos_embed" and is_folded(dialect, config):
            shape = (1, shape[1] + 1, shape[2])
        else:
            shape = shape[::-1] if path.endswith("/kernel") else shape
        if len(names) > 1:
            shape = (shape[0] // len(names), *shape[1:])
        found.update(dict.fromkeys(names, shape))
    return found


def clean_names(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Maps the encoder's names to names without wrappers' prefixes and chunks.

    Returns:
      (name in the file to clean name, names dropped as `DROPPED` tells).
    """
    clean = {name: name for name in names}
    dropped: list[str] = []
    while True:
        for name in [old for old, new in clean.items() if DROPPED.match(new)]:
            dropped.append(name)
            del clean[name]
        shared = [p for p in PREFIXES if all(n.startswith(p) for n in clean.values())]
        if not shared or not clean:
            break
        clean = {old: new.removeprefix(shared[0]) for old, new in clean.items()}
    blocks = [new for new in clean.values() if new.startswith("blocks.")]
    if blocks and all(CHUNKED.match(new) for new in blocks):
        clean = {old: CHUNKED.sub(r"blocks.\1", new) for old, new in clean.items()}
    return clean, tuple(dropped)


def recognise(layout: str, shapes: Mapping[str, Shape], config: ViTConfig) -> Dialect:
    """The layout's dialect that shares the most names with a file; the first of equals.

    Raises:
      ValueError: an unknown layout.
    """
    return max(
        dialects(layout),
        key=lambda one: len(their_shapes(one, config).keys() & shapes.keys()),
    )
