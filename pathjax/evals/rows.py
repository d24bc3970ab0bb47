"""The rows of one fold: pooled embeddings with whose they are and what is known of them.

    study, split, fold, tile embeddings -> FoldRows -> with labels or expression

Pooling happens inside a fold: where slides of one patient are in different folds, only
the fold's own tiles enter. It fits nothing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from pathjax.data.expression import select
from pathjax.embeddings.features import ROWS_AT_ONCE, FileRows, take


@dataclasses.dataclass(frozen=True)
class FoldRows:
    """Rows of a fold, tiles or samples.

    Attributes:
      index: row numbers into `study.tiles` or `study.samples`.
      tiles: row numbers into `study.tiles` of everything that entered.
      features: `[n, E]` float32; the mean of a sample's tiles at level "sample".
      unit, sample, patient, slide: ids of each row: of the row itself (tile or sample),
        of its sample, its patient, and its slide (a sample's first).
    """

    index: Int[np.ndarray, "n"]
    tiles: Int[np.ndarray, "t"]
    features: Float[np.ndarray, "n E"]
    unit: Shaped[np.ndarray, "n"]
    sample: Shaped[np.ndarray, "n"]
    patient: Shaped[np.ndarray, "n"]
    slide: Shaped[np.ndarray, "n"]

    def keep(self, which: Shaped[np.ndarray, "n"]) -> "FoldRows":
        """The rows that `which` (bool) names; `tiles` stays, for the audit."""
        if which.all():
            return self
        parts = {
            field.name: getattr(self, field.name)[which]
            for field in dataclasses.fields(self)
            if field.name != "tiles"
        }
        return FoldRows(tiles=self.tiles, **parts)

    def __len__(self) -> int:
        return len(self.index)


def _ids(column: pd.Series) -> np.ndarray:
    return column.astype(str).to_numpy(dtype=np.str_)


def fold_rows(
    study,
    level: str,
    split: str,
    fold: str | Sequence[str],
    features: Float[np.ndarray, "T E"] | FileRows,
) -> FoldRows:
    """Collects the rows of a fold, or of several, at level "tile" or "sample".

    Args:
      study: a Study.
      level: "tile" or "sample".
      split, fold: which tiles.
      features: embeddings of all tiles, in the order of `study.tiles`.
    """
    names = (fold,) if isinstance(fold, str) else fold
    tiles = np.sort(np.concatenate([study.fold_tiles(split, one) for one in names]))
    table = study.tiles.iloc[tiles]
    if level == "tile":
        return FoldRows(
            index=tiles,
            tiles=tiles,
            features=take(features, tiles),
            unit=_ids(table["tile_id"]),
            sample=_ids(table["sample_id"]),
            patient=_ids(table["patient_id"]),
            slide=_ids(table["slide_id"]),
        )
    names, first, inverse = np.unique(
        _ids(table["sample_id"]), return_index=True, return_inverse=True
    )
    pooled = np.zeros((len(names), features.shape[1]))
    for start in range(0, len(tiles), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        np.add.at(pooled, inverse[part], features[tiles[part]])
    pooled /= np.bincount(inverse)[:, None]
    where = pd.Index(_ids(study.samples["sample_id"])).get_indexer(names)
    order = np.argsort(where)
    first, where = first[order], where[order]
    return FoldRows(
        index=where,
        tiles=tiles,
        features=pooled[order].astype(np.float32),
        unit=names[order],
        sample=names[order],
        patient=_ids(table["patient_id"])[first],
        slide=_ids(table["slide_id"])[first],
    )


def column_of(study, level: str, name: str, rows: FoldRows) -> pd.Series:
    """A target's values for the rows, missing ones as pandas has them."""
    table = study.tiles if level == "tile" else study.samples
    return table[name].iloc[rows.index]


def expression_of(
    expression, rows: FoldRows, genes: Sequence[str], values: str = "log"
) -> Float[np.ndarray, "n G"]:
    """Expression `[n, G]` of the rows' samples.

    Args:
      expression: the study's AnnData.
      rows: whose.
      genes: which, in order.
      values: "log", the study's X, or "log1p_counts", log1p of its raw counts.
    """
    if values == "log1p_counts":
        counts = select(expression, list(rows.sample), genes, layer="counts")
        return np.log1p(counts)
    return select(expression, list(rows.sample), genes)


def bags_of(
    study,
    rows: FoldRows,
    features: Float[np.ndarray, "T E"] | FileRows,
    most: int,
    length: int,
) -> tuple[Float[np.ndarray, "n M E"], Bool[np.ndarray, "n M"]]:
    """The tiles of each row's sample, inside the fold, padded to one length.

    Args:
      study: whose.
      rows: samples.
      features: embeddings of all tiles.
      most: tiles of a sample at most; more are thinned evenly.
      length: M, which is at least the most tiles that a sample then has.
    """
    owner = pd.Index(rows.sample).get_indexer(
        _ids(study.tiles["sample_id"])[rows.tiles]
    )
    bags = np.zeros((len(rows), length, features.shape[1]), np.float32)
    mask = np.zeros((len(rows), length), bool)
    # -1 are tiles of samples without a label.
    order = np.argsort(owner, kind="stable")[int((owner < 0).sum()) :]
    for row, mine in enumerate(np.split(order, np.cumsum(bag_sizes(study, rows))[:-1])):
        tiles = rows.tiles[mine]
        if len(tiles) > most:
            tiles = tiles[np.arange(most) * len(tiles) // most]
        bags[row, : len(tiles)] = features[tiles]
        mask[row, : len(tiles)] = True
    return bags, mask


def bag_sizes(study, rows: FoldRows) -> Int[np.ndarray, "n"]:
    """How many tiles each row's sample has inside the fold."""
    owner = pd.Index(rows.sample).get_indexer(
        _ids(study.tiles["sample_id"])[rows.tiles]
    )
    return np.bincount(owner[owner >= 0], minlength=len(rows))


def without_expression(expression, rows: FoldRows) -> Shaped[np.ndarray, "n"]:
    """True for rows whose sample has no expression."""
    return ~np.isin(rows.sample, np.asarray(expression.obs_names, dtype=np.str_))
