"""Contrastive objective: align tiles, expression and report text of the same sample.

ViT over tiles -> aggregate K tiles -> projection; MLP over genes -> projection; a layer
over frozen text embeddings -> projection; unit length; InfoNCE or the sigmoid loss over
the global batch, for each pair of modalities. Samples that share a pair_id are
positives of each other. Which samples those are is the data's choice.

A sample may lack a modality (`has_expression`, `has_text`). A pair's loss is over the
rows that have both, as if the others were not in the batch.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from pathjax import losses
from pathjax.losses import metrics
from pathjax.models.expression import ExpressionMLP
from pathjax.models.towers import Aggregator, Projection, Temperature, TextTower
from pathjax.models.vit import ViTConfig
from pathjax.objectives.objective import (
    Batch,
    Objective,
    ObjectiveError,
    encode,
    init_encoder,
    pool_tiles,
    tiles_like,
)
from pathjax.parallel.mesh import over_rows
from pathjax.rng import stream


def temperature_name(pair: tuple[str, str]) -> str:
    """Where a pair's temperature is among the parameters."""
    if pair == ("image", "expression"):
        return "temperature"
    return f"temperature_{'_'.join(pair)}"


def present(batch: Batch, name: str) -> Bool[Array, "B 1"]:
    """The rows that are no padding and have a modality."""
    rows = batch["mask"]
    if f"has_{name}" in batch:
        rows = rows & batch[f"has_{name}"]
    return rows[:, None]


def of_both(
    sides: dict[str, losses.Rows], pair: tuple[str, str]
) -> tuple[losses.Rows, losses.Rows]:
    """The two sides of a pair, where only the rows that have both count."""
    left, right = (sides[name] for name in pair)
    rows = left.mask & right.mask
    return tuple(dataclasses.replace(one, mask=rows) for one in (left, right))


