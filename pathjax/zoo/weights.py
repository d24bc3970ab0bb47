"""Finds a model's published weights and reads them, as NumPy arrays and never as code.

    entry, FILE or nothing -> `locate` -> file on this machine -> `read_state` -> arrays

Safetensors are read as they are. PyTorch's own files are pickles; they are opened with
`weights_only=True` and in no other way, which runs nothing that is in them, and only
where torch is installed. Without a FILE the weights are downloaded: from the Hugging
Face hub by its own client, which finds its token in the environment, or from an
address. What the arrays mean is `convert.py`'s.
"""

import dataclasses
import hashlib
import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from pathjax.files import atomic_path
from pathjax.zoo.entry import Entry

PICKLES = (".pth", ".pt", ".bin", ".torch", ".ckpt")
# Where training code puts the encoder inside a checkpoint; a teacher before a student.
WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict", "network")
CHUNK = 1 << 20
SAFE_TORCH = (2, 6)


class WeightsError(ValueError):
    """Weights that cannot be had or read; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Located:
    """A file of weights.

    Attributes:
      path: on this machine.
      source: where it is from, for the record: a public address, or a file's name
        without the folders of whoever imported it.
    """

    path: Path
    source: str


def locate(entry: Entry, weights: str | Path | None = None) -> Located:
    """The file given, or the entry's own, downloaded once and kept.

    Raises:
      WeightsError: there is no such file, or it could not be downloaded.
    """
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise WeightsError(
                f"found no file {path}: wanted the weights of {entry.name}, safetensors "
                f"or {', '.join(PICKLES)}"
            )
        return Located(path, f"file:{path.name}")
    kind, _, place = entry.source.partition(":")
    if kind == "timm":
        path = _from_hub(entry, f"timm/{place}", "model.safetensors")
    elif kind == "hf":
        owner, repository, file = place.split("/", 2)
        path = _from_hub(entry, f"{owner}/{repository}", file)
    elif kind == "url":
        path = _from_address(entry, place)
    else:
        raise WeightsError(f"{entry.name}: source {entry.source} is of no known kind")
    return Located(path, entry.source)


def _from_hub(entry: Entry, repository: str, file: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise WeightsError(
            f"the weights of {entry.name} are in {repository} on the Hugging Face hub, "
            "whose client is not installed: `pip install 'pathjax[hub]'`, or download "
            f"{file} and pass it with --weights"
        ) from error
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the hub's errors share no base class over versions
        gate = (
            f"; access is gated: accept its conditions at {entry.licence_url} and set "
            "HF_TOKEN"
            if entry.gated
            else ""
        )
        raise WeightsError(
            f"could not download {file} of {repository} for {entry.name} "
            f"({type(error).__name__}){gate}. Or pass the file with --weights"
        ) from error


def _from_address(entry: Entry, address: str) -> Path:
    """Downloads to the user's cache; `#md5=...` or `#sha256=...` is checked."""
    address, _, check = address.partition("#")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    path = home / "pathjax" / "weights" / entry.name / address.rsplit("/", 1)[-1]
    if not path.is_file():
        try:
            with (
                atomic_path(path) as partial,
                urllib.request.urlopen(address, timeout=60) as response,
                open(partial, "wb") as file,
            ):
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                file.close()
                require_digest(partial, check, address)
        except OSError as error:
            raise WeightsError(
                f"could not download {address} for {entry.name}: {error}. Or pass the "
                "file with --weights"
            ) from error
    return path


def require_digest(path: Path, check: str, address: str) -> None:
    """Compares a file with "md5=..." or "sha256=..."; nothing is wanted of "".

    Raises:
      WeightsError: it is another file.
    """
    if not check:
        return
    algorithm, _, wanted = check.partition("=")
    found = digest(path, algorithm)
    if found != wanted.lower():
        raise WeightsError(
            f"{address} has {algorithm} {found}, wanted {wanted}: the download is "
            "damaged, or the file has changed"
        )


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The file's checksum in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name; half precisions are widened to float32.

    Raises:
      WeightsError: it is no file of weights, holds more than weights, or torch is
        wanted and not installed.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return _read_pickle(path)
    raise WeightsError(
        f"{path} is neither .safetensors nor {', '.join(PICKLES)}: rename it if it is "
        "one of them"
    )


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as tensors:
            return {
                name: _widen(tensors.get_tensor(name))
                for name in tensors.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    import pickle

    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{path.name} is a PyTorch file and torch is not installed: `pip install "
            "torch`, or convert it to safetensors elsewhere"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise WeightsError(
            f"torch {torch.__version__} can be made to run code by a file even with "
            f"weights_only (CVE-2025-32434): {path.name} is read with "
            f"{'.'.join(map(str, SAFE_TORCH))} or later"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        # torch's message goes on for a page, and part of it is advice to run the file.
        reason = next(iter(str(error).split("\n")), "")
        raise WeightsError(
            f"{path} is refused: it is damaged, or holds Python objects beside tensors, "
            f"which could run code when opened ({reason[:200]}). Ask its maker for "
            "safetensors, or keep only its tensors where you trust it"
        ) from error
    state = unwrap(loaded, torch.Tensor)
    if not state:
        raise WeightsError(f"{path} holds no tensors by name: found {type(loaded)}")
    return {
        name: tensor.detach().float().numpy()
        if tensor.is_floating_point()
        else tensor.numpy()
        for name, tensor in state.items()
    }


def unwrap(loaded: Any, kind: type) -> dict[str, Any]:
    """Tensors by name out of a checkpoint: the dict itself, or the one it wraps."""
    while isinstance(loaded, Mapping):
        inner = [
            loaded[key]
            for key in WRAPPERS
            if isinstance(loaded.get(key), Mapping) and loaded[key]
        ]
        if not inner:
            return {k: v for k, v in loaded.items() if isinstance(v, kind)}
        loaded = inner[0]
    return {}


def _widen(array: np.ndarray) -> np.ndarray:
    """float16, bfloat16 and float64 to float32; integers are left."""
    is_number = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32, copy=False) if is_number else array
