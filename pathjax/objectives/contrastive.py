"""Contrastive objective: align tiles, expression and report text of the same sample.

ViT over tiles -> aggregate K tiles -> projection; MLP over genes -> projection; a layer
over frozen text embeddings -> projection; unit length; InfoNCE or the sigmoid loss over
the global batch, for each pair of modalities. Samples that share a pair_id are
positives of each other; the data decides which samples those are.

A sample may lack a modality (`has_expression`, `has_text`). The loss of a pair of
modalities is over the rows that have both, as if the other rows were not in the batch.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from pathjax import losses
from pathjax.losses import metrics
from pathjax.models.expression import ExpressionMLP
from pathjax.models.towers import Aggregator, Projection, Temperature, TextTower
from pathjax.objectives.objective import Batch, Objective, ObjectiveError
from pathjax.parallel.mesh import over_rows
from pathjax.rng import stream

Pair = tuple[str, str]


def temperature_name(pair: Pair) -> str:
    """Name of a pair's temperature among the parameters."""
    if pair == ("image", "expression"):
        return "temperature"
    return f"temperature_{'_'.join(pair)}"


def present(batch: Batch, name: str) -> Bool[Array, "B 1"]:
    """Rows that are not padding and have a modality."""
    rows = batch["mask"]
    if f"has_{name}" in batch:
        rows = rows & batch[f"has_{name}"]
    return rows[:, None]


def of_both(
    sides: dict[str, losses.Rows], pair: Pair
) -> tuple[losses.Rows, losses.Rows]:
    """The two sides of a pair, masked to the rows that have both."""
    left, right = (sides[name] for name in pair)
    rows = left.mask & right.mask
    return dataclasses.replace(left, mask=rows), dataclasses.replace(right, mask=rows)


