"""Finds a model's published weights: a file, a folder, or a download.

    entry, PATH or nothing -> `locate` -> files on this machine -> `read_state` -> arrays

A folder may be a repository of the Hugging Face hub as its client leaves it, links and
shards included. Without a PATH the weights are downloaded: from the hub by its own
client, which finds its token in the environment, or from an address. Files are read by
`tensors.py`; the meaning of the arrays is `convert.py`'s.
"""

import dataclasses
import hashlib
import re
import urllib.request
from pathlib import Path

import numpy as np

from pathjax.files import atomic_path, cache_folder
from pathjax.zoo.entry import Entry, ZooError
from pathjax.zoo.tensors import read_file, read_index

SAFETENSORS, PYTORCH = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
# In the order of preference within a folder, as transformers has it.
PUBLISHED = (SAFETENSORS, SAFETENSORS + INDEX, PYTORCH, PYTORCH + INDEX)
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".torch", ".ckpt", ".tar")
SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.\w+)")
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Located:
    """Files of weights.

    Attributes:
      path: Of the file, or of the index of several.
      source: For the record: a public address, or a name without folders.
    """

    path: Path
    source: str


def locate(entry: Entry, weights: str | Path | None = None) -> Located:
    """The file or folder given, or the entry's own, downloaded once and kept.

    Raises:
      ZooError: There is no such file, or it could not be downloaded.
    """
    if weights is not None:
        path = resolve(Path(weights))
        return Located(path, f"file:{path.name}")
    kind, _, place = entry.source.partition(":")
    if kind == "timm":
        path = _from_hub(entry, f"timm/{place}", SAFETENSORS)
    elif kind == "hf":
        owner, repository, file = place.split("/", 2)
        path = _from_hub(entry, f"{owner}/{repository}", file)
    elif kind == "url":
        path = _from_address(entry, place)
    else:
        raise ZooError(f"{entry.name}: source {entry.source} is of no known kind")
    return Located(path, entry.source)


def resolve(path: Path) -> Path:
    """The file with the weights, or the index of its shards.

    Raises:
      ZooError: There is none, or a folder has several.
    """
    if path.is_dir():
        return _in_folder(_snapshot(path))
    if not path.exists():
        broken = "a link to a file that is not there" if path.is_symlink() else ""
        raise ZooError(
            f"expected weights at {path}, got {broken or 'no such file'}: pass a file "
            f"({', '.join(SUFFIXES[:5])}), or the folder of a download"
        )
    shard = SHARD.fullmatch(path.name)
    if shard:
        index = path.with_name(f"{shard['stem']}{shard['suffix']}{INDEX}")
        if not index.exists():
            raise ZooError(
                f"{path.name} is one of several shards: put {index.name} beside it, or "
                "pass the folder of the download"
            )
        return index
    return path


def _snapshot(folder: Path) -> Path:
    """The folder itself, or the one revision of the hub client's cache."""
    revisions = folder / "snapshots"
    if not revisions.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (revisions / main.read_text().strip()).is_dir():
        return revisions / main.read_text().strip()
    found = sorted(revisions.iterdir())
    if len(found) != 1:
        raise ZooError(f"{revisions} has {len(found)} revisions: pass one of them")
    return found[0]


def _in_folder(folder: Path) -> Path:
    for name in PUBLISHED:
        if (folder / name).is_file():
            return folder / name
        if (folder / name).is_symlink():
            raise ZooError(
                f"{folder / name} is a link to a file that is not there: download it "
                "again"
            )
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    indices = sorted(folder.glob(f"*{INDEX}"))
    found = indices or files
    if len(found) != 1:
        names = ", ".join(one.name for one in found[:4])
        raise ZooError(
            f"expected one file of weights in {folder}, got {len(found)}"
            f"{f' ({names})' if names else ''}: pass the file itself"
        )
    return found[0]


def files_of(path: Path) -> tuple[Path, ...]:
    """The file, or the shards of an index.

    Raises:
      ZooError: A shard is missing, or the index cannot be read.
    """
    if path.suffix != ".json":
        return (path,)
    names = sorted(set(read_index(path).values()))
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        raise ZooError(
            f"{path.name} names {len(missing)} shards that are not there, first "
            f"{missing[0]}: download them beside it"
        )
    return tuple(path.with_name(name) for name in names)


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file or of all shards of an index, by name.

    Raises:
      ZooError: As `tensors.read_file`; or shards do not hold what their index says.
    """
    path = Path(path)
    state: dict[str, np.ndarray] = {}
    for file in files_of(path):
        state |= read_file(file)
    if path.suffix == ".json":
        missing = [name for name in read_index(path) if name not in state]
        if missing:
            raise ZooError(
                f"{path.name} names {len(missing)} tensors that its shards do not "
                f"hold, first {missing[0]}: download them again"
            )
    return state


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum in hexadecimal digits; of an index, that of its shards' checksums."""
    files = files_of(path)
    if files != (path,):
        each = "".join(digest(file, algorithm) for file in files)
        return hashlib.new(algorithm, each.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _from_hub(entry: Entry, repository: str, file: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ZooError(
            f"the weights of {entry.name} are in {repository} on the Hugging Face hub, "
            "whose client is not installed: `pip install 'pathjax[hub]'`, or download "
            f"{file} and pass it by --weights"
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
        raise ZooError(
            f"could not download {file} of {repository} for {entry.name} "
            f"({type(error).__name__}){gate}. Or pass the file by --weights"
        ) from error


def _from_address(entry: Entry, address: str) -> Path:
    """Downloads to the user's cache; `#md5=...` or `#sha256=...` is checked."""
    address, _, check = address.partition("#")
    path = cache_folder() / "weights" / entry.name / address.rsplit("/", 1)[-1]
    if not path.is_file():
        try:
            with (
                atomic_path(path) as partial,
                urllib.request.urlopen(address, timeout=60) as response,
                open(partial, "wb") as file,
            ):
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                size = response.headers["Content-Length"]
                if size and file.tell() != int(size):  # the connection was cut
                    raise OSError(f"{file.tell()} of {size} bytes arrived")
                file.close()
                require_digest(partial, check, address)
        except OSError as error:
            raise ZooError(
                f"could not download {address} for {entry.name}: {error}. Or pass the "
                "file by --weights"
            ) from error
    return path


def require_digest(path: Path, check: str, address: str) -> None:
    """Compares a file with "md5=..." or "sha256=..."; "" accepts any file.

    Raises:
      ZooError: The checksum differs.
    """
    algorithm, _, expected = check.partition("=")
    if check and (actual := digest(path, algorithm)) != expected.lower():
        raise ZooError(
            f"{address}: expected {algorithm} {expected}, got {actual}; the download "
            "is damaged, or the file has changed"
        )
