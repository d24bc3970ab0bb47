"""Names and shapes of a ViT's tensors in the files that public weights come in.

One table per dialect, read both ways: a row says which of our parameters (by path, as
in "blocks_{i}/attn/qkv/kernel") is made of which of their tensors. Where several of
theirs make one of ours, as query, key and value do, they are concatenated along their
first axis. A layout, which a registry entry names, has several dialects where a model
is published under several namings; the first is that of published files:

| layout | dialects |
|---|---|
| timm | timm's; "hub", of the DINO and DINOv2 code (`w12`, `w3`, `register_tokens`) |
| hf_vit | "hf_vit" in files; "hf_vit_5", as transformers 5 names them in memory |
| hf_dinov2 | "hf_dinov2" in files; "hf_dinov2_5" in memory |

Names only: `matching.py` recognises a file, `convert.py` moves the numbers.
"""

import dataclasses
from typing import Literal

from pathjax.models.variants import ViTConfig, param_shapes

Shape = tuple[int, ...]
BLOCK = "{i}"
OURS = ("cls_token", "reg_token", "pos_embed")


@dataclasses.dataclass(frozen=True)
class Row:
    """One of our parameters and the tensors it is made of.

    Attributes:
      ours: Path with "/", `{i}` for a block's number.
      theirs: Names, with the same `{i}`.
      mlp: The row holds for this MLP only; None for both.
    """

    ours: str
    theirs: tuple[str, ...]
    mlp: Literal["gelu", "swiglu"] | None = None


@dataclasses.dataclass(frozen=True)
class Dialect:
    """The rows of one naming.

    Attributes:
      layout: The layout it belongs to.
      folded: The file adds positions before registers are inserted and has one for CLS;
        we, like timm, keep that position added to `cls_token`.
    """

    name: str
    layout: str
    rows: tuple[Row, ...]
    folded: bool


def _linear(ours: str, *theirs: str, mlp=None) -> list[Row]:
    return [
        Row(f"{ours}/{leaf}", tuple(f"{one}.{suffix}" for one in theirs), mlp)
        for leaf, suffix in (("kernel", "weight"), ("bias", "bias"))
    ]


def _norm(ours: str, theirs: str) -> list[Row]:
    pairs = (("scale", "weight"), ("bias", "bias"))
    return [Row(f"{ours}/{leaf}", (f"{theirs}.{suffix}",)) for leaf, suffix in pairs]


def _rows(
    tokens: tuple[str, str, str],
    patch: str,
    block: str,
    norms: tuple[str, str],
    qkv: tuple[str, ...],
    proj: str,
    scales: tuple[str, str],
    gelu: tuple[str, str],
    swiglu: tuple[tuple[str, ...], str] | None,
    norm: str,
) -> tuple[Row, ...]:
    """The rows of a naming: names inside `block` are relative to it."""
    ours = "blocks_{i}"
    inside = [f"{block}.{{i}}.{name}" for name in qkv]
    rows = [Row(path, (name,)) for path, name in zip(OURS, tokens, strict=True)]
    rows += _linear("patch_embed", patch) + _norm("norm", norm)
    rows += _linear(f"{ours}/attn/qkv", *inside)
    rows += _linear(f"{ours}/attn/proj", f"{block}.{{i}}.{proj}")
    for number, (before, scale) in enumerate(zip(norms, scales, strict=True), 1):
        rows += _norm(f"{ours}/norm{number}", f"{block}.{{i}}.{before}")
        rows.append(Row(f"{ours}/ls{number}/gamma", (f"{block}.{{i}}.{scale}",)))
    mlps = {"gelu": ((gelu[0],), gelu[1])} | ({"swiglu": swiglu} if swiglu else {})
    for mlp, (first, second) in mlps.items():
        names = [f"{block}.{{i}}.{name}" for name in first]
        rows += _linear(f"{ours}/mlp/fc1", *names, mlp=mlp)
        rows += _linear(f"{ours}/mlp/fc2", f"{block}.{{i}}.{second}", mlp=mlp)
    return tuple(rows)


