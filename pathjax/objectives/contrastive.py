"""Contrastive objective: align tiles and expression of the same sample.

ViT over tiles -> aggregate K tiles -> projection; MLP over genes -> projection; unit
length; InfoNCE or the sigmoid loss over the global batch. Samples that share a pair_id
are positives of each other. Which samples those are is the data's choice.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from pathjax import losses, metrics
from pathjax.mesh import over_rows
from pathjax.models.expression import ExpressionMLP
from pathjax.models.towers import Aggregator, Projection, Temperature
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
) -> Objective:
    """Builds the objective.

    Args:
      vit: the encoder.
      n_genes: G, of `expression [B, G]`.
      loss: "infonce" or "sigmoid".
      aggregator: of K tiles, "mean" or "attention".
      embed_dim: E of the shared space.
      widths: of the expression MLP.
      dropout, gene_dropout: of the expression MLP.
      projection_hidden: hidden layer of both projections, 0 for linear ones.
      chunk: rows of the batch, over all devices, that are compared with all others at
        once; 0 is all. Less memory for a very large batch, the same loss.

    Raises:
      ObjectiveError: without genes, or for an unknown loss or aggregator.
    """
    if not n_genes:
        raise ObjectiveError(
            "objective contrastive found no genes: set data.genes or data.gene_list"
        )
    if loss not in ("infonce", "sigmoid"):
        raise ObjectiveError(f"loss={loss!r}: wanted 'infonce' or 'sigmoid'")
    if aggregator not in ("mean", "attention"):
        raise ObjectiveError(f"aggregator={aggregator!r}: wanted 'mean' or 'attention'")
    modules = {
        "aggregator": Aggregator(aggregator),
        "image_head": Projection(embed_dim, projection_hidden),
        "expression": ExpressionMLP(tuple(widths), dropout, gene_dropout),
        "expression_head": Projection(embed_dim, projection_hidden),
        "temperature": Temperature(loss == "sigmoid"),
    }

    def init(key, batch):
        tiles = tiles_like(vit, batch)
        genes = jnp.zeros((1, n_genes), jnp.float32)
        hidden = jnp.zeros((1, widths[-1]), jnp.float32)
        inputs = {
            "aggregator": (tiles,),
            "image_head": (tiles[:, 0],),
            "expression": (genes,),
            "expression_head": (hidden,),
            "temperature": (),
        }
        params = init_encoder(vit, stream(key, "init/vit", 0), batch)
        for name, module in modules.items():
            made = module.init(stream(key, f"init/{name}", 0), *inputs[name])
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
        genes = jnp.where(batch["mask"][:, None], batch["expression"], 0)
        rngs = {"dropout": stream(key, "contrastive/expression", step)}
        hidden = apply(params, "expression", genes, train=train, rngs=rngs)
        return apply(params, "expression_head", hidden)

    def represent(params, extra, batch, key, step, train):
        return {
            "z_image": embed_image(params, batch, key, step, train),
            "z_expression": embed_expression(params, batch, key, step, train),
        }

    def one_way(whole, queries, keys, chunk):
        log_scale, bias = whole
        if loss == "infonce":
            return losses.info_nce_one_way(queries, keys, log_scale, chunk)
        return losses.sigmoid_one_way(queries, keys, log_scale, bias, chunk)

    def compare(params, extra, rows, batch, step, mesh=None):
        devices = 1 if mesh is None else mesh.size
        losses.require_chunk(len(batch["mask"]), chunk, devices)
        at_once = chunk // devices

        def both_ways(whole, rows, gather):
            image, expression = rows
            keys = gather(rows)
            values = one_way(whole, image, keys[1], at_once)
            values += one_way(whole, expression, keys[0], at_once)
            (image, expression), keys = jax.lax.stop_gradient((rows, keys))
            return {
                "values": 0.5 * values,
                "recall1_image": metrics.found_first(image, keys[1], at_once),
                "recall1_expression": metrics.found_first(expression, keys[0], at_once),
            }

        log_scale, bias = apply(params, "temperature")
        sides = [
            losses.emptied(rows[name], batch["mask"], batch["pair_id"])
            for name in ("z_image", "z_expression")
        ]
        logged = over_rows(both_ways, mesh)((log_scale, bias), sides)
        values = logged.pop("values")
        logged["temperature"] = jnp.full_like(values, jnp.exp(-log_scale))
        return values, logged, {}

    def predict(params, batch):
        key = jax.random.key(0)  # nothing is drawn outside training
        found = {"z_image": embed_image(params, batch, key, 0, False)}
        if "expression" in batch:
            found["z_expression"] = embed_expression(params, batch, key, 0, False)
        return found

    return Objective(
        name="contrastive",
        requires=("image", "expression", "mask", "pair_id"),
        init=init,
        represent=represent,
        compare=compare,
        encode=lambda params, image: encode(vit, params["vit"], image),
        export=lambda params, extra: params,
        predict=predict,
    )
