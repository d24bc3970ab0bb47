"""The samples of a fold as flat arrays: what a loader needs, and nothing per tile.

    runs of a study's tiles -> those of the fold, grouped by sample -> Samples

A fold's tiles are ranges of rows grouped by sample (the CSR form over `RowRanges`), so
that 10^8 tiles of 10^4 patients cost less than a megabyte, and spots 8 bytes or less
for each. With tiles as samples each costs 16 bytes. Reads a study; decodes nothing.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pathjax.data.expression import GenePanel, select
from pathjax.data.row_ranges import RowRanges
from pathjax.data.study import Study, StudyError
from pathjax.data.text_scale import Texts


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of one fold.

    Attributes:
      tile_rows: `n_tiles` rows into the study's tiles, grouped by sample.
      starts: `[n + 1]`; sample i owns places starts[i] to starts[i + 1] of them.
      row: `[n]` row of the sample in the study's samples, to name it in an error.
      pair_id: `[n]` samples that must not be each other's negatives share it.
      expression: `[n, G]` z-scored by the panel, or None.
      counts, library: `[n, G]` raw counts of the panel's genes and `[n]` total counts
        over all genes, or None.
      text: `[n, T]` text embeddings on their scale, or None.
      has_expression, has_text: `[n]` whether a sample has them, with `text` only; what
        it lacks is zeros.
    """

    tile_rows: RowRanges
    starts: Int[np.ndarray, "n_plus_1"]
    row: Int[np.ndarray, "n"]
    pair_id: Int[np.ndarray, "n"]
    expression: Float[np.ndarray, "n G"] | None = None
    counts: Float[np.ndarray, "n G"] | None = None
    library: Float[np.ndarray, "n"] | None = None
    text: Float[np.ndarray, "n T"] | None = None
    has_expression: Bool[np.ndarray, "n"] | None = None
    has_text: Bool[np.ndarray, "n"] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def tiles_of(self, sample: int) -> Int[np.ndarray, "m"]:
        """Rows of the tiles of one sample."""
        return self.tile_rows.part(self.starts[sample], self.starts[sample + 1])

    def counts_of(self, samples: Int[np.ndarray, "B"]) -> Int[np.ndarray, "B"]:
        """How many tiles each of some samples has."""
        return self.starts[samples + 1] - self.starts[samples]

    def rows_at(
        self, samples: Int[np.ndarray, "B"], places: Int[np.ndarray, "B K"]
    ) -> Int[np.ndarray, "B K"]:
        """Rows of tiles by their place among their sample's."""
        return self.tile_rows.take(self.starts[samples][:, None] + places)

    def slides(self, study: Study) -> list[str]:
        """The slides that the tiles are of, sorted, each once."""
        # A range is made of whole runs.
        runs = study.runs["first_row"].to_numpy()
        first = np.searchsorted(runs, self.tile_rows.first)
        last = np.searchsorted(runs, self.tile_rows.first + self.tile_rows.sizes)
        inside = RowRanges(first, last - first).to_array()
        return sorted(study.runs["slide_id"].iloc[inside].astype(str).unique())


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
    texts: Texts | None = None,
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
      texts: adds text embeddings. Samples may then lack expression (unless
        `drop_unpaired`) or text; those with neither are left out.

    Raises:
      StudyError: the fold is empty, a sample has no expression, or an option is
        unknown.
    """
    if unit not in ("sample", "tile") or pair_by not in ("patient_id", "sample_id"):
        raise StudyError(
            f"unit is {unit!r}, wanted sample or tile; pair_by is {pair_by!r}, wanted "
            "patient_id or sample_id"
        )
    runs = study.fold_runs(split, fold)
    if not len(runs):
        raise StudyError(f"fold {fold} of split {split} in {study.name} has no tile")
    expression = None if panel is None else study.expression()
    paired = set() if expression is None else set(expression.obs_names)
    if expression is not None and (drop_unpaired or texts):
        wanted, what = paired, "expression"
        if texts and not drop_unpaired:
            wanted, what = paired.union(texts.embeddings.sample_ids), f"{what} or text"
        runs = runs[runs["sample_id"].isin(wanted)]
        if not len(runs):
            raise StudyError(f"no sample of fold {fold} of {study.name} has {what}")
    table = study.samples.reset_index(drop=True)
    codes = pd.Index(table["sample_id"]).get_indexer(runs["sample_id"])
    if (codes < 0).any():
        raise StudyError(
            f"tiles of study {study.name} are of sample "
            f"{runs['sample_id'][codes < 0].iloc[0]!r}, which samples.parquet lacks: "
            "`pathjax data check` lists all such"
        )
    order = np.arange(len(codes))
    if unit == "sample":
        order = np.argsort(codes, kind="stable")
    codes, sizes = codes[order].astype(np.int32), runs["tiles"].to_numpy()[order]
    rows = RowRanges(runs["first_row"].to_numpy()[order], sizes)
    if unit == "tile":
        row, starts = np.repeat(codes, sizes), np.arange(len(rows) + 1)
    else:
        first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        row, starts = codes[first], np.r_[0, np.cumsum(sizes)][np.r_[first, len(sizes)]]

    inside = np.unique(codes)
    pair_of = np.full(len(table), -1, np.int32)
    owners = table[pair_by].to_numpy()[inside]
    pair_of[inside] = np.unique(owners, return_inverse=True)[1]
    samples = Samples(rows, starts.astype(np.int64), row, pair_of[row])
    if panel is None:
        return samples
    ids = table["sample_id"].iloc[row].tolist()
    if texts is not None:
        samples = with_text(samples, ids, table["sample_id"].tolist(), texts)
        return with_some_expression(samples, ids, expression, paired, panel)
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


def with_text(
    samples: Samples, ids: list[str], study_ids: list[str], texts: Texts
) -> Samples:
    """Samples of these ids with their text embeddings.

    Raises:
      TextError: no sample of the whole study has a text.
    """
    # Of the study, because a fold may well have none.
    values, there = texts.embeddings.align(study_ids)
    at = pd.Index(study_ids).get_indexer(ids)
    scaled = np.where(there[at, None], texts.scale.normalise(values[at]), 0)
    return dataclasses.replace(
        samples, text=scaled.astype(np.float32), has_text=there[at]
    )


def with_some_expression(
    samples: Samples, ids: list[str], expression, paired: set[str], panel: GenePanel
) -> Samples:
    """Samples of these ids with expression where they have one, else zeros."""
    there = np.array([one in paired for one in ids], bool)
    values = np.zeros((len(ids), len(panel.genes)), np.float32)
    have = [one for one in ids if one in paired]
    if have:
        values[there] = panel.normalise(select(expression, have, panel.genes))
    return dataclasses.replace(samples, expression=values, has_expression=there)
