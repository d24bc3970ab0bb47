"""Embeddings of tiles to expression, by the head that a regression run trained.

    features [n, E] -> aggregator over 1 tile -> head -> expression [n, G] in its unit

A head that was trained on z-scores has them undone by the training statistics of the
panel; the negative-binomial head's rates become what a library of 10,000 counts is
expected to hold, on a log scale.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError
from jaxtyping import Float

from pathjax import objectives
from pathjax.data.expression import GenePanel
from pathjax.models.model_file import Model
from pathjax.predict import PredictError

BLOCK = 1024  # rows per call: one shape, compiled once


def panel_of(model: Model) -> GenePanel:
    """The model's gene panel.

    Raises:
      PredictError: It has none.
    """
    if not model.meta.get("panel"):
        name = model.meta["objective"]["name"]
        raise PredictError(
            f"the model was trained by {name} without gene expression: expected a model "
            "fine-tuned with an objective that reads it, such as regression"
        )
    return GenePanel.from_json(model.meta["panel"])


def build(
    model: Model, vectors: Path | None = None
) -> tuple[objectives.Objective, dict[str, Any]]:
    """The model's objective over embeddings, and the parameters it needs.

    Args:
      vectors: File of samples' vectors, in place of that of training.
    """
    panel_of(model)
    objective = objectives.of_model(model, cached=True, vectors=vectors or "")
    if vectors and not objective.needs_vectors:
        raise PredictError(f"the model reads no vectors: leave out {vectors}")
    if not (objective.predicts_expression or objective.shares_space):
        raise PredictError(
            f"objective {model.meta['objective']['name']} neither predicts expression "
            "(`predicts_expression`) nor retrieves it (`shares_space`)"
        )
    params = {k: v for k, v in model.params.items() if k != "vit"}
    _require_fit(model, objective, params)
    return objective, params


def _require_fit(model: Model, objective, params: dict[str, Any]) -> None:
    """Rejects parameters of other shapes than the objective's."""
    batch = {
        "embedding": np.zeros((1, 1, model.vit.embed_dim), np.float32),
        "expression": np.zeros((1, len(model.meta["panel"]["genes"])), np.float32),
        "mask": np.ones(1, bool),
    }
    if objective.needs_vectors:
        dimensions = objective.spec.resources.get("dimensions", 0)
        batch["vectors"] = np.zeros((1, dimensions), np.float32)
    try:
        jax.eval_shape(objective.predict, params, batch)
    except (FlaxError, KeyError) as error:
        raise PredictError(
            f"the parameters are not those of objective {model.meta['objective']['name']}"
            f" with {len(model.meta['panel']['genes'])} genes: the file is damaged, take "
            "a whole copy"
        ) from error


def in_blocks(
    call: Callable[..., dict[str, jax.Array]], rows: int, **inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """`call(batch)` over rows in blocks of one padded shape; results joined again.

    Args:
      call: A jitted function of a batch; its results have a row each.
      rows: Number of rows.
      inputs: Arrays `[rows, ...]` of the batch.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, rows, BLOCK):
        batch = {}
        for name, values in inputs.items():
            part = values[start : start + BLOCK]
            batch[name] = np.zeros((BLOCK, *part.shape[1:]), part.dtype)
            batch[name][: len(part)] = part
        batch["mask"] = np.arange(BLOCK) < min(BLOCK, rows - start)
        for name, values in call(batch).items():
            parts.setdefault(name, []).append(np.asarray(values)[batch["mask"]])
    return {name: np.concatenate(values) for name, values in parts.items()}


class Regression:
    """Expression by a regression head.

    Attributes:
      unit: Of the predictions.
      means: What they are, in a sentence.

    Raises:
      PredictError: The model has no regression head.
    """

    def __init__(self, model: Model):
        self._panel = panel_of(model)
        objective, params = build(model)
        self._counted = objective.expression_scale == "log_counts"
        self._predict = functools.partial(jax.jit(objective.predict), params)
        if self._counted:
            self.unit = "log1p(expected counts per 10,000)"
            self.means = (
                "log1p of the counts that the negative-binomial head expects in a "
                "library of 10,000 counts over all genes; the expectation of a count, "
                "not of its logarithm"
            )
        else:
            self.unit = self._panel.unit
            self.means = (
                f"the head's z-score times the training standard deviation plus the "
                f"training mean of {self._panel.samples} training samples: expected "
                f"{self._panel.unit}"
            )

    def __call__(
        self, features: Float[np.ndarray, "n E"], places: list[int]
    ) -> Float[np.ndarray, "n g"]:
        """Expression of the genes at `places` of the panel, each tile by itself."""
        out = in_blocks(self._predict, len(features), embedding=features[:, None])
        values = out["expression"]
        return (values if self._counted else self._panel.restore(values))[:, places]
