"""A model, and embeddings in memory by the steps that `embed_to_file` takes."""

import jax
import jax.numpy as jnp
import numpy as np

from pathjax.data.tile_source import StudyTiles
from pathjax.embeddings import embed
from pathjax.models.model_file import Model
from pathjax.models.vit import ViT, ViTConfig

META = {"image_px": 16, "audit": [], "objective": {"name": "dino"}}


def made(vit: ViTConfig, **meta) -> Model:
    pixels = jnp.zeros((1, 16, 16, 3))
    params = jax.jit(ViT(vit).init)(jax.random.key(0), pixels)["params"]
    params = jax.tree.map(np.asarray, params)
    return Model({"vit": params}, vit, META | meta)


def interrupt(number):
    """A progress that stops a run once so many tiles are done."""

    def progress(done, total):
        if done >= number:
            raise KeyboardInterrupt

    return progress


def embed_tiles(model, study, rows=None, *, pool=None, batch=64):
    """`[n, E]` float32 of the named tiles, or of all."""
    rows = np.arange(len(study)) if rows is None else np.asarray(rows)
    vit = embed._pooled(model.vit, pool)
    how = {"vit": vit, "batch": batch, "threads": 2}
    parts = [part for part, *_ in embed._embed(model, StudyTiles(study), rows, **how)]
    return np.concatenate([np.empty((0, vit.embed_dim), np.float32), *parts])