def build(
    vit: ViTConfig,
    n_genes: int | None,
    *,
    loss: Literal["infonce", "sigmoid"] = "infonce",
    aggregator: Literal["mean", "attention"] = "mean",
    embed_dim: int = 128,
    widths: Sequence[int] = (512, 512),
    dropout: float = 0.1,
    gene_dropout: float = 0.0,
    projection_hidden: int = 0,
    chunk: int = 0,
    text_dim: int = 0,
    text_width: int = 256,
    image_expression: float = 1.0,
    image_text: float = 1.0,
    expression_text: float = 0.0,
) -> Objective:
    """Builds the objective.

    Args:
      vit: the encoder.
      n_genes: G, of `expression [B, G]`.
      loss: "infonce" or "sigmoid".
      aggregator: of K tiles, "mean" or "attention".
      embed_dim: E of the shared space.
      widths: of the expression MLP.
      dropout: of the expression MLP and the text tower.
      gene_dropout: of the expression MLP.
      projection_hidden: hidden layer of the projections, 0 for linear ones.
      chunk: rows of the batch, over all devices, that are compared with all others at
        once; 0 is all. Less memory for a very large batch, the same loss.
      text_dim: T, of `text [B, T]`; 0 is without text. Set by the data (`data.text`).
      text_width: of the text tower.
      image_expression, image_text, expression_text: weights of the pairs' losses; 0
        leaves a pair out. Those with text count only where there is text.

    Raises:
      ObjectiveError: without genes, for an unknown loss or aggregator, or for weights
        of which none is above 0.
    """
    if not n_genes:
        raise ObjectiveError(
            "objective contrastive found no genes: set data.genes or data.gene_list"
        )
    if loss not in ("infonce", "sigmoid"):
        raise ObjectiveError(f"loss={loss!r}: wanted 'infonce' or 'sigmoid'")
    if aggregator not in ("mean", "attention"):
        raise ObjectiveError(f"aggregator={aggregator!r}: wanted 'mean' or 'attention'")
    weights = {("image", "expression"): image_expression}
    if text_dim:
        weights[("image", "text")] = image_text
        weights[("expression", "text")] = expression_text
    if min(weights.values()) < 0 or not any(weights.values()):
        given = ", ".join(f"{a}_{b}={w}" for (a, b), w in weights.items())
        raise ObjectiveError(f"{given}: wanted 0 or more, and one above 0")
    pairs = [pair for pair, weight in weights.items() if weight]
    modules = {
        "aggregator": Aggregator(aggregator),
        "image_head": Projection(embed_dim, projection_hidden),
        "expression": ExpressionMLP(tuple(widths), dropout, gene_dropout),
        "expression_head": Projection(embed_dim, projection_hidden),
    }
    if text_dim:
        modules["text"] = TextTower(text_width, dropout)
        modules["text_head"] = Projection(embed_dim, projection_hidden)
    for pair in pairs:
        modules[temperature_name(pair)] = Temperature(loss == "sigmoid")

    def init(key, batch):
        tiles = tiles_like(vit, batch)
        genes = jnp.zeros((1, n_genes), jnp.float32)
        hidden = jnp.zeros((1, widths[-1]), jnp.float32)
        inputs = {
            "aggregator": (tiles,),
            "image_head": (tiles[:, 0],),
            "expression": (genes,),
            "expression_head": (hidden,),
            "text": (jnp.zeros((1, text_dim), jnp.float32),),
            "text_head": (jnp.zeros((1, text_width), jnp.float32),),
        }
        params = init_encoder(vit, stream(key, "init/vit", 0), batch)
        for name, module in modules.items():
            made = module.init(stream(key, f"init/{name}", 0), *inputs.get(name, ()))
            if made:  # the mean has no parameters
                params[name] = made["params"]
        return params, {}

    def apply(params, name, *inputs, **options):
        variables = {"params": params.get(name, {})}
        return modules[name].apply(variables, *inputs, **options)

    def embed_image(params, batch, key, step, train):
        drawn = stream(key, "contrastive/vit", step)
        tiles = pool_tiles(vit, params, batch, train=train, key=drawn)
        pooled = apply(params, "aggregator", tiles, batch.get("tile_mask"))
        return apply(params, "image_head", pooled)

    def embed_expression(params, batch, key, step, train):
        # Padding may hold anything; a NaN must not meet a product.
        genes = jnp.where(present(batch, "expression"), batch["expression"], 0)
        rngs = {"dropout": stream(key, "contrastive/expression", step)}
        hidden = apply(params, "expression", genes, train=train, rngs=rngs)
        return apply(params, "expression_head", hidden)

    def embed_text(params, batch, key, step, train):
        vectors = jnp.where(present(batch, "text"), batch["text"], 0)
        rngs = {"dropout": stream(key, "contrastive/text", step)}
        hidden = apply(params, "text", vectors, train=train, rngs=rngs)
        return apply(params, "text_head", hidden)

    towers = {"image": embed_image, "expression": embed_expression}
    if text_dim:
        towers["text"] = embed_text

    def represent(params, extra, batch, key, step, train):
        return {
            f"z_{name}": embed(params, batch, key, step, train)
            for name, embed in towers.items()
        }

    def one_way(temperature, queries, keys, chunk):
        log_scale, bias = temperature
        if loss == "infonce":
            return losses.info_nce_one_way(queries, keys, log_scale, chunk)
        return losses.sigmoid_one_way(queries, keys, log_scale, bias, chunk)

    def compare(params, extra, rows, batch, step, mesh=None):
        mask, devices = batch["mask"], 1 if mesh is None else mesh.size
        losses.require_chunk(len(mask), chunk, devices)
        at_once = chunk // devices

        def all_pairs(temperatures, mine, gather):
            everyone = gather(mine)
            return {
                pair: both_ways(temperatures[pair], mine, everyone, pair)
                for pair in pairs
            }

        def both_ways(temperature, mine, everyone, pair):
            left, right = of_both(mine, pair)
            lefts, rights = of_both(everyone, pair)
            values = one_way(temperature, left, rights, at_once)
            values += one_way(temperature, right, lefts, at_once)
            stopped = jax.lax.stop_gradient((left, right, lefts, rights))
            left, right, lefts, rights = stopped
            return {
                "rows": left.mask,
                "values": 0.5 * values,
                "there": metrics.found_first(left, rights, at_once),
                "back": metrics.found_first(right, lefts, at_once),
            }

        sides = {
            name: losses.emptied(
                rows[f"z_{name}"], present(batch, name)[:, 0], batch["pair_id"]
            )
            for name in towers
        }
        temperatures = {pair: apply(params, temperature_name(pair)) for pair in pairs}
        found = over_rows(all_pairs, mesh)(temperatures, sides)
        values, logged = jnp.zeros(len(mask), jnp.float32), {}
        for pair, one in found.items():
            # The mean over the batch's rows is then that over the rows with both.
            count = one["rows"].sum()
            share = jnp.where(count > 0, mask.sum() / jnp.maximum(count, 1), 0)
            values += weights[pair] * share * one["values"]
            logged |= metrics_of(pair, one, jnp.exp(-temperatures[pair][0]))
        return values, logged, {}

    def metrics_of(pair, one, temperature):
        temperature = jnp.full_like(one["values"], temperature)
        if pair == ("image", "expression"):
            logged = {
                "recall1_image": one["there"],
                "recall1_expression": one["back"],
                "temperature": temperature,
            }
        else:
            there, back = "_to_".join(pair), "_to_".join(reversed(pair))
            logged = {
                f"recall1_{there}": one["there"],
                f"recall1_{back}": one["back"],
                temperature_name(pair): temperature,
            }
        if not text_dim:  # all rows of the mask have both
            return logged
        logged["loss_" + "_".join(pair)] = one["values"]
        return {name: (values, one["rows"]) for name, values in logged.items()}

    def predict(params, batch):
        key = jax.random.key(0)  # nothing is drawn outside training
        return {
            f"z_{name}": embed(params, batch, key, 0, False)
            for name, embed in towers.items()
            if name in batch or name == "image"
        }

    return Objective(
        name="contrastive",
        requires=(
            *("image", "expression", "mask", "pair_id"),
            *(("text", "has_expression", "has_text") if text_dim else ()),
        ),
        init=init,
        represent=represent,
        compare=compare,
        encode=lambda params, image: encode(vit, params["vit"], image),
        export=lambda params, extra: params,
        predict=predict,
    )
