"""Reads the tensors of one file as NumPy arrays, and never as code.

A file is what its first bytes say, whatever it is called. Safetensors are read as they
are. PyTorch's own files are pickles; they are opened with `weights_only=True` and in no
other way, which runs nothing that is in them, and only where torch is installed.
Anything else (an HTML page, a git-LFS pointer, an archive) is refused by name. What the
tensors mean is not known here.
"""

import argparse
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from pathjax.models.model_file import FILE
from pathjax.zoo.entry import ZooError

SAFE_TORCH = (2, 6)
DOWNLOAD = "download it again"
# First bytes of what people have in place of weights, and what to do about it.
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-LFS pointer: fetch the file by `git lfs pull`"),
    (b"/annex/", "a git-annex pointer: fetch the file by `git annex get`"),
    (b"<!doctype html", "an HTML page, perhaps of a log-in or an error"),
    (b"<html", "an HTML page, perhaps of a log-in or an error"),
    (b"<", "an XML or HTML text, perhaps of an error"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file, as of Keras or of embeddings"),
    (b"GGUF", "a GGUF file, whose weights are quantised"),
    (b"\x93NUMPY", "a NumPy array"),
)
# Entries of a checkpoint with the state of training and not of the model.
TRAINING = re.compile(r"optim|lr_sched|scheduler|scaler|callbacks|loops|rng")
# Dtypes that safetensors' NumPy reader does not know; they are refused if they are
# part of an encoder, so their values are never looked at.
NARROW = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}


def read_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, in the file's dtypes; bfloat16 may be widened.

    Raises:
      ZooError: It holds no weights or more than weights, is truncated, or torch is
        needed and not installed.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head[:2] == b"PK":
        require_torch_zip(path)
        return _read_pickle(path)
    if head[:1] == b"\x80":
        return _read_pickle(path)
    raise ZooError(f"expected weights, but {path} is {kind_of(path, head)}")


def kind_of(path: Path, head: bytes) -> str:
    """What a file is that holds no weights, with advice."""
    if not head:
        return f"empty: {DOWNLOAD}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, words in KINDS:
        if start.startswith(magic.lower()):
            return words if ": " in words else f"{words}: {DOWNLOAD}"
    if tarfile.is_tarfile(path):
        return "a tar archive: unpack it first"
    text = head.decode("utf-8", "replace")
    if text[:200].isprintable() or all(c.isprintable() or c.isspace() for c in text):
        return f"a text ({' '.join(text[:60].split())!r}): {DOWNLOAD}"
    return f"of an unknown kind: use safetensors or a PyTorch file, or {DOWNLOAD}"


def require_torch_zip(path: Path) -> None:
    """Tells a PyTorch file from other archives by the names inside.

    Raises:
      ZooError: It is another archive, or cut short.
    """
    try:
        names = zipfile.ZipFile(path).namelist()
    except zipfile.BadZipFile:
        raise ZooError(f"{path} is truncated or damaged: {DOWNLOAD}") from None
    inside = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inside:
        raise ZooError(
            f"{path} is a TorchScript program, which is code: use its state_dict"
        )
    if "data.pkl" not in inside:
        first = ", ".join(names[:3])
        raise ZooError(f"{path} is an archive ({first}, ...): unpack it first")


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as tensors:
            if "pathjax" in (tensors.metadata() or {}):
                raise ZooError(
                    f"{path} is a model of pathjax already: use it as it is, in place "
                    f"of an imported {FILE}"
                )
            return {
                name: _tensor(tensors, name)
                for name in tensors.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError) as error:
        raise ZooError(
            f"{path} is a truncated or damaged safetensors file ({error}): {DOWNLOAD}"
        ) from error


def _tensor(tensors: Any, name: str) -> np.ndarray:
    view = tensors.get_slice(name)
    if view.get_dtype()[:2] in ("F8", "F4", "F6"):
        dtype = NARROW.get(view.get_dtype(), ml_dtypes.float4_e2m1fn)
        return np.broadcast_to(np.zeros((), dtype), tuple(view.get_shape()))
    return tensors.get_tensor(name)


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise ZooError(
            f"{path.name} is a PyTorch file and torch is not installed: `pip install "
            "torch`, or use the model's safetensors"
        ) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise ZooError(
            f"torch {torch.__version__} can be made to run code by a file even with "
            f"weights_only (CVE-2025-32434): {path.name} needs "
            f"{'.'.join(map(str, SAFE_TORCH))} or later"
        )
    try:
        # Plain containers of command-line arguments are in DINO's own checkpoints. An
        # open file, as torch reads a path by its suffix.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            open(path, "rb") as file,
        ):
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        # torch's message advises to run the file; only the object's name is kept.
        culprit = re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error))
        if culprit is None:
            raise ZooError(
                f"{path} is refused: it is truncated, damaged, or no file of weights. "
                f"{DOWNLOAD.capitalize()}, or use the model's safetensors"
            ) from None
        raise ZooError(
            f"{path} is refused: it holds a Python object beside tensors "
            f"({culprit[1]}), which could run code when opened, or is truncated. Use "
            "the model's safetensors, or a file with its state_dict only"
        ) from None
    state = dict(flatten(loaded, torch.Tensor))
    if not state:
        raise ZooError(
            f"{path} holds no tensors by name, but a {type(loaded).__name__}"
        )
    return {name: _array(tensor) for name, tensor in state.items()}


def flatten(loaded: Any, kind: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors of nested dicts, with joined names: {"teacher": {"a": t}} has teacher.a.

    The state of optimisers and schedules is left out.
    """
    if not isinstance(loaded, Mapping):
        return
    for key, value in loaded.items():
        if isinstance(value, kind):
            yield f"{path}{key}", value
        elif not TRAINING.match(str(key)):
            yield from flatten(value, kind, f"{path}{key}.")


def _array(tensor: Any) -> np.ndarray:
    """A torch tensor in NumPy's dtype; bfloat16 is widened, exactly."""
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16":
        return tensor.float().numpy()
    if name.startswith("float8"):
        dtype = getattr(ml_dtypes, name, ml_dtypes.float8_e4m3fn)
        return np.broadcast_to(np.zeros((), dtype), tuple(tensor.shape))
    return tensor.numpy()


def read_index(path: Path) -> dict[str, str]:
    """Tensor to file name of a sharded model's index.

    Raises:
      ZooError: It is no index, or names files outside its folder.
    """
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = {str(name): str(file) for name, file in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ZooError(
            f"{path} is JSON without a weight_map, so no index of weights: pass the "
            "weights themselves"
        ) from error
    outside = [file for file in shards.values() if Path(file).name != file]
    if outside or not shards:
        raise ZooError(f"{path} names files outside its folder: {outside[:1]}")
    return shards
