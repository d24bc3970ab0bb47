"""Embeddings: a study's tiles through an encoder, cached in one HDF5 file.

The file has the layout that users of TRIDENT and CLAM have (`features [n, E]`, `coords
[n, 2]`, attributes), plus the tiles' rows and where the encoder came from. Nothing is
pooled here: tasks pool tiles into samples.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import jax
import numpy as np
from jaxtyping import Float, Int

from pathjax import objectives
from pathjax.atomic import atomic_path
from pathjax.data.pipeline import tile_batches
from pathjax.data.study import Study
from pathjax.mesh import batch_sharding, make_mesh, replicated
from pathjax.model_file import Model
from pathjax.models.vit import ViTConfig


class EmbeddingError(ValueError):
    """An embedding file that is damaged or belongs to another study."""


@functools.cache
def _embed_step(vit: ViTConfig, devices: int) -> Callable:
    """The jitted encoder, compiled once per config and shape."""
    mesh = make_mesh()

    def embed(params, image):
        return objectives.encode(vit, params, image)

    return jax.jit(
        embed,
        in_shardings=(replicated(mesh), batch_sharding(mesh)),
        out_shardings=replicated(mesh),
    )


def embed_tiles(
    model: Model,
    study: Study,
    rows: Int[np.ndarray, "n"] | None = None,
    *,
    batch: int = 64,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "n E"]:
    """Embeds tiles of a study.

    Args:
      model: whose encoder.
      study: whose tiles, cropped to the model's `image_px` at the centre.
      rows: which; all when None.
      batch: tiles per step, rounded up to a multiple of the devices.
      threads: reading threads.
      progress: called with (tiles done, tiles in all).

    Returns:
      `[n, E]` float32.
    """
    rows = np.arange(len(study.tiles)) if rows is None else np.asarray(rows)
    devices = jax.device_count()
    batch = -(-batch // devices) * devices
    step = _embed_step(model.vit, devices)
    params = jax.device_put(model.params["vit"], replicated(make_mesh()))
    done = []
    for part in tile_batches(
        study, rows, batch=batch, image_px=model.meta["image_px"], threads=threads
    ):
        features = np.asarray(step(params, part["image"]), np.float32)
        done.append(features[part["mask"]])
        if progress:
            progress(min(len(done) * batch, len(rows)), len(rows))
    features = np.concatenate(done)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise EmbeddingError(
            f"{len(bad)} of {len(rows)} embeddings are not finite, first tile "
            f"{study.tiles['tile_id'].iloc[rows[bad[0]]]}: the model is damaged"
        )
    return features


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Cached embeddings of all tiles of a study.

    Attributes:
      features: `[n_tiles, E]` float32 in the study's tile order.
      meta: model name, study name and fingerprint, audit record.
    """

    features: Float[np.ndarray, "n E"]
    meta: dict


def write_embeddings(
    path: Path, study: Study, features: Float[np.ndarray, "n E"], meta: dict
) -> None:
    """Writes FILE.h5 atomically: features, coords (level-0 x, y), tile ids, meta."""
    strings = h5py.string_dtype()
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file["features"] = features
        file["coords"] = study.tiles[["x", "y"]].to_numpy(np.int64)
        ids = study.tiles["tile_id"].to_numpy(object)
        file.create_dataset("tile_id", data=ids, dtype=strings)
        file["features"].attrs["patch_size"] = study.tile_px
        file.attrs["pathjax"] = json.dumps(
            meta | {"study": study.name, "fingerprint": study.fingerprint}
        )


def read_embeddings(path: Path, study: Study) -> Embeddings:
    """Reads FILE.h5 and checks that it belongs to the study.

    Raises:
      EmbeddingError: it is no such file, or of another study.
    """
    try:
        with h5py.File(path, "r") as file:
            features = file["features"][:]
            meta = json.loads(file.attrs["pathjax"])
    except (OSError, KeyError) as error:
        raise EmbeddingError(f"{path} is no embedding file of pathjax: {error}") from (
            error
        )
    if meta["fingerprint"] != study.fingerprint or len(features) != len(study.tiles):
        raise EmbeddingError(
            f"{path} holds {len(features)} embeddings of study {meta['study']} "
            f"({meta['fingerprint'][:12]}), wanted {len(study.tiles)} of {study.name} "
            f"({study.fingerprint[:12]}): run `pathjax embed` again"
        )
    return Embeddings(features, meta)
