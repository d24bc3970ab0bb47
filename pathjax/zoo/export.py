"""Exports a model's encoder for timm or as plain arrays, with a model card.

    model.safetensors -> "timm": OUT/model.safetensors, config.json, README.md
                      -> "npz":  OUT/model.npz, config.json, README.md

Heads are not exported. timm's form loads strictly, by
`timm.create_model("local-dir:OUT", pretrained=True)`. JSON cannot give timm another
epsilon of LayerNorm or another rule to resize positions by; the card and config.json
say so where a model needs them.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

import pathjax
from pathjax.embeddings.cache import weights_file
from pathjax.files import atomic_path, sha256, write_json, write_text
from pathjax.models.blocks import to_plain
from pathjax.models.model_file import FILE, Model, load_model
from pathjax.models.positions import resize_positions
from pathjax.models.variants import ViTConfig
from pathjax.zoo.card import render_card
from pathjax.zoo.convert import to_state
from pathjax.zoo.entry import ZooError

Format = Literal["timm", "npz"]
FORMATS: tuple[Format, ...] = ("timm", "npz")
CONFIG, CARD, ARRAYS = "config.json", "README.md", "model.npz"
TIMM_EPS = 1e-6
# Any entry point of timm takes these shapes as arguments, except the class of the MLP,
# which JSON cannot hold: only DINOv2's giant has packed SwiGLU, and with it LayerScale.
GELU, SWIGLU = "vit_base_patch16_224", "vit_giant_patch14_dinov2"
POOLS = {"cls": "token", "mean": "avg", "cls_mean": ""}


def export(
    checkpoint: str | Path,
    format: Format,
    out: str | Path,
    results: str | Path | None = None,
    image_px: int | None = None,
) -> list[Path]:
    """Writes a model's encoder for other libraries and returns the files' paths.

    Args:
      checkpoint: Run folder, or a model.safetensors of pathjax.
      format: "timm" or "npz" (names of `models.vit`, with "/").
      out: Folder without an export.
      results: A results.json whose scores go into the card.
      image_px: Resizes the position embeddings to this size by the model's own rule, so
        that a library with another rule agrees there; None leaves them alone.

    Raises:
      ZooError: An unknown format, `out` holds a model already, or `results` has no score
        of this model.
      ModelFileError: There is no model at `checkpoint`.
    """
    if format not in FORMATS:
        raise ZooError(f"format={format!r}: expected one of {', '.join(FORMATS)}")
    model, out = load_model(checkpoint), Path(out)
    weights = out / (FILE if format == "timm" else ARRAYS)
    taken = [p for p in (weights, out / CONFIG, out / CARD) if p.exists()]
    if taken:
        raise ZooError(
            f"{', '.join(map(str, taken))} would be overwritten: choose another folder"
        )
    entries = None
    if results is not None:
        from pathjax.evals.results import read_results

        entries = read_results(Path(results)).entries
        own = f"sha256:{sha256(weights_file(checkpoint))[:16]}"
        if not any((entry["checkpoint"] or "").endswith(own) for entry in entries):
            raise ZooError(
                f"{results} has scores of other models only, and the card would give "
                f"them as those of {checkpoint}: name the results of its evaluation"
            )
    vit, params = to_plain(model.vit, model.params["vit"])
    if image_px is not None:
        vit, params = at_size(vit, params, image_px)
    plain = dataclasses.replace(model, vit=vit, params={"vit": params})
    with atomic_path(weights) as partial:
        if format == "timm":
            save_file(timm_state(plain), partial, metadata={"format": "pt"})
        else:
            np.savez(partial, **flatten_dict(params, sep="/"))
    config = timm_config(plain) if format == "timm" else npz_config(plain)
    write_json(out / CONFIG, config)
    write_text(out / CARD, render_card(plain, format, entries))
    return [weights, out / CONFIG, out / CARD]


def at_size(
    vit: ViTConfig, params: dict[str, Any], image_px: int
) -> tuple[ViTConfig, dict[str, Any]]:
    """The encoder with position embeddings for images of `image_px`.

    Raises:
      ValueError: `image_px` is no multiple of the patch.
    """
    new = vit.replace(image_px=image_px)
    prefix = 0 if vit.no_embed_class else 1 + vit.registers
    positions = np.asarray(params["pos_embed"])
    grids = (vit.grid, vit.grid), (new.grid, new.grid)
    resized = resize_positions(positions[:, prefix:], *grids, vit.positions)
    whole = np.concatenate([positions[:, :prefix], np.asarray(resized)], axis=1)
    return new, {**params, "pos_embed": whole}


def timm_state(model: Model) -> dict[str, np.ndarray]:
    """The encoder's tensors in timm's names, for `timm_config`'s architecture."""
    state = to_state(model.params["vit"], model.vit, "timm")
    if model.vit.mlp == "swiglu" and model.vit.layerscale is None:
        # The one architecture with SwiGLU has LayerScale; a factor of 1 changes nothing.
        ones = np.ones(model.vit.width, np.float32)
        for index in range(model.vit.depth):
            state |= {f"blocks.{index}.{ls}.gamma": ones for ls in ("ls1", "ls2")}
    return state


