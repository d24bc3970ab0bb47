"""A trained model as one file: parameters in safetensors, the rest in its header.

`model.safetensors` is what a run leaves for others: the best (or last) parameters, the
encoder under "vit" and the heads beside it, with the encoder's config, the gene panel
and the training patients. No pickle, readable without JAX. Resuming a run is in
`train/checkpoint.py`.
"""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pathjax.buckets import local
from pathjax.files import atomic_path, mismatch
from pathjax.models.variants import ViTConfig, param_shapes

FILE = "model.safetensors"
SCHEMA = 1
# In place of an objective's name: an encoder without heads, of a public model or blended.
IMPORTED, BLENDED = "imported", "blended"
# Shapes of the header, see `files.mismatch`.
VIT = {
    **dict.fromkeys(("patch", "width", "depth", "heads", "mlp_dim"), int),
    **dict.fromkeys(("image_px?", "registers?"), int),
    **dict.fromkeys(("layerscale?", "drop_path?", "norm_eps?"), float),
    **dict.fromkeys(("no_embed_class?", "scan?", "remat?"), bool),
    **dict.fromkeys(("pool?", "mlp?", "gelu?", "dtype?"), str),
    **dict.fromkeys(("positions?", "attention?"), str),
    "mean?": [float],
    "std?": [float],
}
META = {
    "objective": {"name": str},
    "image_px": int,
    "name?": str,
    "step?": int,
    "untrained?": bool,
    "preprocess?": {"resize": int, "crop": int, "interpolation": str},
    "tiles?": {"px": int, "mpp": float},
    "panel?": {
        "genes": [str],
        "mean": [float],
        "std": [float],
        "samples": int,
        "unit?": str,
        "ids?": {str: [str]},
    },
    "audit?": [
        {"study": str, "fingerprint": str, "patients": [str], "slides": [str],
         "selection?": [str]}
    ],
    "resources?": {},
    "lineage?": [{"sha256": (str, type(None)), "stages?": int}],
}  # fmt: skip
HEADER = {"schema": int, "vit?": VIT, "meta": META}
LARGEST_PX = 100_000


class ModelFileError(ValueError):
    """A file that is not a model of pathjax, or of another schema."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on the host.

    Attributes:
      params: nested dict of NumPy arrays; the encoder is `params["vit"]`.
      vit: config of the encoder; None in a model of genes alone, which `load_model`
        returns only if it is asked for.
      meta: objective, its options, step, image_px, panel, study, trained patients
        (`audit`), run name; `untrained` if the parameters are random.
    """

    params: dict[str, Any]
    vit: ViTConfig
    meta: dict[str, Any]


def save_model(folder: Path, model: Model) -> Path:
    """Writes FOLDER/model.safetensors atomically and returns its path.

    Raises:
      ModelFileError: it could not be written, such as on a full disk.
    """
    flat = {
        # Not ascontiguousarray, which makes [1] of a scalar.
        "/".join(path): np.asarray(leaf, order="C")
        for path, leaf in flatten_dict(model.params).items()
    }
    header = {
        "schema": SCHEMA,
        "vit": None if model.vit is None else dataclasses.asdict(model.vit),
        "meta": model.meta,
    }
    try:
        with atomic_path(folder / FILE) as partial:
            save_file(flat, partial, metadata={"pathjax": json.dumps(header)})
    except (SafetensorError, OSError) as error:
        size = sum(leaf.nbytes for leaf in flat.values()) >> 20
        raise ModelFileError(
            f"{folder / FILE} could not be written: {error}. It takes {size} MiB beside "
            "the one that is there: make room and run the same command again"
        ) from error
    return folder / FILE


def has_heads(meta: dict[str, Any]) -> bool:
    """Whether an objective trained the model; if not, the file holds an encoder only."""
    return meta["objective"]["name"] not in (IMPORTED, BLENDED)


def parameters_sha256(path: str | Path) -> str:
    """SHA-256 of a model's parameters alone: equal for copies with other metadata."""
    path = local(path)
    with open(path / FILE if path.is_dir() else path, "rb") as file:
        # safetensors: the header's length, 8 bytes; the header; the tensors.
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_meta(path: str | Path) -> dict[str, Any]:
    """A model's `meta`, without reading its parameters.

    Raises:
      ModelFileError: as `load_model`.
    """
    return _read(path, parameters=False)[1]["meta"]