@dataclasses.dataclass(frozen=True)
class Contrastive(Objective):
    """Images, expression and text in one space.

    Attributes:
      loss: "infonce" or "sigmoid".
      aggregator: How K tiles are pooled, "mean" or "attention".
      embed_dim: E, dimensions of the shared space.
      widths: Hidden widths of the expression MLP.
      dropout: Dropout in the expression MLP and the text tower.
      gene_dropout: Dropout of genes, before the expression MLP.
      projection_hidden: Width of a hidden layer of the projections; 0 for none.
      chunk: Rows of the batch, over all devices, that are compared with all others at
        once; 0 for all. Saves memory in very large batches; the loss is the same.
      text_width: Hidden width of the text tower.
      image_expression, image_text, expression_text: Weight of the pair's loss; 0
        leaves the pair out. Those with text apply only if there is text.
    """

    needs_genes = True
    needs_negatives = True
    min_rows = 2
    supports_text = True
    supports_unmeasured = True
    shares_space = True

    loss: Literal["infonce", "sigmoid"] = "infonce"
    aggregator: Literal["mean", "attention"] = "mean"
    embed_dim: int = 128
    widths: Sequence[int] = (512, 512)
    dropout: float = 0.1
    gene_dropout: float = 0.0
    projection_hidden: int = 0
    chunk: int = 0
    text_width: int = 256
    image_expression: float = 1.0
    image_text: float = 1.0
    expression_text: float = 0.0

    def problems(self, batch: int) -> list[str]:
        problems = super().problems(batch)
        if self.loss not in ("infonce", "sigmoid"):
            problems.append(f"loss={self.loss!r}: expected infonce or sigmoid")
        if self.aggregator not in ("mean", "attention"):
            problems.append(
                f"aggregator={self.aggregator!r}: expected mean or attention"
            )
        sizes = {"embed_dim": self.embed_dim, "text_width": self.text_width}
        sizes |= {"widths": min(self.widths, default=0)}
        problems += [f"{k}={v}: expected at least 1" for k, v in sizes.items() if v < 1]
        for name in ("dropout", "gene_dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(
                    f"{name}={getattr(self, name)}: expected 0 <= {name} < 1"
                )
        for name in ("image_expression", "image_text", "expression_text"):
            if not 0 <= getattr(self, name) < float("inf"):
                problems.append(f"{name}={getattr(self, name)}: expected 0 or more")
        if batch and self.chunk:
            try:
                losses.require_chunk(batch, self.chunk)
            except losses.ChunkError as error:
                problems.append(str(error))
        return problems

    def setup(self, spec):
        ready = super().setup(spec)
        if not ready.pairs:
            weights = ", ".join(f"{a}_{b}" for a, b in ready.weights)
            raise ObjectiveError(f"all of {weights} are 0: expected one above 0")
        return ready

    @functools.cached_property
    def weights(self) -> dict[Pair, float]:
        """Weight of each pair's loss."""
        weights = {("image", "expression"): self.image_expression}
        if self.spec.text_dim:
            weights[("image", "text")] = self.image_text
            weights[("expression", "text")] = self.expression_text
        return weights

    @property
    def pairs(self) -> list[Pair]:
        """Pairs of modalities with a loss."""
        return [pair for pair, weight in self.weights.items() if weight]

    @functools.cached_property
    def modules(self) -> dict[str, Any]:
        """Everything but the encoder, by name among the parameters."""
        modules: dict[str, Any] = {
            "aggregator": Aggregator(self.aggregator),
            "image_head": Projection(self.embed_dim, self.projection_hidden),
            "expression": ExpressionMLP(
                tuple(self.widths), self.dropout, self.gene_dropout
            ),
            "expression_head": Projection(self.embed_dim, self.projection_hidden),
        }
        if self.spec.text_dim:
            modules["text"] = TextTower(self.text_width, self.dropout)
            modules["text_head"] = Projection(self.embed_dim, self.projection_hidden)
        for pair in self.pairs:
            modules[temperature_name(pair)] = Temperature(self.loss == "sigmoid")
        return modules

    def init(self, key, batch):
        tiles = self.tiles_like(batch)
        inputs = {
            "aggregator": (tiles,),
            "image_head": (tiles[:, 0],),
            "expression": (jnp.zeros((1, self.spec.n_genes), jnp.float32),),
            "expression_head": (jnp.zeros((1, self.widths[-1]), jnp.float32),),
            "text": (jnp.zeros((1, self.spec.text_dim), jnp.float32),),
            "text_head": (jnp.zeros((1, self.text_width), jnp.float32),),
        }
        params = self.init_encoder(stream(key, "init/vit", 0))
        for name, module in self.modules.items():
            made = module.init(stream(key, f"init/{name}", 0), *inputs.get(name, ()))
            if made:  # the mean has no parameters
                params[name] = made["params"]
        return params, {}

    def _apply(self, params, name, *inputs, **options):
        variables = {"params": params.get(name, {})}
        return self.modules[name].apply(variables, *inputs, **options)

    def _embed(self, name, params, batch, key, step, train):
        """`[B, E]` of one modality in the shared space."""
        if name == "image":
            sampled = stream(key, "contrastive/vit", step)
            tiles = self.pool_tiles(params, batch, train=train, key=sampled)
            hidden = self._apply(params, "aggregator", tiles, batch.get("tile_mask"))
        else:
            # Absent rows may hold NaN, and 0 * NaN is NaN.
            known = present(batch, name)
            if name == "expression" and "measured" in batch:
                known = known & batch["measured"]
            rows = jnp.where(known, batch[name], 0)
            rngs = {"dropout": stream(key, f"contrastive/{name}", step)}
            hidden = self._apply(params, name, rows, train=train, rngs=rngs)
        return self._apply(params, f"{name}_head", hidden)

    @property
    def modalities(self) -> tuple[str, ...]:
        text = ("text",) if self.spec.text_dim else ()
        return ("image", "expression", *text)

    def represent(self, params, extra, batch, key, step, train):
        return {
            f"z_{name}": self._embed(name, params, batch, key, step, train)
            for name in self.modalities
        }

    def compare(self, params, extra, rows, batch, step, mesh=None):
        mask, devices = batch["mask"], 1 if mesh is None else mesh.size
        losses.require_chunk(len(mask), self.chunk, devices)
        chunk = self.chunk // devices

        def all_pairs(temperatures, mine, gather):
            everyone = gather(mine)
            return {
                pair: self._both_ways(temperatures[pair], mine, everyone, pair, chunk)
                for pair in self.pairs
            }

        sides = {
            name: losses.emptied(
                rows[f"z_{name}"], present(batch, name)[:, 0], batch["pair_id"]
            )
            for name in self.modalities
        }
        temperatures = {
            pair: self._apply(params, temperature_name(pair)) for pair in self.pairs
        }
        results = over_rows(all_pairs, mesh)(temperatures, sides)
        values, logged = jnp.zeros(len(mask), jnp.float32), {}
        for pair, result in results.items():
            # So that the mean over the batch's rows is the mean over rows with both.
            count = result["rows"].sum()
            share = jnp.where(count > 0, mask.sum() / jnp.maximum(count, 1), 0)
            values += self.weights[pair] * share * result["values"]
            temperature = jnp.exp(-temperatures[pair][0])
            logged |= self._metrics(pair, result, temperature)
        return values, logged, {}

    def _both_ways(self, temperature, mine, everyone, pair, chunk):
        left, right = of_both(mine, pair)
        lefts, rights = of_both(everyone, pair)
        values = self._one_way(temperature, left, rights, chunk)
        values += self._one_way(temperature, right, lefts, chunk)
        stopped = jax.lax.stop_gradient((left, right, lefts, rights))
        left, right, lefts, rights = stopped
        return {
            "rows": left.mask,
            "values": 0.5 * values,
            "there": metrics.hits_first(left, rights, chunk),
            "back": metrics.hits_first(right, lefts, chunk),
        }

    def _one_way(self, temperature, queries, keys, chunk):
        log_scale, bias = temperature
        if self.loss == "infonce":
            return losses.info_nce_one_way(queries, keys, log_scale, chunk)
        return losses.sigmoid_one_way(queries, keys, log_scale, bias, chunk)

    def _metrics(self, pair, result, temperature):
        temperature = jnp.full_like(result["values"], temperature)
        if pair == ("image", "expression"):
            there, back = "image", "expression"
        else:
            there, back = "_to_".join(pair), "_to_".join(reversed(pair))
        logged = {
            f"recall1_{there}": result["there"],
            f"recall1_{back}": result["back"],
            temperature_name(pair): temperature,
        }
        if not self.spec.text_dim:  # all rows of the mask have both modalities
            return logged
        logged["loss_" + "_".join(pair)] = result["values"]
        return {name: (values, result["rows"]) for name, values in logged.items()}

    def predict(self, params, batch):
        key = jax.random.key(0)  # not used outside training
        return {
            f"z_{name}": self._embed(name, params, batch, key, 0, False)
            for name in self.modalities
            if name in batch or name == "image"
        }
