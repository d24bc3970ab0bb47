"""The samples of a fold as flat arrays: what a loader needs, and nothing per tile.

A fold's tiles are kept as one array of row numbers grouped by sample (the CSR form),
so that a fold of 10^8 tiles costs 8 bytes a tile. Reads a study; decodes nothing.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from pathjax.data.expression import GenePanel, select
from pathjax.data.study import Study, StudyError


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of one fold.

    Attributes:
      tile_rows: `[n_tiles]` rows into the study's tiles, grouped by sample.
      starts: `[n + 1]`; sample i owns `tile_rows[starts[i]:starts[i + 1]]`.
      row: `[n]` row of the sample in the study's samples, to name it in an error.
      pair_id: `[n]` samples that must not be each other's negatives share it.
      expression: `[n, G]` z-scored by the panel, or None.
      counts, library: `[n, G]` raw counts of the panel's genes and `[n]` total counts
        over all genes, or None.
    """

    tile_rows: Int[np.ndarray, "n_tiles"]
    starts: Int[np.ndarray, "n_plus_1"]
    row: Int[np.ndarray, "n"]
    pair_id: Int[np.ndarray, "n"]
    expression: Float[np.ndarray, "n G"] | None = None
    counts: Float[np.ndarray, "n G"] | None = None
    library: Float[np.ndarray, "n"] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def tiles_of(self, sample: int) -> Int[np.ndarray, "m"]:
        """Rows of the tiles of one sample."""
        return self.tile_rows[self.starts[sample] : self.starts[sample + 1]]


def gather(
    study: Study,
    split: str,
    fold: str,
    *,
    unit: str = "sample",
    pair_by: str = "patient_id",
    panel: GenePanel | None = None,
    counts: bool = False,
    drop_unpaired: bool = False,
) -> Samples:
    """Collects a fold.

    Args:
      study: the study.
      split, fold: which samples.
      unit: "sample", or "tile" to make each tile a sample of its own
        (self-supervision, which pairs it with nothing).
      pair_by: "patient_id" (bulk RNA: one patient's slides are one biology) or
        "sample_id" (spots of one patient are each other's negatives).
      panel: genes and their scale; adds expression.
      counts: adds raw counts and library sizes, for losses on counts.
      drop_unpaired: leave out samples without expression instead of refusing.

    Raises:
      StudyError: the fold is empty, a sample has no expression, or an option is
        unknown.
    """
    if unit not in ("sample", "tile") or pair_by not in ("patient_id", "sample_id"):
        raise StudyError(
            f"unit is {unit!r}, wanted sample or tile; pair_by is {pair_by!r}, wanted "
            "patient_id or sample_id"
        )
    rows = study.fold_tiles(split, fold)
    if not len(rows):
        raise StudyError(f"fold {fold} of split {split} in {study.name} has no tile")
    of_tile = study.tiles["sample_id"].to_numpy()[rows]
    if unit == "tile":
        names = of_tile
        starts = np.arange(len(rows) + 1)
    else:
        position = study.samples["sample_id"].reset_index(drop=True)
        place = dict(zip(position, range(len(position)), strict=True))
        codes = np.array([place[name] for name in of_tile])
        order = np.argsort(codes, kind="stable")
        rows, codes = rows[order], codes[order]
        first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        names = study.samples["sample_id"].to_numpy()[codes[first]]
        starts = np.r_[first, len(rows)]

    if panel is not None and drop_unpaired:
        paired = np.isin(names, np.asarray(study.expression().obs_names))
        kept = np.flatnonzero(paired)
        if not len(kept):
            raise StudyError(f"no sample of fold {fold} of {study.name} has expression")
        pieces = [rows[starts[i] : starts[i + 1]] for i in kept]
        names = names[kept]
        rows = np.concatenate(pieces)
        starts = np.r_[0, np.cumsum([len(piece) for piece in pieces])]

    table = study.samples.reset_index(drop=True)
    index = dict(zip(table["sample_id"], table.index, strict=True))
    row = np.array([index[name] for name in names], np.int32)
    owner = table[pair_by].to_numpy()[row]
    pair_id = np.unique(owner, return_inverse=True)[1].astype(np.int32)
    samples = Samples(rows, starts.astype(np.int64), row, pair_id)
    if panel is None:
        return samples
    expression = study.expression()
    ids = list(names)
    samples = dataclasses.replace(
        samples, expression=panel.normalise(select(expression, ids, panel.genes))
    )
    if not counts:
        return samples
    total = np.asarray(expression[ids].layers["counts"].sum(axis=1)).reshape(-1)
    return dataclasses.replace(
        samples,
        counts=select(expression, ids, panel.genes, layer="counts"),
        library=total.astype(np.float32),
    )
