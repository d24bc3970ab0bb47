"""Logistic regression: `logistic_sweep` the solver, `Logistic` the probe.

Fits of more rows than features go along a path of strengths (logistic_path.py). With
more features than rows, those of a fold multiply its rows' principal axes. What sweeps
share is in sweep.py.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from pathjax.evals.probes.logistic_path import ABSENT, path_sweep
from pathjax.evals.probes.sweep import (
    EXACT,
    GridProbe,
    Sweep,
    choose,
    moments,
    powers_of_ten,
    rotated,
)

# Fits run side by side while their log-probabilities and what L-BFGS keeps beside them,
# about this many arrays of that size, fit into 128 MiB.
AT_ONCE, COPIES = 1 << 27, 8


@dataclasses.dataclass(frozen=True)
class Logistic(GridProbe):
    """Multinomial logistic regression.

    Attributes:
      l2: The grid, per unit of sample weight: scikit-learn's C is 1 / (l2 * n).
      balanced: Classes weigh equally in the loss, as they do in the metric.
      steps, tolerance: Of L-BFGS.
    """

    kinds = ("classification",)
    l2: tuple[float, ...] = powers_of_ten(2, -4, 8)
    balanced: bool = True
    steps: int = 300
    tolerance: float = 1e-4

    @property
    def grid(self):
        return self.l2

    def sweep(self, x, y, grid, query, train, val, *, final, classes):
        return logistic_sweep(
            *(x, y, train, val, grid, query),
            classes=classes,
            balanced=self.balanced,
            final=final,
            steps=self.steps,
            tolerance=self.tolerance,
        )

    def info(self, sweep):
        return {
            "solver_steps": [int(count) for count in sweep.steps],
            "converged": bool((sweep.gradient <= self.tolerance).all()),
        }


def _log_softmax(kernel, bias, present, x):
    """`[N, C]` log-probabilities; classes with no weight in the fit are impossible."""
    logits = jnp.matmul(x, kernel, precision=EXACT) + bias[None, :]
    if present.shape[0] == 2:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return jax.nn.log_softmax(jnp.where(present[None, :] > 0, logits, ABSENT), axis=1)


def minimise(loss, start, steps: int, tolerance: ArrayLike):
    """L-BFGS (Liu & Nocedal 1989) until the gradient's largest entry is small.

    Returns:
      Parameters, steps taken, and that largest entry.
    """
    # The loss is convex, so sufficient decrease alone keeps the curvature pairs
    # positive. Under vmap, where both branches of conditions run for every fit, optax's
    # default, a zoom search, costs 4 times as much, and keeping the search's gradient
    # would copy the features for every fit.
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


def _fit_logistic(
    x, onehot, mean, scale, weight, l2, balanced, steps, tolerance, curvature=1.0
):
    """One classifier on x that is standardised already up to this fit's own rows.

    Minimises the weighted mean log loss + l2 / 2 * |kernel|^2 on features standardised
    by the rows of `weight`; the bias is not penalised. With two classes K is 1 and the
    logit is the second class's, which makes the penalty scikit-learn's; otherwise K is C.

    Returns:
      kernel [E, K], bias [K], present [C], steps, gradient.
    """
    per_class = jnp.matmul(weight, onehot, precision=EXACT)
    present = (per_class > 0).astype(jnp.float32)
    if balanced:
        share = present / jnp.where(per_class > 0, per_class, 1.0) / present.sum()
        weight = weight * jnp.matmul(onehot, share, precision=EXACT)
    else:
        weight = weight / weight.sum()
    columns = 1 if onehot.shape[1] == 2 else onehot.shape[1]

    # The penalty's curvature is divided out, so that kernel and bias are of one scale
    # to the solver at any strength; of rotated features that of the loss too.
    stiffness = jnp.sqrt(curvature + l2)

    def shared(params):
        # Standardising by this fit's own rows is folded into the weights, so that all
        # fits of a sweep multiply the same x.
        kernel = params["kernel"] / (stiffness * scale)[:, None]
        return kernel, params["bias"] - jnp.matmul(mean, kernel, precision=EXACT)

    def loss(params):
        logp = _log_softmax(*shared(params), present, x)
        fit = -jnp.sum(weight[:, None] * onehot * logp)
        kernel = params["kernel"] / jnp.broadcast_to(stiffness, scale.shape)[:, None]
        return fit + 0.5 * l2 * jnp.sum(kernel**2)

    start = {
        "kernel": jnp.zeros((x.shape[1], columns)),
        "bias": jnp.zeros((columns,)),
    }
    params, count, gradient = minimise(loss, start, steps, tolerance)
    return *shared(params), present, count, gradient


def side_by_side(run, count: int, rows: int, classes: int):
    """run of 0 to count - 1; as many at once as their log-probabilities leave room for."""
    numbers = jnp.arange(count)
    most = max(1, AT_ONCE // (4 * rows * classes * COPIES))
    if most >= count:
        return jax.vmap(run)(numbers)
    # A divisor: a shorter last batch would be compiled too.
    size = max(size for size in range(1, most + 1) if count % size == 0)
    return jax.lax.map(run, numbers, batch_size=size)


@functools.partial(jax.jit, static_argnames=("classes", "balanced", "final", "steps"))
def logistic_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    l2: Float[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    classes: int,
    balanced: bool,
    final: int,
    steps: int = 300,
    tolerance: ArrayLike = 1e-4,
) -> Sweep:
    """Fits R x F x S classifiers, chooses one per seed, predicts the query.

    Args:
      x, y: Features and class numbers, 0 to classes - 1.
      train, val, final: Of FoldWeights.
      l2: Regularisations, the strongest first (ties go to the first).
      query: Rows to predict.
      classes: Number of classes, at least 2.
      balanced: Weigh classes equally (scikit-learn's class_weight="balanced").
      steps, tolerance: L-BFGS stops when the gradient's largest entry is below
        `tolerance`, and after `steps` at the latest.
    """
    if x.shape[1] <= len(x):
        return path_sweep(
            *(x, y, train, val, l2, query),
            classes=classes,
            balanced=balanced,
            final=final,
            steps=steps,
            tolerance=tolerance,
        )
    seeds, fits, rows = train.shape
    many, onehot = len(l2), jax.nn.one_hot(y, classes)
    if balanced:
        per_class = jnp.einsum("rfn,nc->rc", val, onehot, precision=EXACT)
        share = 1.0 / jnp.where(per_class > 0, per_class, 1.0)
        val = val * jnp.einsum("rc,nc->rn", share, onehot)[:, None, :]
    train, val = (part.reshape(seeds * fits, rows) for part in (train, val))
    # By the mean and spread of all rows that some fit counts; one fit at a time, as each
    # needs the rows of x anew.
    x = x.astype(jnp.float32)
    centre, spread = moments(x, (train.sum(axis=0) > 0).astype(jnp.float32))
    x = (x - centre[None, :]) / spread[None, :]
    mean, scale = jax.lax.map(functools.partial(moments, x), train)

    def fold(which):
        features, variance, of_x = rotated(x, mean[which], scale[which], train[which])
        still = jnp.zeros(features.shape[1])

        # A class that a fit never saw costs every strength the same: leave its rows out.
        def fit(strength):
            kernel, bias, present, count, gradient = _fit_logistic(
                *(features, onehot, still, still + 1, train[which], strength),
                *(balanced, steps, tolerance, variance / 4),
            )
            held = val[which] * present[y]
            logp = _log_softmax(kernel, bias, present, features)
            logp = jnp.take_along_axis(logp, y[:, None], axis=1)[:, 0]
            loss = -jnp.sum(held * jnp.maximum(logp, -50.0))
            kernel = jax.vmap(of_x, 1, 1)(kernel)
            bias = bias - jnp.matmul(mean[which], kernel, precision=EXACT)
            return (kernel, bias, present, count, gradient), loss, held.sum()

        return jax.vmap(fit)(l2)

    found = side_by_side(fold, seeds * fits, rows, rows)
    parts, losses, counts = jax.tree.map(
        lambda part: part.reshape(-1, *part.shape[2:]), found
    )
    losses = losses.reshape(seeds, fits, many)
    loss, choice = choose(losses, counts.reshape(seeds, fits, many)[:, :, 0])
    last = (jnp.arange(seeds) * fits + final) * many + choice
    kernel, bias, present, count, gradient = (part[last] for part in parts)
    query = (query.astype(jnp.float32) - centre[None, :]) / spread[None, :]
    logp = jax.vmap(_log_softmax, (0, 0, 0, None))(kernel, bias, present, query)
    return Sweep(jnp.exp(logp), choice, loss, count, gradient)
