"""Regression ("direct fine-tuning"): predict a sample's expression from its tiles.

ViT over tiles -> aggregate K tiles -> head. Targets are `expression`, z-scored by the
data, or raw `counts` with their `library` for the negative binomial.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pathjax import losses
from pathjax.models.towers import Aggregator, NegativeBinomialHead, RegressionHead
from pathjax.objectives.objective import Objective, unpadded
from pathjax.rng import stream

LOSSES = ("mse", "huber", "pearson", "negative_binomial")
AGGREGATORS = ("mean", "attention")


@dataclasses.dataclass(frozen=True)
class Regression(Objective):
    """Expression from images.

    Attributes:
      loss: "mse", "huber", "pearson" (1 - r per gene over the batch) or
        "negative_binomial" (of counts, with the sample's total as exposure).
      aggregator: How K tiles are pooled, "mean" or "attention".
      huber_delta: Where Huber's loss becomes linear, in units of the target.
    """

    needs_genes = True
    supports_unmeasured = True
    predicts_expression = True

    loss: Literal["mse", "huber", "pearson", "negative_binomial"] = "mse"
    aggregator: Literal["mean", "attention"] = "mean"
    huber_delta: float = 1.0

    @property
    def needs_counts(self) -> bool:  # type: ignore[override]
        return self.loss == "negative_binomial"

    @property
    def min_rows(self) -> int:  # type: ignore[override]
        return 2 if self.loss == "pearson" else 1

    @property
    def expression_scale(self) -> str:  # type: ignore[override]
        return "log_counts" if self.needs_counts else "z_score"

    def problems(self, batch: int) -> list[str]:
        problems = super().problems(batch)
        if self.loss not in LOSSES:
            problems.append(f"loss={self.loss!r}: expected one of {', '.join(LOSSES)}")
        if self.aggregator not in AGGREGATORS:
            problems.append(
                f"aggregator={self.aggregator!r}: expected mean or attention"
            )
        if not self.huber_delta > 0:
            problems.append(
                f"huber_delta={self.huber_delta}: expected a number above 0"
            )
        return problems

    @functools.cached_property
    def pool(self) -> Aggregator:
        return Aggregator(self.aggregator)

    @functools.cached_property
    def head(self) -> RegressionHead | NegativeBinomialHead:
        kind = NegativeBinomialHead if self.needs_counts else RegressionHead
        return kind(self.spec.n_genes)

    def init(self, key, batch):
        tiles = self.tiles_like(batch)
        params = self.init_encoder(stream(key, "init/vit", 0))
        made = self.pool.init(stream(key, "init/aggregator", 0), tiles)
        if made:  # the mean has no parameters
            params["aggregator"] = made["params"]
        made = self.head.init(stream(key, "init/head", 0), tiles[:, 0])
        return {**params, "head": made["params"]}, {}

    def forward(self, params, batch, key, step, train):
        """The head's output for each sample."""
        sampled = stream(key, "regression/vit", step)
        tiles = self.pool_tiles(params, batch, train=train, key=sampled)
        variables = {"params": params.get("aggregator", {})}
        pooled = self.pool.apply(variables, tiles, batch.get("tile_mask"))
        return self.head.apply({"params": params["head"]}, pooled)

    def represent(self, params, extra, batch, key, step, train):
        out = self.forward(params, batch, key, step, train)
        return {"log_rate": out[0]} if self.needs_counts else {"expression": out}

    def compare(self, params, extra, rows, batch, step, mesh=None):
        mask, measured = batch["mask"], batch.get("measured")
        if self.needs_counts:
            log_dispersion = params["head"]["log_dispersion"]
            mu = unpadded(batch, "library")[:, None] * jnp.exp(rows["log_rate"])
            counts = unpadded(batch, "counts")
            values = losses.negative_binomial_nll(mu, log_dispersion, counts, measured)
            logged = {}
        else:
            target, out = unpadded(batch, "expression"), rows["expression"]
            if self.loss == "mse":
                values = losses.mse(out, target, measured)
            elif self.loss == "huber":
                values = losses.huber(out, target, self.huber_delta, measured)
            else:
                values = losses.pearson_loss(out, target, mask, measured=measured)
            stopped = jax.lax.stop_gradient(out)
            # Over this batch only; probes report the correlation over all samples.
            lost = losses.pearson_loss(stopped, target, mask, measured=measured)
            logged = {
                "mse": losses.mse(stopped, target, measured),
                "pearson_batch": jnp.where(mask, 1 - lost, 0),
            }
        return jnp.where(mask, values, 0), logged, {}

    def predict(self, params, batch):
        # The key is not used outside training.
        out = self.forward(params, batch, jax.random.key(0), 0, False)
        if self.needs_counts:
            # On the studies' scale; Pearson's r is invariant to the panel's z-scoring.
            return {"expression": jnp.log1p(1e4 * jnp.exp(out[0]))}
        return {"expression": out}
