"""Regression objective ("direct fine-tuning"): expression from the image.

ViT over tiles -> aggregate K tiles -> head. Targets are `expression`, normalised and
z-scored by the data, or raw `counts` with their `library` for the negative binomial.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from pathjax import losses
from pathjax.models.towers import Aggregator, NegativeBinomialHead, RegressionHead
from pathjax.models.vit import ViTConfig
from pathjax.objectives.objective import (
    Objective,
    ObjectiveError,
    encode,
    init_encoder,
    pool_tiles,
    tiles_like,
)
from pathjax.rng import stream

LOSSES = ("mse", "huber", "pearson", "negative_binomial")


def build(
    vit: ViTConfig,
    n_genes: int | None,
    *,
    loss: Literal["mse", "huber", "pearson", "negative_binomial"] = "mse",
    aggregator: Literal["mean", "attention"] = "mean",
    huber_delta: float = 1.0,
) -> Objective:
    """Builds the objective.

    Args:
      vit: the encoder.
      n_genes: G.
      loss: "mse", "huber", "pearson" (1 - r per gene over the batch) or
        "negative_binomial" (needs `counts` and `library`, the sample's total count).
      aggregator: of K tiles, "mean" or "attention".
      huber_delta: where Huber's loss turns linear, in the target's units.

    Raises:
      ObjectiveError: without genes, or for an unknown loss or aggregator.
    """
    if not n_genes:
        raise ObjectiveError(
            "objective regression found no genes: set data.genes or data.gene_list"
        )
    if loss not in LOSSES:
        raise ObjectiveError(f"loss={loss!r}: wanted one of {', '.join(LOSSES)}")
    if aggregator not in ("mean", "attention"):
        raise ObjectiveError(f"aggregator={aggregator!r}: wanted 'mean' or 'attention'")
    counted = loss == "negative_binomial"
    pool = Aggregator(aggregator)
    head = NegativeBinomialHead(n_genes) if counted else RegressionHead(n_genes)

    def init(key, batch):
        tiles = tiles_like(vit, batch)
        params = init_encoder(vit, stream(key, "init/vit", 0), batch)
        made = pool.init(stream(key, "init/aggregator", 0), tiles)
        if made:  # the mean has no parameters
            params["aggregator"] = made["params"]
        made = head.init(stream(key, "init/head", 0), tiles[:, 0])
        return {**params, "head": made["params"]}, {}

    def forward(params, batch, key, step, train):
        drawn = stream(key, "regression/vit", step)
        tiles = pool_tiles(vit, params, batch, train=train, key=drawn)
        variables = {"params": params.get("aggregator", {})}
        pooled = pool.apply(variables, tiles, batch.get("tile_mask"))
        return head.apply({"params": params["head"]}, pooled)

    def represent(params, extra, batch, key, step, train):
        out = forward(params, batch, key, step, train)
        return {"log_rate": out[0]} if counted else {"expression": out}

    def compare(params, extra, rows, batch, step, mesh=None):
        mask = batch["mask"]

        def clean(name):  # padding may hold anything; a NaN must not meet a product
            values = batch[name]
            return jnp.where(mask.reshape(-1, *(1,) * (values.ndim - 1)), values, 0)

        if counted:
            log_dispersion = params["head"]["log_dispersion"]
            mu = clean("library")[:, None] * jnp.exp(rows["log_rate"])
            counts = clean("counts")
            values = losses.negative_binomial_nll(mu, log_dispersion, counts)
            logged = {}
        else:
            target, out = clean("expression"), rows["expression"]
            if loss == "mse":
                values = losses.mse(out, target)
            elif loss == "huber":
                values = losses.huber(out, target, huber_delta)
            else:
                values = losses.pearson_loss(out, target, mask)
            stopped = jax.lax.stop_gradient(out)
            # Over this batch only; the metric proper is over the whole test set.
            batch_r = jnp.where(mask, 1 - losses.pearson_loss(stopped, target, mask), 0)
            logged = {"mse": losses.mse(stopped, target), "pearson_batch": batch_r}
        return jnp.where(mask, values, 0), logged, {}

    def predict(params, batch):
        # Nothing is drawn outside training.
        out = forward(params, batch, jax.random.key(0), 0, False)
        if counted:
            # On the studies' scale; Pearson's r does not see the panel's z-scoring.
            return {"expression": jnp.log1p(1e4 * jnp.exp(out[0]))}
        return {"expression": out}

    return Objective(
        name="regression",
        requires=(
            "image",
            "mask",
            *(("counts", "library") if counted else ("expression",)),
        ),
        init=init,
        represent=represent,
        compare=compare,
        encode=lambda params, image: encode(vit, params["vit"], image),
        export=lambda params, extra: params,
        predict=predict,
    )