def load_model(path: str | Path, *, encoder: bool = True) -> Model:
    """Reads a model from a run folder or a file.

    Args:
      path: Of either.
      encoder: Refuse a model of genes alone, which has no image encoder.

    Raises:
      ModelFileError: there is none, it is cut short, or of another schema.
    """
    flat, header = _read(path, parameters=True)
    params = unflatten_dict({tuple(k.split("/")): v for k, v in flat.items()})
    if header.get("vit") is None:
        if encoder:
            raise ModelFileError(
                f"{path} has no image encoder, it was trained on genes alone: it is for "
                "objective.expression_tower.init, with name=vae"
            )
        nothing: Any = None
        return Model(params, nothing, header["meta"])
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in header["vit"].items()
    }
    unknown = sorted(set(fields) - {one.name for one in dataclasses.fields(ViTConfig)})
    if unknown:
        raise ModelFileError(
            f"{path} describes its encoder by {', '.join(unknown[:5])}, which this "
            "pathjax does not know: it may be of a later version"
        )
    if fields.get("lora") is not None:
        raise ModelFileError(
            f"{path} expected merged adapters, as in the model that a run writes, got "
            "adapters apart from their kernels"
        )
    try:
        vit = ViTConfig(**fields)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from error
    _require_shapes(path, vit, flat)
    return Model(params, vit, header["meta"])


def _require_shapes(path: str | Path, vit: ViTConfig, flat: dict[str, Any]) -> None:
    """Rejects tensors that are not those of the encoder that the header describes."""
    own = {
        name.removeprefix("vit/"): tensor.shape
        for name, tensor in flat.items()
        if name.startswith("vit/")
    }
    blocks = len({name.split("/")[0] for name in own if name.startswith("blocks_")})
    problem = f"{blocks} blocks, expected {vit.depth}" if blocks != vit.depth else ""
    expected = {} if problem else param_shapes(vit)
    for name, shape in expected.items():
        if name not in own:
            problem = f"no {name}"
        elif own[name] != shape:
            problem = f"{name} of shape {own[name]}, expected {shape}"
        if problem:
            break
    if problem:
        raise ModelFileError(
            f"{path} has an encoder with {problem}: the file is damaged, take a whole copy"
        )


def _read(path: str | Path, parameters: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by name, none unless asked for, and the header."""
    path = local(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ModelFileError(
            f"expected a run folder with {FILE}, or such a file, got {path}; a run writes "
            "it at its best validation and at its end"
        )
    try:
        with safe_open(file, framework="numpy") as tensors:
            text = (tensors.metadata() or {}).get("pathjax")
            names = list(tensors.keys()) if parameters else []
            flat = {name: tensors.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{file} is not a complete safetensors file: {error}; published weights "
            "of another library need `pathjax import`"
        ) from error
    if text is None:
        raise ModelFileError(
            f"{file} has weights that pathjax did not write: convert them by "
            "`pathjax import`"
        )
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ModelFileError(
            f"{file} has a header that is not JSON: {error}"
        ) from error
    schema = header.get("schema") if isinstance(header, dict) else None
    if schema != SCHEMA:
        raise ModelFileError(f"{file}: expected schema {SCHEMA}, got {schema!r}")
    if problem := _header_problem(header):
        raise ModelFileError(f"{file} has a damaged header: {problem}")
    return flat, header


def _header_problem(header: dict[str, Any]) -> str:
    if problem := mismatch(header, HEADER, "the header"):
        return problem
    if "vit" not in header:
        return "the header lacks vit"
    meta = header["meta"]
    preprocess, panel = meta.get("preprocess") or {}, meta.get("panel") or {}
    sides = [meta["image_px"], *(preprocess.get(k, 1) for k in ("resize", "crop"))]
    if not all(1 <= side <= LARGEST_PX for side in sides):
        return f"expected images of 1 to {LARGEST_PX} px, got {sides}"
    sizes = {len(panel[key]) for key in ("genes", "mean", "std")} if panel else set()
    numbers = [*panel.get("mean", ()), *panel.get("std", ())]
    if len(sizes) > 1 or not all(map(math.isfinite, numbers)):
        return "expected a finite mean and std for each gene of the panel"
    tiles = meta.get("tiles") or {"px": 1, "mpp": 1.0}
    if not (tiles["px"] > 0 and 0 < tiles["mpp"] < math.inf):
        return f"expected tiles of positive px and mpp, got {tiles}"
    return ""
