"""The embedding file: features, coords, tile ids in one HDF5 file, written atomically.

    features [N, E] float32    attributes: name, patch_size
    coords   [N, 2] int64      x, y of the upper left corner; attributes below
    tile_id  [N] str           of a study's index, or an image's relative path
    attribute "pathjax"        JSON: model, input, pooling, what was skipped and why

`features` and `coords` are as TRIDENT and CLAM write them. The attributes of `coords`
are TRIDENT's where they are known: `name`, `patch_size`, `patch_size_level0`,
`level0_magnification`, `target_magnification`, `overlap`. Nothing is embedded here.

Probes read rows of the file with `take`, so that they are in memory once: XLA's CPU
client uses a NumPy array in place when it is aligned to 64 bytes, and copies it
otherwise; NumPy aligns to 16.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int

from pathjax.data.study import Study
from pathjax.data.tile_source import StudyTiles, TileSource
from pathjax.files import atomic_path

BOUNDARY = 64  # bytes
ROWS_AT_ONCE = 8192
NAMED_AT_ONCE = 1 << 17  # as a study's index is read
STRETCH = 4096  # rows of a file at once
SPARSE = 8  # a range with fewer than one needed row in this many is not read whole


class EmbeddingError(ValueError):
    """An embedding file that is damaged or belongs to something else."""


class FileRows:
    """The features of FILE.h5, `[T, E]` float32, or another array, read when indexed."""

    def __init__(self, path: Path, name: str = "features"):
        self._path, self._name = path, name
        self.shape: tuple[int, int] = self._features.shape

    @functools.cached_property
    def _features(self) -> h5py.Dataset:
        return h5py.File(self._path, "r")[self._name]

    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n E"]:
        out = np.empty((len(rows), self.shape[1]), np.float32)
        order = np.argsort(rows, kind="stable")
        cuts = np.flatnonzero(np.diff(rows[order] // STRETCH)) + 1
        for part in np.split(order, cuts) if len(rows) else ():
            own = rows[part]
            low, high = int(own[0]), int(own[-1]) + 1
            if high - low <= SPARSE * len(own):
                out[part] = self._features[low:high][own - low]
            else:
                names, place = np.unique(own, return_inverse=True)
                out[part] = self._features[names][place]
        return out


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Cached embeddings of all tiles of a study.

    Attributes:
      features: `[n_tiles, E]` float32 in the study's tile order.
      meta: Model name, study name and fingerprint, audit record.
    """

    features: Float[np.ndarray, "n E"]
    meta: dict


def write_file(
    path: Path,
    blocks: Iterable[Float[np.ndarray, "m E"]],
    source: TileSource,
    broken: Int[np.ndarray, "b"],
    meta: dict[str, Any],
    *,
    width: int,
    attributes: dict[str, Any],
) -> None:
    """Writes FILE.h5 atomically, a block of rows at a time.

    Args:
      path: FILE.h5.
      blocks: Features in order, N rows in all: as many as the source's tiles that are
        not broken.
      source, broken: The tiles, and the numbers of those that were skipped.
      meta: Written as JSON together with the source's name.
      width: E.
      attributes: Of `coords`.

    Raises:
      EmbeddingError: The blocks are not N rows.
    """
    about = {"input": source.kind, source.kind: source.name}
    about["fingerprint"] = source.fingerprint
    count = len(source) - len(broken)
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        features = file.create_dataset("features", (count, width), np.float32)
        done = 0
        for block in blocks:
            features[done : done + len(block)] = block
            done += len(block)
        if done != count:
            raise EmbeddingError(f"{path}: expected {count} rows, got {done}")
        for key in ("name", "patch_size"):
            if key in attributes:
                features.attrs[key] = attributes[key]
        coords = file.create_dataset("coords", (count, 2), np.int64)
        coords.attrs.update(attributes)
        ids = file.create_dataset("tile_id", (count,), h5py.string_dtype())
        done = 0
        for start in range(0, len(source), NAMED_AT_ONCE):
            rows = np.arange(start, min(start + NAMED_AT_ONCE, len(source)))
            rows = np.setdiff1d(rows, broken)
            part = slice(done, done + len(rows))
            coords[part], ids[part] = source.coords(rows), source.tile_ids(rows)
            done += len(rows)
        file.attrs["pathjax"] = json.dumps(meta | about)


def read_header(path: Path) -> tuple[dict[str, Any], tuple[int, int]]:
    """FILE.h5's metadata, and the shape of its features, (N, E).

    Raises:
      EmbeddingError: It is no embedding file.
    """
    try:
        with h5py.File(path, "r") as file:
            meta, shape = json.loads(file.attrs["pathjax"]), file["features"].shape
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise EmbeddingError(f"{path} is no embedding file: {error}") from error
    if not isinstance(meta, dict) or len(shape) != 2:
        raise EmbeddingError(
            f"{path} is no embedding file: expected features [n, E], got {list(shape)}"
        )
    return meta, shape


def write_embeddings(
    path: Path, study: Study, features: Float[np.ndarray, "n E"], meta: dict
) -> None:
    """Writes features that are in memory, one row for each tile of a study."""
    tiles = StudyTiles(study)
    write_file(
        path,
        [features],
        tiles,
        np.array([], int),
        meta,
        width=features.shape[1],
        attributes=tiles.attributes(),
    )


def read_embeddings(path: Path, study: Study) -> Embeddings:
    """Reads FILE.h5 and checks that it belongs to the study.

    Raises:
      EmbeddingError: It is no such file, or of another study.
    """
    meta = _require_of(path, study)
    with h5py.File(path, "r") as file:
        return Embeddings(file["features"][:], meta)


def open_embeddings(path: Path, study: Study) -> FileRows:
    """FILE.h5 whose rows are read when indexed; checked as by `read_embeddings`."""
    _require_of(path, study)
    return FileRows(path)


def _require_of(path: Path, study: Study) -> dict[str, Any]:
    """FILE.h5's meta, if it belongs to the study."""
    meta, (count, _) = read_header(path)
    fingerprint = str(meta.get("fingerprint"))
    if fingerprint != study.fingerprint or count != len(study):
        owner = f"study {meta['study']}" if "study" in meta else "a folder of images"
        raise EmbeddingError(
            f"{path}: expected {len(study)} embeddings of {study.name} "
            f"({study.fingerprint[:12]}), got {count} of {owner} "
            f"({fingerprint[:12]}): run `pathjax embed` again"
        )
    return meta


def aligned(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """A float32 array, not filled, that JAX uses on a CPU without a copy."""
    size = 4 * math.prod(shape)
    buffer = np.empty(size + BOUNDARY, np.uint8)
    start = -buffer.ctypes.data % BOUNDARY
    return buffer[start : start + size].view(np.float32).reshape(shape)


def take(
    features: Float[np.ndarray, "T E"] | FileRows,
    rows: Int[np.ndarray, "n"],
    out: Float[np.ndarray, "n E"] | None = None,
) -> Float[np.ndarray, "n E"]:
    """Rows as one aligned array, or in `out`, read a block at a time."""
    if out is None:
        out = aligned((len(rows), features.shape[1]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        out[start : start + len(part)] = features[part]
    return out


def not_finite(features: Float[np.ndarray, "n E"]) -> Int[np.ndarray, "bad"]:
    """Which rows hold a value that is not finite."""
    starts = range(0, max(len(features), 1), ROWS_AT_ONCE)
    parts = ((start, features[start : start + ROWS_AT_ONCE]) for start in starts)
    return np.concatenate(
        [
            start + np.flatnonzero(~np.isfinite(part).all(axis=1))
            for start, part in parts
        ]
    )
