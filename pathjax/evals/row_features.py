"""Embeddings of a task's rows, read once they are known: its tiles, their means, bags of them.

    rows by role -> with_features -> rows with embeddings, all in one array
    samples by fold -> bags_of -> embeddings of their tiles, and whose each is

Which rows a task has is decided before, in rows.py: a row that is left out is not read.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pathjax.data.row_ranges import RowRanges
from pathjax.embeddings.embedding_file import (
    ROWS_AT_ONCE,
    FileRows,
    aligned,
    not_finite,
    take,
)
from pathjax.evals import EvalError
from pathjax.evals.probes.base import FoldRows

SUMS_AT_ONCE = 1024  # rows
Features = Float[np.ndarray, "T E"] | FileRows
Rows = dict[str, FoldRows]
Bags = tuple[Int[np.ndarray, "n M"], Bool[np.ndarray, "n M"]]


def no_features(rows: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 0"]:
    """Stands for embeddings that are not held."""
    return np.empty((len(rows), 0), np.float32)


def with_features(study, level: str, rows: Rows, features: Features) -> Rows:
    """The rows with their embeddings: those of all roles in one array, one after another.

    A sample's and a patient's embedding is the mean of its tiles' inside the fold.

    Raises:
      EvalError: One is not finite. Tiles that are in no row need not have been embedded.
    """
    whole = aligned((sum(map(len, rows.values())), features.shape[1]))
    start, found = 0, {}
    for role, part in rows.items():
        own = whole[start : start + len(part)]
        start += len(part)
        if level == "tile":
            take(features, part.index, own)
        else:
            _pool(study, level, part, features, own)
        bad = not_finite(own)
        if bad.size:
            raise EvalError(
                f"{bad.size} of {len(part)} embeddings are not finite, first "
                f"{level} {part.unit[bad[0]]}: the tiles were not embedded, or the "
                "encoder's parameters or input are broken"
            )
        found[role] = dataclasses.replace(part, features=own)
    return found


def _row_of_run(study, level: str, rows: FoldRows) -> Int[np.ndarray, "runs"]:
    """Which row the tiles of each run are of, -1 where it was left out."""
    owner = study.runs[f"{level}_id"].astype(str).to_numpy(dtype=np.str_)
    return pd.Index(rows.unit).get_indexer(owner)


def _pool(study, level, rows: FoldRows, features, out) -> None:
    """Means of the rows' tiles into `out`; some rows' sums in float64 at a time."""
    out[:] = np.nan  # of a row without tiles
    row = _row_of_run(study, level, rows)
    bounds = np.append(study.runs["first_row"].to_numpy(), len(study))
    starts = np.searchsorted(rows.tiles, bounds)
    sizes = np.diff(starts)
    kept = np.flatnonzero((row >= 0) & (sizes > 0))
    # Rows in the order of their first tiles: a file is read from first to last.
    turn, row = pd.factorize(row[kept])
    order = kept[np.argsort(turn, kind="stable")]
    places = RowRanges(starts[order], sizes[order])
    count = np.bincount(turn, sizes[kept], len(row)).astype(np.int64)
    stops = np.cumsum(count)
    for low in range(0, len(row), SUMS_AT_ONCE):
        part = slice(low, low + SUMS_AT_ONCE)
        total = np.zeros((len(row[part]), features.shape[1]))
        first, last = stops[low] - count[low], stops[part][-1]
        for start in range(first, last, ROWS_AT_ONCE):
            at = np.arange(start, min(start + ROWS_AT_ONCE, last))
            whose = np.searchsorted(stops, at, side="right") - low
            np.add.at(total, whose, features[rows.tiles[places.take(at)]])
        out[row[part]] = total / count[part, None]


def bags_of(
    study,
    parts: Sequence[FoldRows],
    features: Features,
    most: int,
    level: str = "sample",
) -> tuple[Float[np.ndarray, "t E"], list[Bags]]:
    """The tiles of each row's sample or patient, inside its fold.

    Args:
      study: Whose.
      parts: Samples by fold.
      features: Embeddings of all tiles.
      most: Tiles of a row at most; more are thinned evenly.
      level: "sample" or "patient".

    Returns:
      Embeddings of the tiles, and of each part the numbers of its rows' tiles `[n, M]` and
      which of these there are `[n, M]`. M is a power of two: tasks of about one size share
      a compile.
    """
    tiles = []  # of each row, by part
    for rows in parts:
        owner = _row_of_run(study, level, rows)[study.run_of(rows.tiles)]
        # -1 are tiles of rows without a label.
        order = np.argsort(owner, kind="stable")[int((owner < 0).sum()) :]
        sizes = np.bincount(owner[owner >= 0], minlength=len(rows))
        each = np.split(rows.tiles[order], np.cumsum(sizes)[:-1])
        tiles.append([_thinned(own, most) for own in each])
    length = 1 << (max(len(own) for part in tiles for own in part) - 1).bit_length()
    start, bags = 0, []
    for part in tiles:
        number = np.zeros((len(part), length), np.int32)
        sizes = np.array([len(own) for own in part])
        mask = np.arange(length) < sizes[:, None]
        number[mask] = start + np.arange(sizes.sum())
        start += sizes.sum()
        bags.append((number, mask))
    every = np.concatenate([own for part in tiles for own in part])
    return take(features, every), bags


def _thinned(tiles, most: int):
    """At most so many of them, evenly spaced."""
    if len(tiles) <= most:
        return tiles
    return tiles[np.arange(most) * len(tiles) // most]
