"""Text embeddings: the file that holds them, and the scale on which a model reads them.

    features  [n, T] float32   a row per sample
    sample_id [n] str          of a study, or a patient's where there is no study
    attribute "pathjax"        JSON: backend, model, texts, fingerprint, ...

One HDF5 file. Embeds nothing and stores no text, only its hash.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float

import pathjax
from pathjax.buckets import local
from pathjax.data.study import StudyError
from pathjax.data.vectors import Vectors
from pathjax.files import atomic_path, reading

KIND = "text embeddings"


class TextError(ValueError):
    """Reports, or embeddings of them, cannot be used."""


@dataclasses.dataclass(frozen=True)
class TextEmbeddings(Vectors):
    """Frozen embeddings of report texts.

    Attributes:
      meta: At least `backend` and `model`. A file adds `kind`, `dimensions` (T),
        `created` (UTC) and `pathjax` (version); `pathjax text embed` adds `texts`
        (`hash_texts` of what was embedded) and `fingerprint` (of the study or None).
    """

    meta: dict[str, Any]

    def align(
        self, sample_ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, "m T"], Bool[np.ndarray, "m"]]:
        """Rows of m samples, zeros without text; and which have one.

        Raises:
          TextError: None of them has a text.
        """
        out, present = super().align(sample_ids)
        if not present.any():
            raise TextError(
                f"none of {len(sample_ids)} samples, first {list(sample_ids[:3])}, is "
                f"among the {len(self.sample_ids)} of the text embeddings, first "
                f"{self.sample_ids[:3]}: embed the reports of this study"
            )
        return out, present

    def problems(self) -> list[str]:
        """What is wrong with the ids, the values or `meta`."""
        lacking = [key for key in ("backend", "model") if not self.meta.get(key)]
        return [f"meta lacks the {key}" for key in lacking] + super().problems()


def hash_texts(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of (sample id, text) pairs in any order.

    Tells whether a study's reports are those that were embedded; its fingerprint
    changes with every split that is added.
    """
    total = hashlib.sha256()
    for pair in sorted(pairs):
        for part in pair:
            total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()


def write_text(path: Path, embeddings: TextEmbeddings) -> None:
    """Writes FILE.h5 atomically.

    Raises:
      TextError: All problems of the embeddings at once.
    """
    _require_whole(path, embeddings)
    values = np.asarray(embeddings.values, np.float32)
    meta = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **embeddings.meta,
        "kind": KIND,
        "dimensions": values.shape[1],
        "pathjax": pathjax.__version__,
    }
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file["features"] = values
        ids = np.array(embeddings.sample_ids, object)
        file.create_dataset("sample_id", data=ids, dtype=h5py.string_dtype())
        file.attrs["pathjax"] = json.dumps(meta, allow_nan=False)


def read_text(path: Path) -> TextEmbeddings:
    """Reads FILE.h5.

    Raises:
      TextError: The file is missing, damaged, or of another kind.
    """
    path = local(path)
    with (
        reading(path, TextError, "a text embedding file of pathjax"),
        h5py.File(path, "r") as file,
    ):
        meta = dict(json.loads(file.attrs["pathjax"]))
        is_text = meta.get("kind") == KIND
        ids = file["sample_id"].asstr()[:].tolist() if is_text else []
        features = file["features"][:]
    if not is_text:
        raise TextError(
            f"{path}: expected text embeddings by `pathjax text embed`, got "
            f"embeddings of {meta.get('input', 'something else')}"
        )
    embeddings = TextEmbeddings(ids, features, meta)
    _require_whole(path, embeddings)
    return embeddings


def _require_whole(path: Path, embeddings: TextEmbeddings) -> None:
    if problems := embeddings.problems():
        raise TextError(f"{path}: {'; '.join(problems)}")


@dataclasses.dataclass(frozen=True)
class TextScale:
    """Scales text embeddings for the model; stored with its checkpoints.

    Centred, because texts of one kind share a large common component. One divisor for
    all dimensions: z-scores would amplify the last dimensions of an SVD, mostly noise.

    Attributes:
      mean: `[T]` of the training samples.
      std: Of all their values about the mean.
      samples: Number of training samples.
      fingerprint: `fingerprint_of` the embeddings.
      backend, model: Origin of the embeddings.
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
    """SHA-256 of ids and values in the order of ids: the same in any file."""
    order = np.argsort(np.array(embeddings.sample_ids, str), kind="stable")
    total = hashlib.sha256()
    for row in order:
        total.update(hashlib.sha256(embeddings.sample_ids[row].encode()).digest())
        total.update(np.ascontiguousarray(embeddings.values[row], "<f4").tobytes())
    return f"sha256:{total.hexdigest()}"


def fit_text(embeddings: TextEmbeddings, train_ids: Collection[str]) -> TextScale:
    """Fits the scale on the TRAINING samples; no other row is used.

    Raises:
      StudyError: Fewer than two of them have a text, or all texts are the same.
    """
    train = set(train_ids)
    rows = [i for i, name in enumerate(embeddings.sample_ids) if name in train]
    if len(rows) < 2:
        raise StudyError(
            f"{len(rows)} of {len(train)} training samples, first "
            f"{sorted(train)[:3]}, have a text embedding; its file has samples such as "
            f"{embeddings.sample_ids[:3]}: embed the reports of this study"
        )
    values = embeddings.values[rows].astype(np.float64)
    mean = values.mean(axis=0)
    std = float(np.sqrt(np.square(values - mean).mean()))
    if std == 0:
        raise StudyError(
            f"the text embeddings of all {len(rows)} training samples are the same: "
            "give reports that differ"
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
    """Text embeddings and their scale."""

    embeddings: TextEmbeddings
    scale: TextScale
