"""The embedding file: features, coords, tile ids in one HDF5 file, whole or not there.

    features [N, E] float32    attributes: name, patch_size
    coords   [N, 2] int64      x, y of the upper left corner; attributes below
    tile_id  [N] str           of a study's index, or an image's relative path
    attribute "pathjax"        JSON: model, input, pooling, what was passed over and why

`features` and `coords` are as TRIDENT and CLAM write them. The attributes of `coords`
are TRIDENT's where they are known: `name`, `patch_size`, `patch_size_level0`,
`level0_magnification`, `target_magnification`, `overlap`. Nothing is embedded here.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int

from pathjax.data.study import Study
from pathjax.data.tile_source import StudyTiles, TileSource
from pathjax.embeddings.features import FileRows
from pathjax.files import atomic_path


class EmbeddingError(ValueError):
    """An embedding file that is damaged or belongs to something else."""


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Cached embeddings of all tiles of a study.

    Attributes:
      features: `[n_tiles, E]` float32 in the study's tile order.
      meta: model name, study name and fingerprint, audit record.
    """

    features: Float[np.ndarray, "n E"]
    meta: dict


def write_file(
    path: Path,
    blocks: Iterable[Float[np.ndarray, "m E"]],
    source: TileSource,
    rows: Int[np.ndarray, "N"],
    meta: dict[str, Any],
    *,
    width: int,
    attributes: dict[str, Any],
) -> None:
    """Writes FILE.h5 atomically, a block of rows at a time.

    Args:
      path: FILE.h5.
      blocks: features in order, N rows in all.
      source, rows: the tiles, and which of them these are.
      meta: written as JSON beside what is said of the source.
      width: E.
      attributes: of `coords`.

    Raises:
      EmbeddingError: the blocks are not N rows.
    """
    about = {"input": source.kind, source.kind: source.name}
    about["fingerprint"] = source.fingerprint
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        features = file.create_dataset("features", (len(rows), width), np.float32)
        done = 0
        for block in blocks:
            features[done : done + len(block)] = block
            done += len(block)
        if done != len(rows):
            raise EmbeddingError(f"found {done} rows for {path}, wanted {len(rows)}")
        for key in ("name", "patch_size"):
            if key in attributes:
                features.attrs[key] = attributes[key]
        file["coords"] = source.coords(rows)
        file["coords"].attrs.update(attributes)
        ids = np.array(source.tile_ids(rows), object)
        file.create_dataset("tile_id", data=ids, dtype=h5py.string_dtype())
        file.attrs["pathjax"] = json.dumps(meta | about)


def read_header(path: Path) -> tuple[dict[str, Any], tuple[int, int]]:
    """What FILE.h5 says of itself, and the form of its features, (N, E).

    Raises:
      EmbeddingError: it is no such file.
    """
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["pathjax"]), file["features"].shape
    except (OSError, KeyError) as error:
        raise EmbeddingError(
            f"{path} is no embedding file of pathjax: {error}"
        ) from error


def write_embeddings(
    path: Path, study: Study, features: Float[np.ndarray, "n E"], meta: dict
) -> None:
    """Writes features that are in memory, one row for each tile of a study."""
    tiles = StudyTiles(study)
    write_file(
        path,
        [features],
        tiles,
        np.arange(len(tiles)),
        meta,
        width=features.shape[1],
        attributes=tiles.attributes(),
    )


def read_embeddings(path: Path, study: Study) -> Embeddings:
    """Reads FILE.h5 and checks that it belongs to the study.

    Raises:
      EmbeddingError: it is no such file, or of another study.
    """
    meta = _require_of(path, study)
    with h5py.File(path, "r") as file:
        return Embeddings(file["features"][:], meta)


def open_embeddings(path: Path, study: Study) -> FileRows:
    """FILE.h5 whose rows are read when asked for; checked as by `read_embeddings`."""
    _require_of(path, study)
    return FileRows(path)


def _require_of(path: Path, study: Study) -> dict[str, Any]:
    """FILE.h5's meta, if it belongs to the study."""
    meta, (count, _) = read_header(path)
    if meta["fingerprint"] != study.fingerprint or count != len(study):
        owner = f"study {meta['study']}" if "study" in meta else "a folder of images"
        raise EmbeddingError(
            f"{path} holds {count} embeddings of {owner} "
            f"({meta['fingerprint'][:12]}), wanted {len(study)} of {study.name} "
            f"({study.fingerprint[:12]}): run `pathjax embed` again"
        )
    return meta
