"""A trained model as one file: parameters in safetensors, the rest in its header.

`model.safetensors` is what a run leaves for others: the best (or last) parameters, the
encoder under "vit" and the heads beside it, with the encoder's config, the gene panel
and the training patients. No pickle, readable without JAX. Resuming a run is in
`train/checkpoint.py`.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pathjax.files import atomic_path
from pathjax.models.vit import ViTConfig

FILE = "model.safetensors"
SCHEMA = 1


class ModelFileError(ValueError):
    """A file that is not a model of pathjax, or of another schema."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on the host.

    Attributes:
      params: nested dict of NumPy arrays; the encoder is `params["vit"]`.
      vit: config of the encoder.
      meta: objective, its options, step, image_px, panel, study, trained patients
        (`audit`), run name.
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
        "vit": dataclasses.asdict(model.vit),
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


def parameters_sha256(path: str | Path) -> str:
    """SHA-256 of a model's parameters alone: equal for copies with other metadata."""
    path = Path(path)
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


def load_model(path: str | Path) -> Model:
    """Reads a model from a run folder or a file.

    Raises:
      ModelFileError: there is none, it is cut short, or of another schema.
    """
    flat, header = _read(path, parameters=True)
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in header["vit"].items()
    }
    if fields.get("lora") is not None:
        raise ModelFileError(
            f"{path} expected merged adapters, as in the model that a run writes, got "
            "adapters apart from their kernels"
        )
    params = unflatten_dict({tuple(k.split("/")): v for k, v in flat.items()})
    return Model(params, ViTConfig(**fields), header["meta"])


def _read(path: str | Path, parameters: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by name, none unless asked for, and the header."""
    path = Path(path)
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
    header = json.loads(text)
    if header["schema"] != SCHEMA:
        raise ModelFileError(
            f"{file} has schema {header['schema']}, this pathjax reads {SCHEMA}"
        )
    return flat, header
