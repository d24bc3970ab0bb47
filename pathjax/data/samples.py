"""The samples of a fold as flat arrays: all that a loader needs. Decodes nothing.

A fold's tiles are ranges of rows grouped by sample (the CSR form over `RowRanges`):
10^8 tiles of 10^4 patients cost less than a megabyte, spots at most 8 bytes each, and
tiles as samples 16 bytes each.
"""

import dataclasses
import logging

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pathjax.data.deal import deal
from pathjax.data.expression import GenePanel, select
from pathjax.data.measured import is_partial, measured, shared_genes
from pathjax.data.row_ranges import RowRanges
from pathjax.data.study import Study, StudyError
from pathjax.data.text_store import Texts
from pathjax.data.vectors import Vectors

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of one fold.

    Attributes:
      tile_rows: `n_tiles` rows into the study's tiles, grouped by sample.
      starts: `[n + 1]`; sample i owns places starts[i] to starts[i + 1] of them.
      row: `[n]` row of the sample in the study's samples.
      pair_id: `[n]`; samples with the same id are not each other's negatives.
      expression: `[n, G]` z-scored by the panel, or None.
      counts, library: `[n, G]` raw counts of the panel's genes and `[n]` total counts
        over all genes (that every sample was measured for, if there are some), or None.
      text: `[n, T]` scaled text embeddings, or None.
      vectors: `[n, X]` from another model, zeros for samples without expression, or None.
      measured: `[n, G]` whether a gene was measured in a sample, only where the study has
        samples in which genes of the panel were not; there expression and counts are 0.
      has_expression, has_text: `[n]` whether a sample has them, only with `text`; where
        not, the values are zeros.
    """

    tile_rows: RowRanges
    starts: Int[np.ndarray, "n_plus_1"]
    row: Int[np.ndarray, "n"]
    pair_id: Int[np.ndarray, "n"]
    expression: Float[np.ndarray, "n G"] | None = None
    counts: Float[np.ndarray, "n G"] | None = None
    library: Float[np.ndarray, "n"] | None = None
    measured: Bool[np.ndarray, "n G"] | None = None
    text: Float[np.ndarray, "n T"] | None = None
    has_expression: Bool[np.ndarray, "n"] | None = None
    has_text: Bool[np.ndarray, "n"] | None = None
    vectors: Float[np.ndarray, "n X"] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def tiles_of(self, sample: int) -> Int[np.ndarray, "m"]:
        """Rows of the tiles of one sample."""
        return self.tile_rows.part(self.starts[sample], self.starts[sample + 1])

    def counts_of(self, samples: Int[np.ndarray, "B"]) -> Int[np.ndarray, "B"]:
        """Number of tiles of each of some samples."""
        return self.starts[samples + 1] - self.starts[samples]

    def rows_at(
        self, samples: Int[np.ndarray, "B"], places: Int[np.ndarray, "B K"]
    ) -> Int[np.ndarray, "B K"]:
        """Rows of tiles by their place among those of their sample."""
        return self.tile_rows.take(self.starts[samples][:, None] + places)

    def shuffled(self, seed: int) -> "Samples":
        """Each sample with the expression and text of another `pair_id`, a control.

        Raises:
          StudyError: There is nothing to shuffle.
        """
        names = ("expression", "counts", "library", "measured", "text",
                 "vectors", "has_expression", "has_text")  # fmt: skip
        labels = {name: getattr(self, name) for name in names}
        known = {name: rows for name, rows in labels.items() if rows is not None}
        if not known or len(np.unique(self.pair_id)) < 2:
            raise StudyError(
                "data.pairing=shuffled gives each patient's images the expression of "
                f"another, but the {len(self)} samples have "
                + ("one data.pair_by" if known else "no expression and no text")
                + ": leave it out, or choose another objective or data.pair_by"
            )
        source = deal(self.pair_id, seed)
        known = {name: rows[source] for name, rows in known.items()}
        return dataclasses.replace(self, **known)

    def slides(self, study: Study) -> list[str]:
        """The slides of the tiles, sorted, each once."""
        # A range consists of whole runs.
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
    vectors: Vectors | None = None,
) -> Samples:
    """Collects a fold.

    Args:
      study: The study.
      split, fold: Which samples.
      unit: "sample", or "tile" to make each tile its own sample (self-supervision).
      pair_by: "patient_id" (bulk RNA: one patient's slides have the same biology) or
        "sample_id" (spots of one patient are each other's negatives).
      panel: Genes and their scale; adds expression.
      counts: Adds raw counts and library sizes, for losses on counts.
      drop_unpaired: Leaves out samples without expression, or in which no gene of the
        panel was measured, instead of refusing them.
      texts: Adds text embeddings. Samples may then lack expression (unless
        `drop_unpaired`) or text; those with neither are left out.
      vectors: Adds vectors of another model, which every sample with expression must
        have; `drop_unpaired` treats those without as if they had no expression.

    Raises:
      StudyError: The fold is empty, a sample has no expression, or an option is
        unknown.
    """
    for name, value, allowed in (
        ("unit", unit, ("sample", "tile")),
        ("pair_by", pair_by, ("patient_id", "sample_id")),
    ):
        if value not in allowed:
            raise StudyError(f"{name}: expected {' or '.join(allowed)}, got {value!r}")
    runs = study.fold_runs(split, fold)
    if not len(runs):
        raise StudyError(f"fold {fold} of split {split} in {study.name} has no tile")
    expression = None if panel is None else study.expression()
    paired = set() if panel is None else _paired(expression, panel)
    paired -= _without_vector(vectors, paired, runs, fold, drop_unpaired)
    if expression is not None and (drop_unpaired or texts):
        usable, what = paired, "expression"
        if texts and not drop_unpaired:
            usable, what = paired.union(texts.embeddings.sample_ids), f"{what} or text"
        runs = _usable(runs, usable, what, f"fold {fold} of {study.name}")
    table = study.samples.reset_index(drop=True)
    codes = pd.Index(table["sample_id"]).get_indexer(runs["sample_id"])
    if (codes < 0).any():
        raise StudyError(
            f"tiles of study {study.name} belong to sample "
            f"{runs['sample_id'][codes < 0].iloc[0]!r}, which samples.parquet lacks: "
            "`pathjax data check` lists all of them"
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
    samples = _with_vectors(samples, ids, paired, vectors)
    if texts is not None:
        all_ids = table["sample_id"].tolist()
        return _with_text(samples, all_ids, expression, panel, paired, texts)
    scores, known = panel.scores(expression, ids)
    empty = [name for name in ids if name not in paired]
    if empty:
        raise StudyError(
            f"none of the {len(panel.genes)} genes was measured in {len(empty)} of "
            f"{len(ids)} samples, first {empty[:5]}: leave them out with "
            "data.drop_unpaired=True, or choose genes that more samples have"
        )
    samples = dataclasses.replace(samples, expression=scores, measured=known)
    if not counts:
        return samples
    assert expression is not None  # a panel needs it
    every = expression[ids].layers["counts"]
    shared = shared_genes(expression)
    total = np.asarray(every[:, shared].sum(axis=1)).reshape(-1)
    return dataclasses.replace(
        samples,
        counts=select(expression, ids, panel.genes, layer="counts", unmeasured=0),
        library=total.astype(np.float32),
    )


def _usable(runs, usable: set[str], what: str, where: str):
    """The runs of samples that can be used; says how many others there are."""
    inside = set(runs["sample_id"])
    if not inside & usable:
        raise StudyError(f"no sample of {where} has {what}")
    if lost := sorted(inside - usable):
        log.info(
            "%d of %d samples of %s have no %s and are left out, first %s",
            *(len(lost), len(inside), where, what, lost[:3]),
        )
    return runs[runs["sample_id"].isin(usable)]


def _without_vector(
    vectors: Vectors | None, paired: set[str], runs, fold: str, leave_out: bool
) -> set[str]:
    """Samples of a fold with expression and no vector; says how many, or refuses them."""
    if vectors is None:
        return set()
    inside = paired.intersection(runs["sample_id"])
    lacking = inside.difference(vectors.sample_ids)
    counts = f"{len(lacking)} of {len(inside)} samples of fold {fold}"
    if lacking and (not leave_out or lacking == inside):
        raise StudyError(
            f"{counts} have expression and no vector, first {sorted(lacking)[:5]}; the "
            f"file has ids such as {vectors.sample_ids[:3]}: embed them too, or leave "
            "them out with data.drop_unpaired=True"
        )
    if lacking:
        log.warning("%s have no vector and count as without expression", counts)
    return lacking


def _with_vectors(
    samples: Samples, ids: list[str], paired: set[str], vectors: Vectors | None
) -> Samples:
    """Adds the vectors of samples with expression, zeros for others."""
    if vectors is None:
        return samples
    values, _ = vectors.align(ids)
    has = np.array([one in paired for one in ids], bool)
    return dataclasses.replace(samples, vectors=np.where(has[:, None], values, 0))


def _with_text(
    samples: Samples,
    all_ids: list[str],
    expression,
    panel,
    paired: set[str],
    texts: Texts,
) -> Samples:
    """Adds text, and expression where there is any.

    Args:
      samples: Of a fold.
      all_ids: Of the study's samples: a fold may well have no text at all.
      expression, panel, paired, texts: As in `gather`.
    """
    row = samples.row
    values, has_text = texts.embeddings.align(all_ids)
    text = np.where(has_text[row, None], texts.scale.normalise(values[row]), 0)
    ids = [all_ids[one] for one in row]
    has_expression = np.array([name in paired for name in ids], bool)
    scores = np.zeros((len(ids), len(panel.genes)), np.float32)
    known = (
        np.zeros(scores.shape, bool) if is_partial(expression, panel.genes) else None
    )
    have = [name for name in ids if name in paired]
    if have:
        scores[has_expression], inside = panel.scores(expression, have)
        if known is not None:
            known[has_expression] = inside
    return dataclasses.replace(
        samples,
        expression=scores,
        measured=known,
        has_expression=has_expression,
        text=text.astype(np.float32),
        has_text=has_text[row],
    )


def _paired(expression, panel: GenePanel) -> set[str]:
    """Samples in which at least one gene of the panel was measured."""
    names = expression.obs_names
    known = measured(expression, names, panel.genes)
    return set(names if known is None else names[known.any(axis=1)])
