"""Embeddings as probes take them: rows of an array, or of a file that is not all read.

    FILE.h5 -> FileRows -> take(rows) -> one aligned array

A probe's rows are then in memory once. XLA's CPU client uses a NumPy array in place
when it lies on a boundary of 64 bytes, and copies it otherwise; NumPy's own lie on 16.
"""

import functools
import math
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

BOUNDARY = 64  # bytes
ROWS_AT_ONCE = 8192
SPARSE = 8  # a stretch with fewer than one wanted row in this many is not read whole


class FileRows:
    """The features of FILE.h5, `[T, E]` float32, read when rows are asked for."""

    def __init__(self, path: Path):
        self._path = path
        self.shape: tuple[int, int] = self._features.shape

    @functools.cached_property
    def _features(self) -> h5py.Dataset:
        return h5py.File(self._path, "r")["features"]

    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n E"]:
        if not len(rows):
            return np.empty((0, self.shape[1]), np.float32)
        low, high = int(rows.min()), int(rows.max()) + 1
        if high - low <= SPARSE * len(rows):
            return self._features[low:high][rows - low]
        names, place = np.unique(rows, return_inverse=True)
        return self._features[names][place]


def aligned(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """A float32 array, not filled, that JAX uses on a CPU without a copy."""
    size = 4 * math.prod(shape)
    room = np.empty(size + BOUNDARY, np.uint8)
    start = -room.ctypes.data % BOUNDARY
    return room[start : start + size].view(np.float32).reshape(shape)


def take(
    features: Float[np.ndarray, "T E"] | FileRows, rows: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n E"]:
    """Rows as one aligned array, read a stretch at a time."""
    out = aligned((len(rows), features.shape[1]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        out[start : start + len(part)] = features[part]
    return out


def not_finite(features: Float[np.ndarray, "n E"]) -> Int[np.ndarray, "bad"]:
    """Which rows hold a value that is not finite."""
    return np.concatenate(
        [
            start + np.flatnonzero(~np.isfinite(part).all(axis=1))
            for start in range(0, max(len(features), 1), ROWS_AT_ONCE)
            for part in (features[start : start + ROWS_AT_ONCE],)
        ]
    )
