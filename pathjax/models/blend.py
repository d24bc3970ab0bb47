"""Blends of a base and models tuned from it: weights between the two.

    base, tuned -> (1 - alpha) base + alpha mean(tuned) -> DIR/alpha-0.3/model.safetensors

Interpolation between a model and its fine-tuned form is WiSE-FT (Wortsman et al. 2022a,
"Robust fine-tuning of zero-shot models"); the mean of several tuned models is a uniform
soup (Wortsman et al. 2022b, "Model soups"). Only encoders are blended: heads exist in
tuned models only. Which alpha is best is for a validation task to tell.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.buckets import local
from pathjax.files import read_json, sha256, write_json
from pathjax.models.model_file import BLENDED, FILE, Model, load_model, save_model

RECORD = "blend.json"
_SHAPE = {"schema": int, "alphas": {str: float}}
# Options of an encoder that do not change what its weights mean.
_FREE = ("drop_path", "dtype", "attention", "scan", "remat")
# What embedding and the report read of the base's metadata.
_INHERITED = ("foundation", "preprocess", "image_px")


def parse_alphas(text: str) -> list[float]:
    """Values of alpha from `START:STOP:STEP`, both ends included, or `A,B,C`.

    Raises:
      ValueError: It has another form, or values outside of [0, 1].
    """
    try:
        if ":" in text:
            start, stop, step = map(float, text.split(":"))
            steps = (stop - start) / step
            if not (step > 0 and steps >= 0 and abs(steps - round(steps)) < 1e-6):
                raise ValueError
            alphas = [round(start + i * step, 6) for i in range(round(steps) + 1)]
        else:
            alphas = [round(float(word), 6) for word in text.split(",")]
        if len(set(alphas)) < len(alphas) or not all(0 <= a <= 1 for a in alphas):
            raise ValueError
    except (ValueError, ArithmeticError):
        raise ValueError(
            f"expected --alpha START:STOP:STEP or A,B,C within 0 to 1, such as 0:1:0.1, "
            f"got {text!r}"
        ) from None
    return alphas


def interpolate(
    base: dict[str, Any], tuned: Sequence[dict[str, Any]], alpha: float
) -> dict[str, Any]:
    """(1 - alpha) base + alpha mean(tuned), leaf by leaf.

    The sum is taken in float64 and rounded once. At alpha 0 the result is the base to
    the bit, at 1 the tuned model to the bit if there is one.

    Args:
      base, tuned: Nested dicts of arrays with the same names and shapes.
      alpha: In [0, 1].
    """
    flat, others = flatten_dict(base), [flatten_dict(one) for one in tuned]
    if alpha == 0 or (alpha == 1 and len(others) == 1):
        return unflatten_dict(flat if alpha == 0 else others[0])
    blended = {}
    for path, leaf in flat.items():
        mean = np.mean([np.asarray(o[path], np.float64) for o in others], axis=0)
        mixed = (1 - alpha) * np.asarray(leaf, np.float64) + alpha * mean
        blended[path] = mixed.astype(np.asarray(leaf).dtype)
    return unflatten_dict(blended)


def blend(
    base: Path, tuned: Sequence[Path], alphas: Sequence[float], out: Path
) -> list[Path]:
    """Writes a model for each alpha, then OUT/blend.json, which lists them.

    Args:
      base, tuned: Run folders or model files; the tuned ones started from the base.
      alphas: In [0, 1]; 0 is the base.
      out: A new folder, or one with a blend of the same models.

    Returns:
      The folders of the models.

    Raises:
      ValueError: A tuned model did not start from the base or has another encoder, or
        `out` holds other models.
      ModelFileError: A file is no model.
    """
    models = {path: load_model(path) for path in (base, *tuned)}
    hashes = {path: sha256(path / FILE if path.is_dir() else path) for path in models}
    if len(models) < 1 + len(tuned):
        raise ValueError("expected different models, got one of them twice")
    for path in tuned:
        if problem := _difference(models[base], models[path], hashes[base]):
            raise ValueError(
                f"{path} {problem}: blend models with the base that they were tuned from"
            )
    folders = {f"alpha-{alpha:g}": alpha for alpha in alphas}
    record = {
        "schema": 1,
        "base": hashes[base],
        "tuned": [hashes[path] for path in tuned],
        "alphas": folders,
    }
    if (out / RECORD).exists():
        before = read_json(out / RECORD, _SHAPE)
        if any(before.get(key) != record[key] for key in ("base", "tuned")):
            raise ValueError(f"{out} holds a blend of other models: choose another")
        record["alphas"] = before["alphas"] | folders
    elif out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and holds no {RECORD}: choose another")
    encoders = [models[path].params["vit"] for path in tuned]
    for folder, alpha in folders.items():
        params = interpolate(models[base].params["vit"], encoders, alpha)
        meta = _meta(models, hashes, base, alpha)
        save_model(out / folder, Model({"vit": params}, models[base].vit, meta))
    write_json(out / RECORD, record)
    return [out / folder for folder in folders]


def blended(folder: str | Path) -> dict[float, Path]:
    """Models of a folder that `blend` wrote, by alpha; {} for any other path.

    Raises:
      ValueError: A model of the list is missing.
    """
    folder = local(folder)
    if not (folder / RECORD).is_file():
        return {}
    alphas = read_json(folder / RECORD, _SHAPE)["alphas"]
    found = {alpha: folder / name for name, alpha in alphas.items()}
    for path in found.values():
        if not (path / FILE).is_file():
            raise ValueError(f"{path} has no {FILE}: run `pathjax blend` again")
    return dict(sorted(found.items()))


def _difference(base: Model, tuned: Model, sha256: str) -> str:
    """Why a model cannot be blended with the base; "" if it can."""
    parents = [parent["sha256"] for parent in tuned.meta.get("lineage", ())]
    if sha256 not in parents:
        return "was not tuned from these weights, by the lineage in its file"
    one, other = (dataclasses.asdict(model.vit) for model in (base, tuned))
    if differ := [key for key in one if key not in _FREE and one[key] != other[key]]:
        return f"has an encoder with another {', '.join(differ)}"
    if tuned.meta["image_px"] != base.meta["image_px"]:
        return f"sees {tuned.meta['image_px']} px, and the base {base.meta['image_px']}"
    return ""


def _meta(
    models: dict[Path, Model], hashes: dict[Path, str], base: Path, alpha: float
) -> dict[str, Any]:
    """Metadata of a blend: it has seen what any of its parents has seen."""
    metas = [model.meta for model in models.values()]
    audit = [stage for meta in metas for stage in meta["audit"]]
    unique = [stage for i, stage in enumerate(audit) if stage not in audit[:i]]
    parents = [parent for meta in metas for parent in meta.get("lineage", ())]
    parents += [
        {"name": model.meta.get("name", ""), "sha256": hashes[path]}
        for path, model in models.items()
    ]
    lineage = list({parent["sha256"]: parent for parent in parents}.values())
    own = models[base].meta
    return {key: own[key] for key in _INHERITED if key in own} | {
        "name": f"blend-{alpha:g}",
        "objective": {"name": BLENDED},
        "panel": None,
        "init": str(base),
        "seed": None,
        "blend": {"alpha": alpha, "tuned": len(models) - 1},
        "versions": metas[-1].get("versions", {}),
        "audit": unique,
        "lineage": lineage,
    }
