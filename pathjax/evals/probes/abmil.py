"""The slide-level probe of kaiko's eva: gated attention over bags of tiles.

`abmil_fit` is the solver, `Abmil` the probe.

Attention-based multiple instance learning (Ilse et al. 2018, arXiv:1802.04712) as eva
has it (github.com/kaiko-ai/eva at 73b61a7, vision/models/networks/abmil.py and
configs/vision/pathology/offline/classification/panda.yaml):

    h = x W + b                                to 128
    a = softmax over instances of  w (tanh(h U + u) * sigmoid(h V + v)) + c
    logits = MLP 128, 64, ReLU  of  sum of a h

AdamW at 1e-3, batches of 32 slides, at most 100 epochs, balanced accuracy on the
validation slides after each, stopped after 20 without a better one; 20 runs. As in the
linear probe, eva's default scheduler makes it a third of the learning rate during the
first 5 epochs, and weights decay by torch's 0.01. There is no dropout in it.

eva marks padding by rows of -inf; here a mask does, and what is under it does not
matter. A bag without any instance attends to nothing: its pooled features are 0. eva
takes a sample's first 1,000 tiles in a shuffled order; here a larger bag is thinned
evenly, which does not depend on a seed.

The fit fold is eva's train, the select fold its val, which chooses the epoch. Where a
task names no select fold, a fifth of the fit fold's patients, stratified, is held out.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from pathjax.evals.probes.base import Fit, Problem, class_probabilities
from pathjax.evals.probes.minibatch import (
    EpochProbe,
    Fits,
    Recipe,
    class_loss,
    fit_runs,
    macro_recall,
    predicted_class,
    uniform_linear,
)
from pathjax.evals.probes.sweep import EXACT

LEARNING_RATE = 1e-3
PART_BYTES = 1 << 22  # of bags that a step on a CPU reads at once, or one bag's
EVA = Recipe(batch=32, epochs=100, patience=20)
PROJECTED = 128
ATTENTION = 128
MLP = (128, 64)


@dataclasses.dataclass(frozen=True)
class Abmil(EpochProbe):
    """eva's attention probe of samples.

    Attributes:
      learning_rate: Of AdamW.
      bag: The most tiles of a sample, evenly spaced among its own.
    """

    kinds = ("classification",)
    samples_only = True
    seeds: int = 20
    folds: int = 5
    learning_rate: float = LEARNING_RATE
    bag: int = 1000

    def fit(self, problem: Problem) -> Fit:
        assert problem.bags is not None, "a problem of samples has bags"
        roles = [*problem.learned, "test"]
        x, bags = problem.bags([problem.rows[role] for role in roles], self.bag)
        parts = {
            role: (*bag, problem.labels[role])
            for role, bag in zip(roles, bags, strict=True)
        }
        role, fitted, held_out, where = self.validation(problem)
        train = [part[fitted] for part in parts["fit"]]
        val = [part[held_out] for part in parts[role]]
        length = bags[0][0].shape[1]
        recipe, step_bytes = in_parts(EVA, length, x.shape[1])
        fits, logits = self.run(
            functools.partial(
                abmil_fit,
                classes=problem.classes,
                learning_rate=self.learning_rate,
                recipe=recipe,
            ),
            [x, *train, *val, *parts["test"][:2]],
            step_bytes,
        )
        info = {
            "chosen_by": f"{where}: epoch",
            "groups": "none: samples are shuffled",
            "best_epoch": fits.epoch.tolist(),
            "epochs": fits.epochs.tolist(),
            "tiles_in_a_bag": length,
        }
        rates = (self.learning_rate,) * self.seeds
        return Fit(class_probabilities(logits), rates, info)


def in_parts(recipe: Recipe, length: int, width: int) -> tuple[Recipe, int]:
    """The recipe for bags padded to so many tiles, and the bytes that a step reads at once.

    On a CPU a batch of bags is taken in parts, since several copies of it are made.
    """
    size, parts = 4 * recipe.batch * length * width, 1
    if jax.default_backend() == "cpu":
        parts = min(recipe.batch, 1 << (-(-size // PART_BYTES) - 1).bit_length())
    return dataclasses.replace(recipe, parts=parts), size // parts


def abmil_init(key: Key[Array, ""], width: int, logits: int) -> dict[str, Any]:
    """First parameters for features of this width, and so many logits."""
    sizes = {
        "project": (width, PROJECTED),
        "tanh": (PROJECTED, ATTENTION),
        "sigmoid": (PROJECTED, ATTENTION),
        "attend": (ATTENTION, 1),
        "mlp0": (PROJECTED, MLP[0]),
        "mlp1": (MLP[0], MLP[1]),
        "mlp2": (MLP[1], logits),
    }
    keys = jax.random.split(key, len(sizes))
    return {
        name: uniform_linear(own, *size)
        for own, (name, size) in zip(keys, sizes.items(), strict=True)
    }


def _linear(params, x):
    kernel, bias = params["kernel"], params["bias"]
    return jnp.matmul(x, kernel, precision=EXACT) + jnp.expand_dims(
        bias, tuple(range(x.ndim - 1))
    )


def abmil_attention(
    params: dict[str, Any], h: Float[Array, "B M D"], mask: Bool[Array, "B M"]
) -> Float[Array, "B M"]:
    """How much each instance counts in its bag: sums to 1 over those of the mask."""
    gated = jnp.tanh(_linear(params["tanh"], h))
    gated *= jax.nn.sigmoid(_linear(params["sigmoid"], h))
    logits = jnp.where(mask, _linear(params["attend"], gated)[..., 0], -jnp.inf)
    # Softmax by hand: the largest of an empty bag is -inf, and its sum 0.
    largest = jax.lax.stop_gradient(logits.max(axis=1, keepdims=True))
    share = jnp.exp(logits - jnp.where(jnp.isfinite(largest), largest, 0.0))
    total = share.sum(axis=1, keepdims=True)
    return share / jnp.where(total > 0, total, 1.0)


def abmil_logits(
    params: dict[str, Any], bags: Float[Array, "B M E"], mask: Bool[Array, "B M"]
) -> Float[Array, "B K"]:
    """Logits of each bag, by one run's parameters; padding may hold anything."""
    # Also keeps what is under the mask out of gradients, where 0 * inf would be NaN.
    x = jnp.where(mask[..., None], bags, 0).astype(jnp.float32)
    h = _linear(params["project"], x)
    attention = abmil_attention(params, h, mask)
    pooled = jnp.einsum("bm,bmd->bd", attention, h, precision=EXACT)
    for layer in ("mlp0", "mlp1"):
        pooled = jax.nn.relu(_linear(params[layer], pooled))
    return _linear(params["mlp2"], pooled)


