"""The rows of one fold: pooled embeddings with whose they are and what is known of them.

    study, split, fold, tile embeddings -> FoldRows -> with labels or expression

Pooling happens inside a fold: where slides of one patient are in different folds, only
the fold's own tiles enter. It fits nothing.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from pathjax.data.expression import select


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
    study, level: str, split: str, fold: str, features: Float[np.ndarray, "T E"]
) -> FoldRows:
    """Collects a fold's rows at level "tile" or "sample".

    Args:
      study: a Study.
      level: "tile" or "sample".
      split, fold: which tiles.
      features: embeddings of all tiles, in the order of `study.tiles`.
    """
    tiles = np.asarray(study.fold_tiles(split, fold))
    table = study.tiles.iloc[tiles]
    if level == "tile":
        return FoldRows(
            index=tiles,
            tiles=tiles,
            features=np.asarray(features[tiles], np.float32),
            unit=_ids(table["tile_id"]),
            sample=_ids(table["sample_id"]),
            patient=_ids(table["patient_id"]),
            slide=_ids(table["slide_id"]),
        )
    names, first, inverse = np.unique(
        _ids(table["sample_id"]), return_index=True, return_inverse=True
    )
    pooled = np.zeros((len(names), features.shape[1]))
    np.add.at(pooled, inverse, features[tiles])
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
    expression, rows: FoldRows, genes: tuple[str, ...]
) -> Float[np.ndarray, "n G"]:
    """Log-normalised expression `[n, G]` of the rows' samples."""
    return select(expression, list(rows.sample), genes)


def without_expression(expression, rows: FoldRows) -> Shaped[np.ndarray, "n"]:
    """True for rows whose sample has no expression."""
    return ~np.isin(rows.sample, np.asarray(expression.obs_names, dtype=np.str_))
