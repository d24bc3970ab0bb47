"""The text embedding file: a vector per sample in one HDF5 file, whole or not there.

    features  [n, T] float32   a row per sample
    sample_id [n] str          of a study, or a patient's where there is no study
    attribute "pathjax"        JSON: backend, model, texts, fingerprint, what was done

Nothing is embedded here, and no text is kept: only its hash.
"""

import collections
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float

import pathjax
from pathjax.files import atomic_path

KIND = "text embeddings"


class TextError(ValueError):
    """Reports, or embeddings of them, are not what they should be."""


@dataclasses.dataclass(frozen=True)
class TextEmbeddings:
    """Frozen embeddings of report texts.

    Attributes:
      sample_ids: whose text each row is; each occurs once.
      values: `[n, T]` float32, finite.
      meta: `backend` and `model` at least. A file adds `kind`, `dimensions` (T),
        `created` (UTC) and `pathjax` (version); `pathjax text embed` adds `texts`
        (`hash_texts` of what was embedded) and `fingerprint` (of the study or None).
    """

    sample_ids: list[str]
    values: Float[np.ndarray, "n T"]
    meta: dict[str, Any]

    def align(
        self, sample_ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, "m T"], Bool[np.ndarray, "m"]]:
        """Rows in another order: `[m, T]`, zeros where there is no text; and where is.

        Args:
          sample_ids: m ids, as of `study.samples`.

        Raises:
          TextError: not one of them has a text here: ids of another kind.
        """
        rows = {one: i for i, one in enumerate(self.sample_ids)}
        at = np.array([rows.get(one, -1) for one in sample_ids], np.int64)
        present = at >= 0
        if not present.any():
            raise TextError(
                f"none of {len(sample_ids)} samples, first {list(sample_ids[:3])}, is "
                f"among the {len(self.sample_ids)} of the text embeddings, first "
                f"{self.sample_ids[:3]}: embed the reports of this study"
            )
        out = np.zeros((len(at), self.values.shape[1]), np.float32)
        out[present] = self.values[at[present]]
        return out, present


def hash_texts(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of (sample id, text) pairs, whatever their order.

    It says whether the reports of a study are those that were embedded; the study's
    fingerprint does not, as it changes with every split that is added.
    """
    whole = hashlib.sha256()
    for one, text in sorted(pairs):
        for part in (one, text):
            whole.update(hashlib.sha256(part.encode()).digest())
    return whole.hexdigest()


def write_text(path: Path, embeddings: TextEmbeddings) -> None:
    """Writes FILE.h5 atomically.

    Raises:
      TextError: all that is wrong with the embeddings, at once.
    """
    refuse(path, problems_of(embeddings))
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
      TextError: there is no such file, it is damaged, or it is of another kind.
    """
    try:
        with h5py.File(path, "r") as file:
            meta = json.loads(file.attrs["pathjax"])
            if meta.get("kind") != KIND:
                raise TextError(
                    f"{path} holds no text embeddings but those of "
                    f"{meta.get('input', 'something else')}: wanted a file of "
                    "`pathjax text embed`"
                )
            ids = file["sample_id"].asstr()[:].tolist()
            found = TextEmbeddings(ids, file["features"][:], meta)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise TextError(
            f"{path} is no text embedding file of pathjax: {error}"
        ) from error
    refuse(path, problems_of(found))
    return found


def problems_of(embeddings: TextEmbeddings) -> list[str]:
    """What is wrong with embeddings; empty when they are sound."""
    values, ids = np.asarray(embeddings.values), list(embeddings.sample_ids)
    lacking = [key for key in ("backend", "model") if not embeddings.meta.get(key)]
    found = [f"meta does not say the {key}" for key in lacking]
    if values.ndim != 2 or not values.size:
        return [*found, f"values have the shape {values.shape}, wanted [n, T], n > 0"]
    if len(ids) != len(values):
        found.append(f"{len(ids)} sample ids for {len(values)} rows")
    twice = sorted(one for one, n in collections.Counter(ids).items() if n > 1)
    if twice:
        found.append(f"{len(twice)} sample ids occur twice, first {twice[:3]}")
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        named = [ids[i] for i in bad[:3] if i < len(ids)]
        found.append(f"{len(bad)} rows are not finite, first {named}")
    return found


def refuse(path: Path, problems: list[str]) -> None:
    """Raises one TextError with all problems, if there are any."""
    if problems:
        raise TextError(f"{path}: {'; '.join(problems)}")