def _timm_like(name: str, registers: str, swiglu: tuple[tuple[str, ...], str]):
    rows = _rows(
        tokens=("cls_token", registers, "pos_embed"),
        patch="patch_embed.proj",
        block="blocks",
        norms=("norm1", "norm2"),
        qkv=("attn.qkv",),
        proj="attn.proj",
        scales=("ls1.gamma", "ls2.gamma"),
        gelu=("mlp.fc1", "mlp.fc2"),
        swiglu=swiglu,
        norm="norm",
    )
    return Dialect(name, "timm", rows, folded=name == "hub")


def _hugging_face(name: str, **names) -> Dialect:
    """A dialect of transformers: they differ in the names inside a block."""
    tokens = ("cls_token", "register_tokens", "position_embeddings")
    rows = _rows(
        tokens=tuple(f"embeddings.{token}" for token in tokens),  # type: ignore[arg-type]
        patch="embeddings.patch_embeddings.projection",
        scales=("layer_scale1.lambda1", "layer_scale2.lambda1"),
        norm="layernorm",
        **{"block": "encoder.layer", "swiglu": None, **names},
    )
    return Dialect(name, name.removesuffix("_5"), rows, folded=True)


_FILES = {
    "qkv": tuple(f"attention.attention.{one}" for one in ("query", "key", "value")),
    "proj": "attention.output.dense",
}
_MEMORY = {
    "qkv": tuple(f"attention.{one}_proj" for one in "qkv"),
    "proj": "attention.o_proj",
}
_VIT = {"norms": ("layernorm_before", "layernorm_after")}
_DINOV2 = {"norms": ("norm1", "norm2"), "gelu": ("mlp.fc1", "mlp.fc2")}

DIALECTS: dict[str, Dialect] = {
    one.name: one
    for one in (
        _timm_like("timm", "reg_token", (("mlp.fc1",), "mlp.fc2")),
        _timm_like("hub", "register_tokens", (("mlp.w12",), "mlp.w3")),
        _hugging_face(
            "hf_vit", gelu=("intermediate.dense", "output.dense"), **_VIT, **_FILES
        ),
        _hugging_face(
            "hf_vit_5", block="layers", gelu=("mlp.fc1", "mlp.fc2"), **_VIT, **_MEMORY
        ),
        _hugging_face(
            "hf_dinov2",
            swiglu=(("mlp.weights_in",), "mlp.weights_out"),
            **_DINOV2,
            **_FILES,
        ),
        _hugging_face(
            "hf_dinov2_5",
            swiglu=(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
            **_DINOV2,
            **_MEMORY,
        ),
    )
}


def expand(dialect: Dialect, config: ViTConfig) -> dict[str, tuple[str, ...]]:
    """Each of our paths, and the names of its tensors in this dialect.

    Paths that the dialect has no row for, such as SwiGLU's in HF's ViT, are left out.
    """
    paths = param_shapes(config)
    names = {}
    for row in dialect.rows:
        if row.mlp not in (None, config.mlp):
            continue
        for index in range(config.depth) if BLOCK in row.ours else (0,):
            path = row.ours.replace(BLOCK, str(index))
            if path in paths:
                names[path] = tuple(
                    one.replace(BLOCK, str(index)) for one in row.theirs
                )
    return names


def is_folded(dialect: Dialect, config: ViTConfig) -> bool:
    """Whether the file has a position for CLS that we keep inside `cls_token`."""
    return dialect.folded and config.no_embed_class and config.registers > 0


def their_shapes(dialect: Dialect, config: ViTConfig) -> dict[str, Shape]:
    """Names and shapes of the tensors that this dialect has for this encoder."""
    ours = param_shapes(config)
    theirs: dict[str, Shape] = {}
    for path, names in expand(dialect, config).items():
        shape = ours[path]
        if path == "patch_embed/kernel":
            shape = (shape[1], 3, config.patch, config.patch)
        elif path == "pos_embed" and is_folded(dialect, config):
            shape = (1, shape[1] + 1, shape[2])
        elif path.endswith("/kernel"):
            shape = shape[::-1]
        if len(names) > 1:
            shape = (shape[0] // len(names), *shape[1:])
        theirs.update(dict.fromkeys(names, shape))
    return theirs
