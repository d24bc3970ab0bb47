"""A model of pathjax out, for timm or as plain arrays, with a card that says what it is.

    model.safetensors -> "timm": OUT/model.safetensors, config.json, README.md
                      -> "npz":  OUT/model.npz, config.json, README.md

Of a run, the encoder goes out and the heads stay. timm's form loads strictly, by
`timm.create_model("local-dir:OUT", pretrained=True)`. Two things JSON cannot tell timm,
another epsilon of LayerNorm and another rule to resize positions by; the card and
config.json say so where a model needs them.
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
from pathjax.files import atomic_path, write_json, write_text
from pathjax.models.blocks import to_plain
from pathjax.models.model_file import FILE, Model, load_model
from pathjax.models.positions import resize_positions
from pathjax.models.variants import ViTConfig
from pathjax.zoo.card import render_card
from pathjax.zoo.convert import to_state

Format = Literal["timm", "npz"]
FORMATS: tuple[Format, ...] = ("timm", "npz")
CONFIG, CARD, ARRAYS = "config.json", "README.md", "model.npz"
TIMM_EPS = 1e-6
# Any entry point of timm takes these shapes as arguments, except the class of the MLP,
# which JSON cannot hold: only DINOv2's giant has packed SwiGLU, and with it LayerScale.
GELU, SWIGLU = "vit_base_patch16_224", "vit_giant_patch14_dinov2"
POOLS = {"cls": "token", "mean": "avg", "cls_mean": ""}


class ExportError(ValueError):
    """A model that cannot be written in this format, or a folder that is in use."""


def export(
    checkpoint: str | Path,
    format: Format,
    out: str | Path,
    results: str | Path | None = None,
    image_px: int | None = None,
) -> list[Path]:
    """Writes a model's encoder for others.

    Args:
      checkpoint: a run folder, or a model.safetensors of pathjax.
      format: "timm" or "npz" (our names with "/", see `models.vit`).
      out: folder to write to; holds no export yet.
      results: a results.json of `pathjax probe`, whose numbers go into the card.
      image_px: resizes the position embeddings to this size by the model's own rule, so
        that a library with another rule agrees there; they are left alone if None.

    Returns:
      Paths of the files.

    Raises:
      ExportError: an unknown format, or `out` holds a model already.
      ModelFileError: there is no model at `checkpoint`.
    """
    if format not in FORMATS:
        raise ExportError(f"format={format!r}: wanted one of {', '.join(FORMATS)}")
    model, out = load_model(checkpoint), Path(out)
    weights = out / (FILE if format == "timm" else ARRAYS)
    taken = [p for p in (weights, out / CONFIG, out / CARD) if p.exists()]
    if taken:
        raise ExportError(
            f"{', '.join(map(str, taken))} would be written over: choose another folder"
        )
    entries = None
    if results is not None:
        from pathjax.evals.results import read_results

        entries = read_results(Path(results)).entries
    vit, params = to_plain(model.vit, model.params["vit"])
    if image_px is not None:
        vit, params = at_size(vit, params, image_px)
    plain = dataclasses.replace(model, vit=vit, params={"vit": params})
    if format == "timm":
        config = timm_config(plain)
        state = timm_state(plain)
        with atomic_path(weights) as partial:
            save_file(state, partial, metadata={"format": "pt"})
    else:
        config = npz_config(plain)
        flat = {"/".join(path): leaf for path, leaf in flatten_dict(params).items()}
        with atomic_path(weights) as partial:
            np.savez(partial, **flat)
    write_json(out / CONFIG, config)
    write_text(out / CARD, render_card(plain, format, entries))
    return [weights, out / CONFIG, out / CARD]


def at_size(
    vit: ViTConfig, params: dict[str, Any], image_px: int
) -> tuple[ViTConfig, dict[str, Any]]:
    """The encoder with position embeddings for images of `image_px`.

    Raises:
      ValueError: no multiple of the patch.
    """
    new = vit.replace(image_px=image_px)
    prefix = 0 if vit.no_embed_class else 1 + vit.registers
    positions = np.asarray(params["pos_embed"])
    grids = (vit.grid, vit.grid), (new.grid, new.grid)
    resized = resize_positions(positions[:, prefix:], *grids, vit.positions)
    whole = np.concatenate([positions[:, :prefix], np.asarray(resized)], axis=1)
    return new, {**params, "pos_embed": whole}


def timm_state(model: Model) -> dict[str, np.ndarray]:
    """The encoder's tensors in timm's names, fit for `timm_config`'s architecture."""
    state = to_state(model.params["vit"], model.vit, "timm")
    if model.vit.mlp == "swiglu" and model.vit.layerscale is None:
        # The one architecture with SwiGLU has LayerScale; a factor of 1 changes nothing.
        ones = np.ones(model.vit.width, np.float32)
        for index in range(model.vit.depth):
            state |= {f"blocks.{index}.{ls}.gamma": ones for ls in ("ls1", "ls2")}
    return state


def timm_config(model: Model) -> dict[str, Any]:
    """config.json as timm reads it: architecture, its arguments, what images it wants.

    "pathjax" holds what timm has no field for: `norm_eps` and the `positions` rule.
    """
    vit = model.vit
    px = model.meta["image_px"]
    resize, crop, interpolation = preprocess_of(model)
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
            "interpolation": interpolation,
            "crop_pct": crop / resize,
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


def preprocess_of(model: Model) -> tuple[int, int, str]:
    """(resize, crop, interpolation); tiles are taken as they are where none is given."""
    found = model.meta.get("preprocess")
    if found is None:
        px = model.meta["image_px"]
        return px, px, "bilinear"
    return found["resize"], found["crop"], found["interpolation"]


def npz_config(model: Model) -> dict[str, Any]:
    """config.json beside model.npz: all that is needed to run the encoder elsewhere."""
    resize, crop, interpolation = preprocess_of(model)
    vit = dataclasses.asdict(model.vit)
    for key in ("lora", "scan", "remat", "attention", "drop_path"):  # of training
        del vit[key]
    return {
        "vit": vit,
        "image_px": model.meta["image_px"],
        "preprocess": {
            "resize": resize,
            "crop": crop,
            "interpolation": interpolation,
        },
        "pathjax": provenance(model),
    }


def provenance(model: Model) -> dict[str, Any]:
    """Name, objective and public origin; through JSON, so that it holds plain data."""
    meta = model.meta
    keys = ("name", "objective", "seed", "step", "foundation", "versions")
    found = {key: meta[key] for key in keys if meta.get(key) is not None}
    return json.loads(json.dumps({"exported_by": pathjax.__version__, **found}))
