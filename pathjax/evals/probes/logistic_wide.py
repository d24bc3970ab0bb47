"""Logistic regressions of more features than rows, on the axes of a fold's rows.

    rows of a fold -> their principal axes -> G labels of the same rows, all strengths

A fold's rows are rotated once for all strengths, and for all labels that are asked of
them (`label_sweep`): a thousand genes cost two matrix products a step. What sweeps share
is in sweep.py.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from pathjax.evals.probes.lbfgs import Point, along_path, origin
from pathjax.evals.probes.logistic_path import ABSENT, by_curvature
from pathjax.evals.probes.sweep import (
    EXACT,
    Sweep,
    choose,
    moments,
    rotated,
    side_by_side,
)


def log_probabilities(
    params: Float[Array, "G A K"],
    features: Float[Array, "N A-1"],
    present: Float[Array, "G C"],
) -> Float[Array, "G C N"]:
    """Of rows; the last row of the parameters is the bias. Of two classes K is 1."""
    logits = jnp.einsum("gak,na->gkn", params[:, :-1], features, precision=EXACT)
    logits = logits + params[:, -1][:, :, None]
    if present.shape[1] == 2:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return jax.nn.log_softmax(
        jnp.where(present[:, :, None] > 0, logits, ABSENT), axis=1
    )


def rotated_fits(
    x: Float[Array, "N E"],
    onehot: Float[Array, "G C N"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    l2: Float[Array, "S"],
    *,
    balanced: bool,
    steps: int,
    tolerance: ArrayLike,
    keep: Callable[..., Any],
):
    """Fits R x F x S classifiers of each label.

    Args:
      x: Features, about standardised; a fit standardises them by its own rows.
      onehot: Classes; zeros where a label is not known.
      train, val: Of FoldWeights.
      l2: Strengths, the strongest first.
      balanced, steps, tolerance: See `logistic_sweep`.
      keep: `keep(params, shared, logp)` of an end is returned: its parameters `[G, A, K]`
        of the axes, the function from one label's to kernel `[E, K]` and bias `[K]` of x,
        and the rows' log-probabilities `[G, C, N]`.

    Returns:
      With leading axes R and F: summed losses of the held-out rows `[S, G]`, their
      weight `[G]`, what was kept `[S, ...]`, steps `[S, G]` and gradients `[S, G]`.
    """
    seeds, fits, rows = train.shape
    labels, classes, _ = onehot.shape
    columns = 1 if classes == 2 else classes
    per_class = jnp.einsum("rfn,gcn->rgc", val, onehot, precision=EXACT)
    share = 1.0 / jnp.where((per_class > 0) & balanced, per_class, 1.0)
    train, val = (part.reshape(seeds * fits, rows) for part in (train, val))
    mean, scale = jax.lax.map(functools.partial(moments, x), train)

    def fold(which):
        features, variance, of_x = rotated(x, mean[which], scale[which], train[which])
        counts = jnp.einsum("n,gcn->gc", train[which], onehot, precision=EXACT)
        present = (counts > 0).astype(jnp.float32)
        # Weights of a fit sum to 1.
        each = present / jnp.where((counts > 0) & balanced, counts, 1.0)
        total = jnp.sum(each * counts, axis=1, keepdims=True)
        each = each / jnp.maximum(total, 1e-9)
        weight = train[which][None, :] * jnp.einsum("gcn,gc->gn", onehot, each)
        weight = weight[:, None, :]
        # A class that a fit never saw costs every strength the same: left out.
        held = jnp.einsum("gcn,gc->gn", onehot, share[which // fits] * present)
        held = held * val[which][None, :]

        def evaluate(params):
            logp = log_probabilities(params, features, present)
            chance = jnp.exp(logp)
            slope = (weight * (chance - onehot))[:, -columns:]
            curve = (weight * chance * (1 - chance))[:, -columns:].sum(axis=2)
            pull = jnp.einsum("gkn,na->gak", slope, features, precision=EXACT)
            push = slope.sum(axis=2)[:, None, :]
            loss = -jnp.sum(weight * onehot * logp, axis=(1, 2))
            gradient = jnp.concatenate([pull, push], axis=1)
            return Point(params, loss, gradient, curve)

        def shared(params):
            kernel = jax.vmap(of_x, 1, 1)(params[:-1])
            return kernel, params[-1] - jnp.matmul(mean[which], kernel, precision=EXACT)

        def read(point):
            logp = log_probabilities(point.params, features, present)
            own = jnp.maximum(jnp.sum(onehot * logp, axis=1), -50.0)
            return -jnp.sum(held * own, axis=1), keep(point.params, shared, logp)

        (losses, kept), count, gradient = along_path(
            evaluate,
            l2,
            origin(labels, features.shape[1] + 1, columns),
            curvature=jnp.append(variance / 4, 1.0),
            free=1,
            precondition=lambda l2, vector, point: by_curvature(
                l2, vector, point.more, variance
            ),
            read=read,
            steps=steps,
            tolerance=tolerance,
        )
        return losses, held.sum(axis=1), kept, count, gradient

    found = side_by_side(fold, seeds * fits, rows, min(x.shape) + 2 * labels * classes)
    return jax.tree.map(lambda part: part.reshape(seeds, fits, *part.shape[1:]), found)


@functools.partial(jax.jit, static_argnames=("balanced", "final", "steps"))
def label_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "G N"],
    train: Float[Array, "1 F N"],
    val: Float[Array, "1 F N"],
    l2: Float[Array, "S"],
    *,
    balanced: bool,
    final: int,
    steps: int = 300,
    tolerance: ArrayLike = 1e-4,
) -> Sweep:
    """Two classes of each of G labels of the same rows, each with its own strength.

    Args:
      x: Features of all rows, those to predict too: they count in no fit.
      y: Class numbers, 0 or 1; -1 where a label is not known.
      train, val, final: Of FoldWeights, of one seed.
      l2, balanced, steps, tolerance: See `logistic_sweep`.

    Returns:
      Prediction `[G, N, 1]` of all rows, the probability of class 1; labels stand in
      the place of seeds.
    """
    onehot = jnp.moveaxis(jax.nn.one_hot(y, 2), 2, 1)
    centre, spread = moments(x, (train.sum(axis=(0, 1)) > 0).astype(jnp.float32))
    losses, held, kept, count, gradient = rotated_fits(
        (x - centre[None, :]) / spread[None, :],
        *(onehot, train, val, l2),
        balanced=balanced,
        steps=steps,
        tolerance=tolerance,
        keep=lambda params, shared, logp: logp[:, 1],
    )
    loss, choice = choose(jnp.moveaxis(losses[0], 2, 0), held[0].T)
    ends = (
        part[0, final][choice, jnp.arange(len(y))] for part in (kept, count, gradient)
    )
    logp, count, gradient = ends
    return Sweep(jnp.exp(logp)[..., None], choice, loss, count, gradient)
