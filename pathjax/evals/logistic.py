"""Logistic regression probes over cached embeddings, many fits side by side.

    x, y, Plan's weights, strengths -> logistic_sweep (jitted) -> Sweep

What holds for all probes is said in probes.py. All fits of a sweep multiply the same
features, whatever rows they count, so that one matrix product serves them all.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from pathjax.evals.probes import EXACT, Sweep, choose, moments

# A masked logit: far below any other, and finite so that 0 * it is 0.
ABSENT = -1e9
# Fits run side by side while their log-probabilities and what L-BFGS keeps beside them,
# about this many arrays of that size, fit into 128 MiB.
AT_ONCE, COPIES = 1 << 27, 8


class LogisticFit(NamedTuple):
    """P fitted classifiers on shared features: softmax(((x - mean) / scale) @ w + b).

    With two classes K is 1 and the one logit is the second class's, which makes the
    penalty scikit-learn's; with C > 2 classes K is C.
    """

    mean: Float[Array, "E"]
    scale: Float[Array, "E"]
    kernel: Float[Array, "P E K"]
    bias: Float[Array, "P K"]
    present: Float[Array, "P C"]
    steps: Int[Array, "P"]
    gradient: Float[Array, "P"]


def _log_softmax(kernel, bias, present, x):
    """`[N, C]` log-probabilities; classes with no weight in the fit are impossible."""
    logits = jnp.matmul(x, kernel, precision=EXACT) + bias[None, :]
    if present.shape[0] == 2:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return jax.nn.log_softmax(jnp.where(present[None, :] > 0, logits, ABSENT), axis=1)


def minimise(loss, start, steps: int, tolerance: ArrayLike):
    """L-BFGS (Liu & Nocedal 1989) until the gradient's largest entry is small.

    Returns:
      parameters, steps taken, and that largest entry.
    """
    # The loss is convex, so sufficient decrease alone keeps the curvature pairs
    # positive. optax's default, a zoom search, costs 4 times as much under vmap, where
    # both branches of its conditions run for every fit. Nor does the search keep the
    # gradient: it would do so in a condition, and under vmap what a condition closes
    # over is copied for every fit, the features too.
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=20,
        decrease_factor=0.5,
        increase_factor=1e6,  # each search starts at 1, the quasi-Newton step
        rtol=1e-6,  # float32 cannot see a smaller decrease
    )
    solver = optax.lbfgs(linesearch=search)

    def largest(grad):
        leaves = jax.tree.leaves(grad)
        return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))

    def unfinished(carry):
        _, _, count, _, grad = carry
        return (count < steps) & (largest(grad) > tolerance)

    def advance(carry):
        params, state, count, value, grad = carry
        # Under vmap finished fits run along until the last is done, and at the floor
        # of rounding their line search would try all its steps each time, and make
        # all wait: a zero gradient ends it at once. Their result is discarded.
        active = unfinished(carry)
        grad = jax.tree.map(lambda leaf: jnp.where(active, leaf, 0.0), grad)
        updates, state = solver.update(
            grad, state, params, value=value, grad=grad, value_fn=loss
        )
        params = optax.apply_updates(params, updates)
        return params, state, count + 1, *jax.value_and_grad(loss)(params)

    begin = (start, solver.init(start), 0, *jax.value_and_grad(loss)(start))
    params, _, count, _, grad = jax.lax.while_loop(unfinished, advance, begin)
    return params, count, largest(grad)


def _fit_logistic(x, onehot, mean, scale, weight, l2, balanced, steps, tolerance):
    """One classifier on x that is standardised already up to this fit's own rows."""
    per_class = jnp.matmul(weight, onehot, precision=EXACT)
    present = (per_class > 0).astype(jnp.float32)
    if balanced:
        share = present / jnp.where(per_class > 0, per_class, 1.0) / present.sum()
        weight = weight * jnp.matmul(onehot, share, precision=EXACT)
    else:
        weight = weight / weight.sum()
    columns = 1 if onehot.shape[1] == 2 else onehot.shape[1]

    # The penalty's curvature is divided out, so that kernel and bias are of one scale
    # to the solver at any strength.
    stiffness = jnp.sqrt(1.0 + l2)

    def shared(params):
        # Standardising by this fit's own rows is folded into the weights, so that all
        # fits of a sweep multiply the same x.
        kernel = params["kernel"] / (stiffness * scale)[:, None]
        return kernel, params["bias"] - jnp.matmul(mean, kernel, precision=EXACT)

    def loss(params):
        logp = _log_softmax(*shared(params), present, x)
        fit = -jnp.sum(weight[:, None] * onehot * logp)
        return fit + 0.5 * l2 / stiffness**2 * jnp.sum(params["kernel"] ** 2)

    start = {
        "kernel": jnp.zeros((x.shape[1], columns)),
        "bias": jnp.zeros((columns,)),
    }
    params, count, gradient = minimise(loss, start, steps, tolerance)
    return *shared(params), present, count, gradient


