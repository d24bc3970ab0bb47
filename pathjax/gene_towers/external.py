"""The gene tower `external`: an MLP over a vector per sample from any other model.

Embeddings of scGPT, UCE, Geneformer, Nicheformer or one's own come as a file
(data/vectors.py); the model that made them is no dependency.
"""

import dataclasses
import hashlib
import logging
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from pathjax.data.vectors import Vectors, read_vectors
from pathjax.gene_towers.tower import GeneTower, TowerError
from pathjax.models.expression import ExpressionMLP

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class External(GeneTower):
    """An MLP, of the objective's `widths` and `dropout`, over vectors from a file.

    Vectors are centred, and divided by one number, as the training samples say.

    Attributes:
      vectors: File .h5ad, .npz or .parquet with a vector per sample.
      key: Key of its `obsm`, or of its array; "" where there is only one.
    """

    reads = ("vectors",)
    uses = ("widths", "dropout")

    vectors: str = ""
    key: str = ""

    def problems(self):
        if self.vectors:
            return []
        return ["vectors is not set: name a file with a vector per sample"]

    def read(self, study, train, panel):
        table = read_vectors(Path(self.vectors), self.key)
        rows, has = table.align(train)
        if has.sum() < 2:
            raise TowerError(
                f"{self.vectors}: {has.sum()} of {len(train)} training samples, first "
                f"{list(train[:3])}, have a vector; the file has samples such as "
                f"{table.sample_ids[:3]}: embed this study's samples under their ids"
            )
        other = len(set(table.sample_ids) - set(study.samples["sample_id"]))
        log.info(
            "%s: vectors of %d samples, %d of them not of this study and not used",
            *(self.vectors, len(table.sample_ids), other),
        )
        known = rows[has].astype(np.float64)
        std = float(known.std(axis=0).mean())
        if std == 0:
            raise TowerError(f"{self.vectors}: all training samples have one vector")
        digest = hashlib.sha256("\n".join(table.sample_ids).encode())
        digest.update(np.ascontiguousarray(table.values, "<f4").tobytes())
        return {
            "dimensions": rows.shape[1],
            "mean": known.mean(axis=0).tolist(),
            "std": std,
            "sha256": digest.hexdigest(),
        }

    def sample_vectors(self, resources):
        table = read_vectors(Path(self.vectors), self.key)
        found, expected = table.values.shape[1], resources["dimensions"]
        if found != expected:
            raise TowerError(
                f"{self.vectors}: expected vectors of {expected} dimensions, as in "
                f"training, got {found}: embed these samples by the same model"
            )
        centred = table.values - np.asarray(resources["mean"], np.float32)
        return Vectors(table.sample_ids, centred / np.float32(resources["std"]))

    def module(self, resources, shared):
        return ExpressionMLP(tuple(shared.widths), shared.dropout)

    def inputs(self, resources, batch, known):
        rows = known.any(axis=1, keepdims=True)
        return (jnp.where(rows, batch["vectors"], 0),)
