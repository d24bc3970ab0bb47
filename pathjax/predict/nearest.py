"""The reference samples nearest to a tile or a slide, and their reports.

    features -> shared space -> bank -> nearest.csv (slides), nearest_tiles.csv (tiles)

The bank is searched by expression and, where reports were embedded for a model with a
text tower, by text; column `by` says which. A slide is all its tiles, aggregated as in training. A report is that of the retrieved
sample in the reference's reports.parquet; what the image itself was reported as is
never read.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.embeddings.features import FileRows
from pathjax.files import atomic_path
from pathjax.predict.bank import Bank

COLUMNS = ("query", "rank", "similarity", "by", "sample", "patient")


def write_nearest_slides(
    path: Path,
    bank: Bank,
    features: FileRows,
    rows: np.ndarray,
    obs: pd.DataFrame,
    people: np.ndarray,
    reports: dict[str, str],
    k: int,
) -> None:
    """nearest.csv: for each slide its k nearest samples, and their reports if any.

    Args:
      path: of the file.
      bank: the reference.
      features, rows: embeddings, and which row of them each tile of `obs` has.
      obs: a row per tile.
      people: who each tile is of.
      reports: sample id to text.
      k: how many.
    """
    with atomic_path(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "report"])
        for slide, inside in obs.groupby("slide_id", sort=True).indices.items():
            z = bank.pooled(features[rows[inside]])
            for line in lines(bank, z, [slide], people[inside[:1]], k):
                writer.writerow([*line, reports.get(line[4], "")])


def write_nearest_tiles(
    path: Path,
    bank: Bank,
    blocks: Iterator[tuple[np.ndarray, slice]],
    obs: pd.DataFrame,
    people: np.ndarray,
    k: int,
) -> None:
    """nearest_tiles.csv: for each tile its k nearest samples.

    Args:
      path: of the file.
      bank: the reference.
      blocks: features, and which rows of `obs` they are of.
      obs: a row per tile.
      people: who each tile is of.
      k: how many.
    """
    ids = obs.index.to_numpy()
    with atomic_path(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for features, part in blocks:
            z = bank.image(features)
            writer.writerows(lines(bank, z, ids[part], people[part], k))


def lines(bank: Bank, z, ids, people, k: int) -> Iterator[list]:
    """Rows of `COLUMNS`, the nearest first."""
    for by in bank.modalities:
        found = bank.nearest(z, list(people), k, by=by)
        for query, row, similarity in zip(
            ids, found.row, found.similarity, strict=True
        ):
            for rank, (at, value) in enumerate(zip(row, similarity, strict=True), 1):
                if at >= 0:
                    sample, patient = bank.samples[at], bank.patients[at]
                    yield [query, rank, f"{value:.5f}", by, sample, patient]
