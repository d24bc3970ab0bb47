"""Embeddings that are computed once and reused while study and parameters are the same.

Parameters are compared by the hash of their file. With several processes the first
computes and writes, on its own devices, and the others wait for the file, which all have
to see under the same path.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pathjax.buckets import local, refresh, shown
from pathjax.data.study import Study, sha256
from pathjax.data.tile_source import StudyTiles
from pathjax.embeddings.embed import embed_to_file
from pathjax.embeddings.embedding_file import (
    EmbeddingError,
    FileRows,
    open_embeddings,
    read_embeddings,
    write_embeddings,
)
from pathjax.models.model_file import FILE, Model
from pathjax.parallel.collective import first_does, is_first


def weights_file(path: str | Path) -> Path:
    """The model file in a run folder, or the file itself."""
    path = local(path)
    return path / FILE if path.is_dir() else path


def identity(path: str | Path) -> str:
    """Path and hash of the parameters in a run folder or a model file."""
    file = weights_file(path)
    return f"{shown(file)} sha256:{sha256(file)[:16]}"


def cached(
    path: Path, name: str, study: Study, compute: Callable[[], np.ndarray]
) -> Float[np.ndarray, "T E"]:
    """Features of all tiles of a study: from `path` if they are those of `name`.

    Args:
      path: FILE.h5, written if it is missing, damaged, or of another model or study.
      name: Identifies what computes the features.
      study: Whose tiles.
      compute: Returns them, `[T, E]` float32.
    """

    def make() -> np.ndarray:
        try:
            old = read_embeddings(path, study)
            if old.meta["model"] == name:
                return old.features
        except EmbeddingError:  # missing, damaged, or of another study
            pass
        features = compute()
        write_embeddings(path, study, features, {"model": name})
        return features

    features = first_does(make)
    _fetch(path)
    return read_embeddings(path, study).features if features is None else features


def cached_embeddings(
    path: Path, model: Model, name: str, study: Study
) -> Float[np.ndarray, "T E"]:
    """Embeddings of all tiles of a study by a model's encoder, in memory.

    An interrupted call resumes.
    """
    return cached_rows(path, model, name, study)[np.arange(len(study))]


def cached_rows(path: Path, model: Model, name: str, study: Study) -> FileRows:
    """The same, left in the file until rows are read."""

    def make() -> None:
        embed_to_file(model, StudyTiles(study), path, model_id=name, overwrite=True)

    first_does(make)
    _fetch(path)
    return open_embeddings(path, study)


def _fetch(path: Path) -> None:
    """Brings what the first process wrote to this one's copy of a bucket."""
    if not is_first():
        refresh(path)
