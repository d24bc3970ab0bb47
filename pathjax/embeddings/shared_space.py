"""Tiles and samples in the space that a model shares between them.

For retrieval: each tile through the image tower as a sample of its own, each sample's
expression through the expression tower, on the scale of the model's own gene panel.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pathjax import objectives
from pathjax.data.expression import GenePanel
from pathjax.data.pipeline import tile_batches
from pathjax.data.study import Study
from pathjax.models.model_file import Model, has_heads


def shares_space(model: Model) -> bool:
    """Whether the model's objective embeds images and expression in one space."""
    return has_heads(model.meta) and objectives.of_model(model).shares_space


def vectors_file(meta: dict[str, Any], vectors: Path | None = None) -> Path | None:
    """The file of samples' vectors that a model's gene tower reads; None if it does not.

    Args:
      meta: Of the model.
      vectors: In place of that of training.
    """
    trained = (meta["objective"].get("expression_tower") or {}).get("vectors")
    return (vectors or Path(trained)) if trained else None


def joint_embeddings(
    model: Model, study: Study, *, batch: int = 64, vectors: Path | None = None
) -> tuple[Float[np.ndarray, "T E"], Float[np.ndarray, "S E"]]:
    """Embeds all tiles and all samples into the shared space.

    Args:
      model: One whose objective `shares_space`.
      study: has expression with the model's genes.
      batch: rows per step.
      vectors: File of the samples' vectors, in place of that of training.

    Returns:
      `[tiles, E]` and `[samples, E]`, unit length; NaN for samples without expression,
      or for which none of the model's genes was measured, or without a vector where the
      model takes one.

    Raises:
      StudyError: the study lacks genes of the model.
    """
    panel = GenePanel.from_json(model.meta["panel"])
    objective = objectives.of_model(model, vectors=vectors or "")
    predict = jax.jit(functools.partial(objectives.predicted, objective))

    images = []
    for part in tile_batches(
        study, np.arange(len(study.tiles)), batch=batch, image_px=model.meta["image_px"]
    ):
        inputs = {"image": part["image"][:, None], "mask": part["mask"]}
        z = np.asarray(predict(model.params, inputs)["z_image"])
        images.append(z[part["mask"]])

    expression = study.expression()
    ids = study.samples["sample_id"].to_numpy()
    usable = np.isin(ids, np.asarray(expression.obs_names))
    table = objective.sample_vectors(study)
    if table is not None:
        values, has = table.align(ids)
        usable &= has
    paired = np.flatnonzero(usable)
    genes, known = panel.scores(expression, list(ids[paired]))
    if known is not None:
        some = known.any(axis=1)
        paired, genes, known = paired[some], genes[some], known[some]
    inputs = {"expression": jnp.asarray(genes), "mask": jnp.ones(len(genes), bool)}
    if known is not None:
        inputs["measured"] = jnp.asarray(known)
    if table is not None:
        inputs["vectors"] = jnp.asarray(values[paired])
    partner = np.full((len(ids), images[0].shape[1]), np.nan, np.float32)
    side = model.meta["image_px"]

    @jax.jit
    def run(params, inputs):
        # XLA drops the image tower, whose result is unused, and these images with it.
        image = jnp.zeros((len(genes), 1, side, side, 3), jnp.uint8)
        batch = inputs | {"image": image}
        return objectives.predicted(objective, params, batch)["z_expression"]

    partner[paired] = np.asarray(run(model.params, inputs))
    return np.concatenate(images), partner