def timm_config(model: Model) -> dict[str, Any]:
    """config.json as timm reads it: architecture, arguments and preprocessing.

    "pathjax" holds what timm has no field for: `norm_eps` and the `positions` rule.
    """
    vit, px, steps = model.vit, model.meta["image_px"], preprocess_of(model)
    return {
        "architecture": SWIGLU if vit.mlp == "swiglu" else GELU,
        "num_classes": 0,
        "num_features": vit.width,
        "global_pool": POOLS[vit.pool],
        "model_args": timm_arguments(vit),
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, px, px],
            "fixed_input_size": False,
            "interpolation": steps["interpolation"],
            "crop_pct": steps["crop"] / steps["resize"],
            "crop_mode": "center",
            "mean": list(vit.mean),
            "std": list(vit.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
        "pathjax": provenance(model)
        | {"norm_eps": vit.norm_eps, "positions": vit.positions},
    }


def timm_arguments(vit: ViTConfig) -> dict[str, Any]:
    """Keywords of `timm.create_model` for this shape; all of them, as defaults vary."""
    arguments = {
        "img_size": vit.image_px,
        "patch_size": vit.patch,
        "embed_dim": vit.width,
        "depth": vit.depth,
        "num_heads": vit.heads,
        "mlp_ratio": mlp_ratio(vit),
        "reg_tokens": vit.registers,
        "no_embed_class": vit.no_embed_class,
        "global_pool": POOLS[vit.pool],
        "fc_norm": False,  # the norm comes before any pool
        "dynamic_img_size": True,
        "num_classes": 0,
    }
    if vit.layerscale is not None:
        arguments["init_values"] = vit.layerscale
    if vit.mlp == "gelu" and vit.gelu == "tanh":
        arguments["act_layer"] = "gelu_tanh"
    return arguments


def mlp_ratio(vit: ViTConfig) -> float:
    """The ratio from which timm's `int(embed_dim * mlp_ratio)` gives our fc1 exactly."""
    hidden = 2 * vit.mlp_dim if vit.mlp == "swiglu" else vit.mlp_dim
    ratio = hidden / vit.width
    while int(vit.width * ratio) < hidden:
        ratio = math.nextafter(ratio, math.inf)
    return ratio


def preprocess_of(model: Model) -> dict[str, Any]:
    """Resize, crop and interpolation; without any, tiles are used as they are."""
    px = model.meta["image_px"]
    as_is = {"resize": px, "crop": px, "interpolation": "bilinear"}
    return model.meta.get("preprocess") or as_is


def npz_config(model: Model) -> dict[str, Any]:
    """config.json beside model.npz: all that is needed to run the encoder elsewhere."""
    vit = dataclasses.asdict(model.vit)
    for key in ("lora", "scan", "remat", "attention", "drop_path"):  # of training
        del vit[key]
    return {
        "vit": vit,
        "image_px": model.meta["image_px"],
        "preprocess": preprocess_of(model),
        "pathjax": provenance(model),
    }


def provenance(model: Model) -> dict[str, Any]:
    """Name, objective and public origin as plain JSON data."""
    keys = ("name", "objective", "seed", "step", "foundation", "versions")
    known = {key: model.meta[key] for key in keys if model.meta.get(key) is not None}
    return json.loads(json.dumps({"exported_by": pathjax.__version__, **known}))
