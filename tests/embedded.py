"""Embeddings of a study's tiles in memory, by the steps that `embed_to_file` takes."""

import numpy as np

from pathjax.data.tile_source import StudyTiles
from pathjax.embeddings import embed


def embed_tiles(model, study, rows=None, *, pool=None, batch=64):
    """`[n, E]` float32 of the named tiles, or of all."""
    rows = np.arange(len(study)) if rows is None else np.asarray(rows)
    vit = embed._pooled(model.vit, pool)
    how = {"vit": vit, "batch": batch, "threads": 2}
    parts = [part for part, *_ in embed._embed(model, StudyTiles(study), rows, **how)]
    return np.concatenate([np.empty((0, vit.embed_dim), np.float32), *parts])
