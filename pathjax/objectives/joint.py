"""Joint objective: contrast, regression and reconstruction, from one pass of the encoder.

    loss = contrastive x contrast of images and expression (and text)
         + regression x the loss of genes predicted from the pooled tiles
         + reconstruction x the loss of genes decoded from the shared space

The parts are the objectives of those names, on the same pooled tiles. The decoder is one
head over the shared space, applied to the images' embeddings and to the expression's:
it keeps in the space what the genes say, and not only what tells samples apart.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.objective import ObjectiveError
from pathjax.objectives.regression import Regression
from pathjax.rng import stream

# Parts of the loss that predict genes -> their weight's option.
PREDICTING = {
    "regression": "regression",
    "image_decoded": "reconstruction",
    "expression_decoded": "reconstruction",
}


@dataclasses.dataclass(frozen=True)
class Joint(Contrastive):
    """Contrast, regression and reconstruction together.

    Attributes:
      contrastive: Weight of the contrastive loss, above 0.
      regression: Weight of the loss of genes predicted from images; 0 leaves it out.
      reconstruction: Weight of the loss of genes decoded from the shared space, the mean
        over images and expression; 0 leaves it out.
      regression_loss: Loss of both: "mse", "huber", "pearson" or "negative_binomial".
      huber_delta: Where Huber's loss becomes linear, in units of the target.
      variance_power: Genes weigh as their variance before z-scoring to this power: 0
        all alike, 1 as without z-scoring.
    """

    contrastive: float = 1.0
    regression: float = 1.0
    reconstruction: float = 0.0
    regression_loss: Literal["mse", "huber", "pearson", "negative_binomial"] = "mse"
    huber_delta: float = 1.0
    variance_power: float = 0.0

    @property
    def needs_genes(self) -> bool:  # type: ignore[override]
        return super().needs_genes or self._regressor.needs_genes

    @property
    def needs_counts(self) -> bool:  # type: ignore[override]
        return self._regressor.needs_counts

    @property
    def predicts_expression(self) -> bool:  # type: ignore[override]
        return self.regression > 0

    @property
    def expression_scale(self) -> str:  # type: ignore[override]
        return self._regressor.expression_scale

    @property
    def _regressor(self) -> Regression:
        return Regression(
            loss=self.regression_loss,
            aggregator=self.aggregator,
            huber_delta=self.huber_delta,
            variance_power=self.variance_power,
        )

    @functools.cached_property
    def regressor(self) -> Regression:
        """The part that predicts genes, set up."""
        return self._regressor.setup(dataclasses.replace(self.spec, text_dim=0))

    def problems(self, batch: int) -> list[str]:
        problems = super().problems(batch)
        # Its aggregator is checked by the contrastive part.
        own = dataclasses.replace(self._regressor, aggregator="mean").problems(batch)
        problems += [
            problem.replace("loss=", "regression_loss=")
            if problem[:5] == "loss="
            else problem
            for problem in own
        ]
        if not 0 < self.contrastive < float("inf"):
            problems.append(
                f"contrastive={self.contrastive}: expected a number above 0; without a "
                "contrast choose objective.name=regression"
            )
        for name in ("regression", "reconstruction"):
            if not 0 <= getattr(self, name) < float("inf"):
                problems.append(f"{name}={getattr(self, name)}: expected 0 or more")
        if not self.regression and not self.reconstruction:
            problems.append(
                "regression and reconstruction are 0: expected one above 0, or choose "
                "objective.name=contrastive"
            )
        return problems

    def setup(self, spec):
        ready = super().setup(spec)
        if spec.text_dim and ready.needs_counts:
            raise ObjectiveError(
                "objective Joint: regression_loss=negative_binomial does not read "
                "batches with text: choose another, or leave data.text empty"
            )
        return ready

    def init(self, key, batch):
        params, extra = super().init(key, batch)
        head, pooled = self.regressor.head, self.tiles_like(batch)[:, 0]
        shared = jnp.zeros((1, self.embed_dim), jnp.float32)
        if self.regression:
            made = head.init(stream(key, "init/head", 0), pooled)
            params["head"] = made["params"]
        if self.reconstruction:
            made = head.init(stream(key, "init/decoder", 0), shared)
            params["decoder"] = made["params"]
        return params, extra

    def _pooled_once(self, params, batch, key, step, train):
        """The batch with embeddings in place of images, for all parts."""
        sampled = stream(key, "contrastive/vit", step)
        tiles = self.pool_tiles(params, batch, train=train, key=sampled)
        rest = {name: rows for name, rows in batch.items() if name != "image"}
        return rest | {"embedding": tiles}

    def represent(self, params, extra, batch, key, step, train):
        inner = self._pooled_once(params, batch, key, step, train)
        rows = super().represent(params, extra, inner, key, step, train)
        predicted = {}
        if self.regression:
            predicted["regression"] = self.regressor.represent(
                params, {}, inner, key, step, train
            )
        if self.reconstruction:
            decoder = {"head": params["decoder"]}
            for name in ("image", "expression"):
                made = self.regressor.decode(decoder, rows[f"z_{name}"])
                predicted[f"{name}_decoded"] = made
        for part, made in predicted.items():
            rows |= {f"{part}/{name}": values for name, values in made.items()}
        return rows

    def compare(self, params, extra, rows, batch, step, mesh=None):
        own = {name: values for name, values in rows.items() if "/" not in name}
        values, logged, aux = super().compare(params, extra, own, batch, step, mesh)
        logged["contrastive"] = values
        values = self.contrastive * values
        mask = batch["mask"]
        known = mask & batch["has_expression"] if "has_expression" in batch else mask
        share = mask.sum() / jnp.maximum(known.sum(), 1)
        for part, option in PREDICTING.items():
            made = {
                name.removeprefix(f"{part}/"): out
                for name, out in rows.items()
                if name.startswith(f"{part}/")
            }
            if not made:
                continue
            decoded = part != "regression"
            head = params["decoder" if decoded else "head"]
            lost, about, _ = self.regressor.compare(
                {"head": head}, {}, made, batch | {"mask": known}, step, mesh
            )
            weight = getattr(self, option) * (0.5 if decoded else 1.0)
            values += weight * share * lost
            # Those of the regression have the names that they have alone.
            names = {
                f"{part}_{name}" if decoded else name: one
                for name, one in about.items()
            }
            names |= {part: lost}
            logged |= {name: self._of_rows(one, known) for name, one in names.items()}
        return values, logged, aux

    def predict(self, params, batch):
        inner = self._pooled_once(params, batch, jax.random.key(0), 0, False)
        made = super().predict(params, inner)
        return made | self.regressor.predict(params, inner) if self.regression else made
