"""Text embeddings on the training samples' scale, and whose embeddings they are.

Centred by the mean of each dimension and divided by one number, both of the training
samples. Sentence encoders give all texts of a kind one large common part; without it
what tells reports apart is what is left. One number for all dimensions and not one for
each, because the dimensions of an SVD are ordered by how much they say: to z-score them
would raise the last, which are noise, to the size of the first. Nothing is embedded or
read from disk here.
"""

import dataclasses
import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.data.study import StudyError
from pathjax.data.text_store import TextEmbeddings


@dataclasses.dataclass(frozen=True)
class TextScale:
    """What makes text embeddings the model's input; travels with its checkpoints.

    Attributes:
      mean: `[T]` of the training samples.
      std: of all their values about the mean.
      samples: how many training samples it was fitted on.
      fingerprint: `fingerprint_of` the embeddings.
      backend, model: what embedded the texts.
    """

    mean: Float[np.ndarray, "T"]
    std: float
    samples: int
    fingerprint: str
    backend: str
    model: str

    def normalise(self, values: Float[np.ndarray, "n T"]) -> Float[np.ndarray, "n T"]:
        """Centred and scaled `[n, T]`."""
        return ((values - self.mean) / np.float32(self.std)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "mean": [float(value) for value in self.mean],
            "dimensions": len(self.mean),
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "TextScale":
        fields = {k: v for k, v in entry.items() if k != "dimensions"}
        return cls(**fields | {"mean": np.asarray(entry["mean"], np.float32)})


def fingerprint_of(embeddings: TextEmbeddings) -> str:
    """SHA-256 of ids and values, in the order of ids: the same in any file."""
    order = np.argsort(np.array(embeddings.sample_ids, str), kind="stable")
    whole = hashlib.sha256()
    for row in order:
        whole.update(hashlib.sha256(embeddings.sample_ids[row].encode()).digest())
        whole.update(np.ascontiguousarray(embeddings.values[row], "<f4").tobytes())
    return f"sha256:{whole.hexdigest()}"


def fit_text(embeddings: TextEmbeddings, train_ids: Collection[str]) -> TextScale:
    """Fits the scale on training samples.

    Args:
      embeddings: of any samples.
      train_ids: the TRAINING samples; no other row is looked at.

    Raises:
      StudyError: fewer than two of them have a text, or all texts are alike.
    """
    wanted = set(train_ids)
    rows = [i for i, one in enumerate(embeddings.sample_ids) if one in wanted]
    if len(rows) < 2:
        raise StudyError(
            f"{len(rows)} of {len(wanted)} training samples, first "
            f"{sorted(wanted)[:3]}, have a text embedding; its file is of samples "
            f"like {embeddings.sample_ids[:3]}: embed the reports of this study"
        )
    values = embeddings.values[rows].astype(np.float64)
    mean = values.mean(axis=0)
    std = float(np.sqrt(np.square(values - mean).mean()))
    if std == 0:
        raise StudyError(
            f"the text embeddings of all {len(rows)} training samples are the same: "
            "there is nothing to learn from them"
        )
    return TextScale(
        mean=mean.astype(np.float32),
        std=std,
        samples=len(rows),
        fingerprint=fingerprint_of(embeddings),
        backend=str(embeddings.meta["backend"]),
        model=str(embeddings.meta["model"]),
    )


@dataclasses.dataclass(frozen=True)
class Texts:
    """Text embeddings and the scale that they are read on."""

    embeddings: TextEmbeddings
    scale: TextScale