def logits_of_all(
    params: dict[str, Any],
    x: Float[Array, "T E"],
    bags: Int[Array, "N M"],
    mask: Bool[Array, "N M"],
    recipe: Recipe,
) -> Float[Array, "N K"]:
    """`abmil_logits`, of as many bags at once as a step of training reads."""

    def logits(bag):
        return abmil_logits(params, x[bag[0]][None], bag[1][None])[0]

    return jax.lax.map(logits, (bags, mask), batch_size=recipe.batch // recipe.parts)


@functools.partial(jax.jit, static_argnames=("classes", "recipe"))
def abmil_fit(
    x: Float[Array, "T E"],
    bags: Int[Array, "N M"],
    mask: Bool[Array, "N M"],
    y: Int[Array, "N"],
    val_bags: Int[Array, "V L"],
    val_mask: Bool[Array, "V L"],
    val_y: Int[Array, "V"],
    query_bags: Int[Array, "Q J"],
    query_mask: Bool[Array, "Q J"],
    seeds: Int[Array, "R"],
    *,
    classes: int,
    learning_rate: float = LEARNING_RATE,
    recipe: Recipe = EVA,
) -> tuple[Fits, Float[Array, "R Q K"]]:
    """Fits R probes side by side and applies them to the query bags.

    Besides the tiles, a step needs memory for R batches of bags, or parts of them.

    Args:
      x: All tiles.
      bags, mask, y: Training bags as numbers of tiles, padded to one length, and their
        class numbers.
      val_bags, val_mask, val_y: What the epoch is chosen on.
      query_bags, query_mask: Bags to predict.
      seeds: Of the runs.
      classes: Number of classes, at least 2.
      learning_rate, recipe: The protocol's.

    Returns:
      The fits, and logits of the query bags.
    """
    every_bag = functools.partial(logits_of_all, recipe=recipe)
    fits = fit_runs(
        # Two classes have one logit.
        init=lambda key: abmil_init(key, x.shape[1], 1 if classes == 2 else classes),
        loss=lambda params, index, weight: class_loss(
            abmil_logits(params, x[bags[index]], mask[index]), y[index], weight
        ),
        score=lambda params: macro_recall(
            predicted_class(every_bag(params, x, val_bags, val_mask)), val_y, classes
        ),
        seeds=seeds,
        learning_rate=jnp.full((len(seeds),), learning_rate),
        rows=len(bags),
        recipe=recipe,
    )
    logits = jax.vmap(every_bag, (0, None, None, None))(
        fits.params, x, query_bags, query_mask
    )
    return fits, logits
