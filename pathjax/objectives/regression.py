"""Regression ("direct fine-tuning"): predict a sample's expression from its tiles.

ViT over tiles -> aggregate K tiles -> head. Targets are `expression`, z-scored by the
data, or raw `counts` with their `library` for the negative binomial.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pathjax import losses
from pathjax.models.towers import Aggregator, NegativeBinomialHead, RegressionHead
from pathjax.objectives.objective import Objective, ObjectiveError, unpadded
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
      variance_power: Genes weigh as their variance before z-scoring to this power: 0
        all alike, 1 as without z-scoring.
    """

    supports_unmeasured = True
    predicts_expression = True

    loss: Literal["mse", "huber", "pearson", "negative_binomial"] = "mse"
    aggregator: Literal["mean", "attention"] = "mean"
    huber_delta: float = 1.0
    variance_power: float = 0.0

    @property
    def needs_genes(self) -> bool:  # type: ignore[override]
        return not self.needs_counts

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
        if not abs(self.variance_power) <= 4:
            problems.append(f"variance_power={self.variance_power}: expected -4 to 4")
        return problems

    @functools.cached_property
    def gene_weights(self) -> Float[np.ndarray, "G"] | None:
        """`[G]` weights with mean 1; None where all genes weigh alike."""
        if not self.variance_power:
            return None
        variance = np.asarray(self.spec.gene_variance, np.float64)
        if variance.shape != (self.spec.n_genes,):
            raise ObjectiveError(
                f"variance_power={self.variance_power}: expected the variance of "
                f"{self.spec.n_genes} genes, got {variance.size}: set Spec.gene_variance"
            )
        weights = variance**self.variance_power
        return (weights / weights.mean()).astype(np.float32)

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

    def pooled(self, params, batch, key, step, train):
        """The embedding of each sample, pooled over its tiles."""
        sampled = stream(key, "regression/vit", step)
        tiles = self.pool_tiles(params, batch, train=train, key=sampled)
        variables = {"params": params.get("aggregator", {})}
        return self.pool.apply(variables, tiles, batch.get("tile_mask"))

    def decode(self, params, hidden):
        """The head's output for each row of `hidden`, by name."""
        out = self.head.apply({"params": params["head"]}, hidden)
        return {"log_rate": out[0]} if self.needs_counts else {"expression": out}

    def represent(self, params, extra, batch, key, step, train):
        return self.decode(params, self.pooled(params, batch, key, step, train))

    def compare(self, params, extra, rows, batch, step, mesh=None):
        mask, measured = batch["mask"], batch.get("measured")
        weights = self.gene_weights
        if self.needs_counts:
            log_dispersion = params["head"]["log_dispersion"]
            mu = unpadded(batch, "library")[:, None] * jnp.exp(rows["log_rate"])
            counts = unpadded(batch, "counts")
            values = losses.negative_binomial_nll(
                mu, log_dispersion, counts, measured, weights
            )
            logged = {}
        else:
            target, out = unpadded(batch, "expression"), rows["expression"]
            if self.loss == "mse":
                values = losses.mse(out, target, measured, weights)
            elif self.loss == "huber":
                values = losses.huber(out, target, self.huber_delta, measured, weights)
            else:
                values = losses.pearson_loss(
                    out, target, mask, measured=measured, weights=weights
                )
            stopped = jax.lax.stop_gradient(out)
            # Over this batch only; probes report the correlation over all samples.
            lost = losses.pearson_loss(stopped, target, mask, measured=measured)
            logged = {
                "mse": losses.mse(stopped, target, measured),
                "pearson_batch": jnp.where(mask, 1 - lost, 0),
            }
        return jnp.where(mask, values, 0), logged, {}

    def predict(self, params, batch):
        # The key is not used outside training. Not `represent`: an anchor extends it.
        pooled = self.pooled(params, batch, jax.random.key(0), 0, False)
        out = self.decode(params, pooled)
        if self.needs_counts:
            # On the studies' scale; Pearson's r is invariant to the panel's z-scoring.
            return {"expression": jnp.log1p(1e4 * jnp.exp(out["log_rate"]))}
        return out