@functools.partial(jax.jit, static_argnames=("classes", "balanced", "steps"))
def fit_logistic(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    weight: Float[Array, "P N"],
    l2: Float[Array, "P"],
    *,
    classes: int,
    balanced: bool = False,
    steps: int = 300,
    tolerance: ArrayLike = 1e-5,
) -> LogisticFit:
    """P multinomial logistic regressions on shared features, fitted side by side.

    Minimises, for each p, the weighted mean log loss + l2[p] / 2 * |kernel|^2 on
    features standardised by the rows of weight[p]; the bias is not penalised.
    scikit-learn's C is 1 / (l2 * sum of weights).

    Args:
      x: features.
      y: class numbers, 0 to classes - 1; of no matter where the weight is 0.
      weight: how much each row counts in each fit.
      l2: strength of each fit.
      classes: number of classes, at least 2.
      balanced: weigh classes equally (scikit-learn's class_weight="balanced").
      steps, tolerance: L-BFGS stops when the gradient's largest entry is below
        `tolerance`, and after `steps` at the latest.
    """
    x, centre, spread = _standardised(x, weight)
    mean, scale = _moments_of_fits(x, weight)
    fit = functools.partial(
        _fit_logistic, balanced=balanced, steps=steps, tolerance=tolerance
    )
    onehot = jax.nn.one_hot(y, classes)
    parts = jax.vmap(fit, (None, None, 0, 0, 0, 0))(x, onehot, mean, scale, weight, l2)
    return LogisticFit(centre, spread, *parts)


def _standardised(x, weight):
    """x by the mean and spread of all rows that some fit counts, and those."""
    x = x.astype(jnp.float32)
    centre, spread = moments(x, (weight.sum(axis=0) > 0).astype(jnp.float32))
    return (x - centre[None, :]) / spread[None, :], centre, spread


def _moments_of_fits(x, weight):
    """Mean and spread `[P, E]`; one fit at a time, as each needs rows of x anew."""
    return jax.lax.map(functools.partial(moments, x), weight)


def _side_by_side(run, numbers, rows: int, classes: int):
    """run of each number; as many at once as their log-probabilities leave room for."""
    count = len(numbers)
    most = max(1, AT_ONCE // (4 * rows * classes * COPIES))
    if most >= count:
        return jax.vmap(run)(numbers)
    # A divisor: a shorter last batch would be compiled too.
    size = max(one for one in range(1, most + 1) if count % one == 0)
    return jax.lax.map(run, numbers, batch_size=size)


@jax.jit
def predict_logistic(fit: LogisticFit, x: Float[Array, "Q E"]) -> Float[Array, "P Q C"]:
    """Log-probabilities of each row by each of the P fits."""
    x = (x.astype(jnp.float32) - fit.mean[None, :]) / fit.scale[None, :]
    return jax.vmap(_log_softmax, (0, 0, 0, None))(fit.kernel, fit.bias, fit.present, x)


@functools.partial(jax.jit, static_argnames=("classes", "balanced", "final", "steps"))
def logistic_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    train: Float[Array, "R F N"],
    hold: Float[Array, "R F N"],
    l2: Float[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    classes: int,
    balanced: bool,
    final: int,
    steps: int = 300,
    tolerance: ArrayLike = 1e-4,
) -> Sweep:
    """Fits R x F x S classifiers, chooses a strength per seed, predicts the query.

    Args:
      x, y, classes, balanced, steps, tolerance: as in `fit_logistic`.
      train, hold, final: a Plan's.
      l2: strengths, the strongest first (ties go to the first).
      query: rows to predict.
    """
    seeds, fits, rows = train.shape
    many, onehot = len(l2), jax.nn.one_hot(y, classes)
    if balanced:
        per_class = jnp.einsum("rfn,nc->rc", hold, onehot, precision=EXACT)
        share = 1.0 / jnp.where(per_class > 0, per_class, 1.0)
        hold = hold * jnp.einsum("rc,nc->rn", share, onehot)[:, None, :]
    train, hold = (part.reshape(seeds * fits, rows) for part in (train, hold))
    x, centre, spread = _standardised(x, train)
    mean, scale = _moments_of_fits(x, train)

    def one(number):
        which, strength = number // many, l2[number % many]
        found = _fit_logistic(
            x,
            onehot,
            mean[which],
            scale[which],
            train[which],
            strength,
            balanced,
            steps,
            tolerance,
        )
        kernel, bias, present = found[:3]
        # A class that a fit never saw costs every strength the same: leave its rows
        # out.
        held = hold[which] * present[y]
        logp = _log_softmax(kernel, bias, present, x)
        logp = jnp.take_along_axis(logp, y[:, None], axis=1)[:, 0]
        return found, -jnp.sum(held * jnp.maximum(logp, -50.0)), held.sum()

    numbers = jnp.arange(seeds * fits * many)
    parts, losses, counts = _side_by_side(one, numbers, rows, classes)
    losses = losses.reshape(seeds, fits, many)
    loss, choice = choose(losses, counts.reshape(seeds, fits, many)[:, :, 0])
    chosen = (jnp.arange(seeds) * fits + final) * many + choice
    probe = LogisticFit(centre, spread, *(part[chosen] for part in parts))
    return Sweep(
        jnp.exp(predict_logistic(probe, query)),
        choice,
        loss,
        probe.steps,
        probe.gradient,
    )
