"""Contrastive objective: align tiles, expression and report text of the same sample.

ViT over tiles -> aggregate K tiles -> projection; a gene tower (an MLP over genes, or
another of gene_towers/) -> projection; a layer over frozen text embeddings -> projection;
unit length; InfoNCE or the sigmoid loss over the global batch, for each pair of
modalities. Samples that share a pair_id are positives of each other; the data decides
which samples those are.

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
from pathjax.gene_towers import DEFAULT, GeneTower
from pathjax.losses import spread as spreading
from pathjax.models.towers import (
    Aggregator,
    Projection,
    Temperature,
    TextTower,
    l2_normalise,
)
from pathjax.objectives import concerns
from pathjax.objectives import queue as queues
from pathjax.objectives.objective import Batch, ObjectiveError
from pathjax.objectives.pairs import Comparison, Pair, temperature_name
from pathjax.objectives.with_tower import WithGeneTower
from pathjax.parallel.mesh import over_rows
from pathjax.rng import stream

TRAINED = "trained"  # in the rows of training with a queue


def present(batch: Batch, name: str) -> Bool[Array, "B 1"]:
    """Rows that are not padding and have a modality."""
    rows = batch["mask"]
    if f"has_{name}" in batch:
        rows = rows & batch[f"has_{name}"]
    return rows[:, None]


@dataclasses.dataclass(frozen=True)
class Contrastive(WithGeneTower):
    """Images, expression and text in one space.

    Attributes:
      loss: "infonce" or "sigmoid".
      aggregator: How K tiles are pooled, "mean" or "attention".
      embed_dim: E, dimensions of the shared space.
      expression_tower: What embeds expression: `name` and its options (docs/towers.md).
      widths: Hidden widths of the gene tower.
      dropout: Dropout in the gene tower and the text tower.
      gene_dropout: Dropout of genes, before the gene tower.
      projection_hidden: Width of a hidden layer of the projections; 0 for none.
      chunk: Rows of the batch, over all devices, that are compared with all others at
        once; 0 for all. Saves memory in very large batches; the loss is the same.
      text_width: Hidden width of the text tower.
      image_expression, image_text, expression_text: Weight of the pair's loss; 0
        leaves the pair out. Those with text apply only if there is text.
      queue: Samples of earlier batches that are further negatives in training; 0 for
        none.
      soft_targets: Share of the targets that is given to similar samples, 0 to 1; the
        rest is the positives'.
      soft_temperature: Temperature of the softmax over similarities.
      soft_by: Similarity of samples: "embeddings", the mean of both modalities' (BLEEP),
        or "expression", the cosine of their z-scored genes.
      label_smoothing: Share of the targets that is given to all candidates alike.
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
    expression_tower: GeneTower = DEFAULT
    widths: Sequence[int] = (512, 512)
    dropout: float = 0.1
    gene_dropout: float = 0.0
    projection_hidden: int = 0
    chunk: int = 0
    text_width: int = 256
    image_expression: float = 1.0
    image_text: float = 1.0
    expression_text: float = 0.0
    queue: int = 0
    soft_targets: float = 0.0
    soft_temperature: float = 0.1
    soft_by: Literal["embeddings", "expression"] = "embeddings"
    label_smoothing: float = 0.0

    def problems(self, batch: int) -> list[str]:
        problems = super().problems(batch)
        choices = {
            "loss": ("infonce", "sigmoid"),
            "aggregator": ("mean", "attention"),
            "soft_by": ("embeddings", "expression"),
        }
        problems += [
            f"{name}={getattr(self, name)!r}: expected {' or '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        sizes = {"embed_dim": self.embed_dim, "text_width": self.text_width}
        sizes |= {"widths": min(self.widths, default=0)}
        problems += [f"{k}={v}: expected at least 1" for k, v in sizes.items() if v < 1]
        for name in ("dropout", "gene_dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(
                    f"{name}={getattr(self, name)}: expected 0 <= {name} < 1"
                )
        for name in ("image_expression", "image_text", "expression_text", "queue"):
            if not 0 <= getattr(self, name) < float("inf"):
                problems.append(f"{name}={getattr(self, name)}: expected 0 or more")
        if not self.soft_temperature > 0:
            problems.append(
                f"soft_temperature={self.soft_temperature}: expected a number above 0"
            )
        for name in ("soft_targets", "label_smoothing"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                problems.append(f"{name}={value}: expected 0 to 1")
            elif value and self.loss != "infonce":
                problems.append(f"{name}={value}: needs loss=infonce")
        if batch and self.chunk:
            try:
                losses.require_chunk(batch, self.chunk)
            except losses.ChunkError as error:
                problems.append(str(error))
        return problems

    @functools.cached_property
    def targets(self) -> losses.Targets:
        """What InfoNCE's cross-entropy is taken to."""
        return losses.Targets(
            self.soft_targets, self.soft_temperature, self.label_smoothing
        )

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
            "expression": self.expression_tower.module(
                self.spec.resources, self.shared
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
            "expression": self.genes_like(),
            "text": (jnp.zeros((1, self.spec.text_dim), jnp.float32),),
            "text_head": (jnp.zeros((1, self.text_width), jnp.float32),),
        }
        params = self.init_encoder(stream(key, "init/vit", 0))
        for name, module in self.modules.items():
            chosen = stream(key, f"init/{name}", 0)
            out, made = module.init_with_output(chosen, *inputs.get(name, ()))
            if name == "expression":  # the width is the tower's own
                inputs["expression_head"] = (jnp.zeros_like(out),)
            if made:  # the mean has no parameters
                params[name] = made["params"]
        if not self.queue:
            return params, {}
        waiting = queues.empty(self.queue, self.modalities, self.embed_dim)
        return params, {"queue": waiting}

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
            if name == "expression":
                rows = self.genes_of(batch, known)
            else:
                rows = (jnp.where(known, batch[name], 0),)
            rngs = {"dropout": stream(key, f"contrastive/{name}", step)}
            hidden = self._apply(params, name, *rows, train=train, rngs=rngs)
        return self._apply(params, f"{name}_head", hidden)

    @property
    def modalities(self) -> tuple[str, ...]:
        text = ("text",) if self.spec.text_dim else ()
        return ("image", "expression", *text)

    def represent(self, params, extra, batch, key, step, train):
        rows = {
            f"z_{name}": self._embed(name, params, batch, key, step, train)
            for name in self.modalities
        }
        if self.queue and train:  # validation has the batch's negatives alone
            rows[TRAINED] = jnp.zeros(len(batch["mask"]), jnp.float32)
        return rows

    def compare(self, params, extra, rows, batch, step, mesh=None):
        mask, devices = batch["mask"], 1 if mesh is None else mesh.size
        losses.require_chunk(len(mask), self.chunk, devices)
        chunk = self.chunk // devices
        queue = extra["queue"] if TRAINED in rows else None

        def all_rows(whole, mine, gather):
            temperatures, queue = whole
            everyone = gather(mine)
            earlier = None if queue is None else queues.rows_of(queue)
            comparison = Comparison(self.loss, self.targets, self.soft_by, chunk)
            pairs = {
                pair: comparison.both_ways(
                    temperatures[pair], mine, everyone, earlier, pair
                )
                for pair in self.pairs
            }
            mine, everyone = jax.lax.stop_gradient((mine, everyone))
            spread = {
                name: comparison.spread(rows, everyone[name])
                for name, rows in mine.items()
            }
            return pairs, spread

        sides = {
            name: losses.emptied(
                rows[f"z_{name}"], present(batch, name)[:, 0], batch["pair_id"]
            )
            for name in self.modalities
        }
        temperatures = {
            pair: self._apply(params, temperature_name(pair)) for pair in self.pairs
        }
        similar = self._similar(sides, batch)
        whole = (temperatures, queue)
        pairs, spread = over_rows(all_rows, mesh)(whole, similar)
        values, logged = jnp.zeros(len(mask), jnp.float32), {}
        for pair, result in pairs.items():
            # So that the mean over the batch's rows is the mean over rows with both.
            count = result["rows"].sum()
            share = jnp.where(count > 0, mask.sum() / jnp.maximum(count, 1), 0)
            values += self.weights[pair] * share * result["values"]
            temperature = jnp.exp(-temperatures[pair][0])
            logged |= self._metrics(pair, result, temperature)
        for name, result in spread.items():
            own = sides[name].mask
            uniform = spreading.uniformity(result["closeness"], own)
            measures = {"uniformity": uniform, "rank": result["rank"]}
            logged |= {
                f"{measure}_{name}": self._of_rows(value, own)
                for measure, value in measures.items()
            }
        if queue is None:
            return values, logged, {}
        return values, logged, {"queue": queues.pushed(queue, sides, mask)}

    def update_extra(self, extra, params, aux, step):
        return aux

    def _similar(self, sides, batch):
        """The sides, with the genes that soft targets compare, if they do."""
        if not self.soft_targets or self.soft_by != "expression":
            return sides
        known = present(batch, "expression")
        if "measured" in batch:
            known = known & batch["measured"]
        genes = l2_normalise(jnp.where(known, batch["expression"], 0))
        return {
            name: dataclasses.replace(rows, similar=genes)
            for name, rows in sides.items()
        }

    def _metrics(self, pair, result, temperature):
        if pair == ("image", "expression"):
            there, back = "image", "expression"
        else:
            there, back = "_to_".join(pair), "_to_".join(reversed(pair))
        name = "_".join(pair)
        suffix = "" if pair == ("image", "expression") else f"_{name}"
        logged = {
            f"recall1_{there}": result["there"],
            f"recall1_{back}": result["back"],
            temperature_name(pair): temperature,
            f"alignment{suffix}": result["alignment"],
        }
        if self.loss == "infonce":
            guess = result["guess"]
            relative = result["values"] / jnp.where(guess > 0, guess, 1)
            logged[f"loss_to_guess{suffix}"] = jnp.where(guess > 0, relative, 0)
        if self.spec.text_dim:
            logged[f"loss_{name}"] = result["values"]
        rows = result["rows"]
        return {name: self._of_rows(value, rows) for name, value in logged.items()}

    def _of_rows(self, value, rows):
        """A metric of some rows; without text, those are all rows of the mask."""
        values = jnp.broadcast_to(value, rows.shape)
        return (values, rows) if self.spec.text_dim else values

    def concerns(self, means):
        suffixes = {
            pair: temperature_name(pair)[len("temperature") :] for pair in self.pairs
        }
        found = concerns.of_contrast(means, suffixes)
        found |= concerns.of_spread(means, self.modalities, self.embed_dim)
        return super().concerns(means) | found

    def predict(self, params, batch):
        key = jax.random.key(0)  # not used outside training
        return {
            f"z_{name}": self._embed(name, params, batch, key, 0, False)
            for name in self.modalities
            if name == "image" or {name, *self.reads_of(name)} <= set(batch)
        }
