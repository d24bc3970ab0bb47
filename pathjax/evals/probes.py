"""Probes over cached embeddings: logistic, ridge and k-NN, a whole sweep per compile.

    x, y, Plan's weights, strengths -> *_sweep (jitted) -> Sweep

Pure functions of arrays. Probe seeds, inner folds and strengths are batch dimensions
of one program; rows that do not count have weight 0, so that ragged folds need no
second compile. They read no file, know no task, and measure nothing but the loss that
chooses the strength.

Two facts hold for all of them. Features are standardised with the statistics of the
rows that a fit counts, and no other. The strength is the one of smallest held-out loss
(log loss, squared error), not of the best metric: the metric of a small fold moves in
steps and would pick by luck; ties go to the stronger regularisation.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

# A masked logit: far below any other, and finite so that 0 * it is 0.
ABSENT = -1e9
# Products are exact float32 on every device; TPUs and GPUs would round to fewer bits.
EXACT = jax.lax.Precision.HIGHEST


class Sweep(NamedTuple):
    """Outcome of a sweep over R probe seeds and S strengths (or neighbour counts).

    Attributes:
      prediction: `[R, Q, T]` class probabilities or values of the query rows, by the
        final fit at the chosen strength.
      choice: `[R]` index of the chosen strength.
      loss: `[R, S]` mean held-out loss.
      steps: `[R]` solver steps of the final fit (0 where there is no solver).
      gradient: `[R]` largest entry of its last gradient.
    """

    prediction: Float[Array, "R Q T"]
    choice: Int[Array, "R"]
    loss: Float[Array, "R S"]
    steps: Int[Array, "R"]
    gradient: Float[Array, "R"]


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


class RidgeFit(NamedTuple):
    """One ridge regression per strength: x @ kernel[s] + bias[s]."""

    kernel: Float[Array, "S E G"]
    bias: Float[Array, "S G"]


def moments(
    x: Float[Array, "N E"], weight: Float[Array, "N"]
) -> tuple[Float[Array, "E"], Float[Array, "E"]]:
    """Weighted mean and standard deviation; a constant feature gets scale 1."""
    total = weight.sum()
    mean = jnp.matmul(weight, x, precision=EXACT) / total
    away = x - mean[None, :]
    variance = jnp.matmul(weight, away**2, precision=EXACT) / total
    # Rounding leaves a constant feature a variance of about eps^2 of its square.
    constant = variance <= 1e-10 * (mean**2 + 1e-20)
    return mean, jnp.where(constant, 1.0, jnp.sqrt(jnp.where(constant, 1.0, variance)))


def _log_softmax(kernel, bias, present, x):
    """`[N, C]` log-probabilities; classes with no weight in the fit are impossible."""
    logits = jnp.matmul(x, kernel, precision=EXACT) + bias[None, :]
    if present.shape[0] == 2:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return jax.nn.log_softmax(jnp.where(present[None, :] > 0, logits, ABSENT), axis=1)


def _minimise(loss, start, steps: int, tolerance: float):
    """L-BFGS (Liu & Nocedal 1989) until the gradient's largest entry is small."""
    # The loss is convex, so sufficient decrease alone keeps the curvature pairs
    # positive. optax's default, a zoom search, costs 4 times as much under vmap, where
    # both branches of its conditions run for every fit.
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=20,
        decrease_factor=0.5,
        increase_factor=1e6,  # each search starts at 1, the quasi-Newton step
        rtol=1e-6,  # float32 cannot see a smaller decrease
        store_grad=True,
    )
    solver = optax.lbfgs(linesearch=search)
    value_and_grad = optax.value_and_grad_from_state(loss)

    def largest(state):
        leaves = jax.tree.leaves(optax.tree_utils.tree_get(state, "grad"))
        return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))

    def unfinished(carry):
        _, state = carry
        count = optax.tree_utils.tree_get(state, "count")
        # The gradient in the state is zero before the first step.
        return (count == 0) | ((count < steps) & (largest(state) > tolerance))

    def advance(carry):
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        # Under vmap finished fits run along until the last is done, and at the floor
        # of rounding their line search would try all its steps each time, and make
        # all wait: a zero gradient ends it at once. Their result is discarded.
        active = unfinished(carry)
        grad = jax.tree.map(lambda leaf: jnp.where(active, leaf, 0.0), grad)
        updates, state = solver.update(
            grad, state, params, value=value, grad=grad, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    params, state = jax.lax.while_loop(unfinished, advance, (start, solver.init(start)))
    return params, optax.tree_utils.tree_get(state, "count"), largest(state)


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
    params, count, gradient = _minimise(loss, start, steps, tolerance)
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
    tolerance: float = 1e-5,
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
    x = x.astype(jnp.float32)
    counted = (weight.sum(axis=0) > 0).astype(jnp.float32)
    centre, spread = moments(x, counted)
    x = (x - centre[None, :]) / spread[None, :]
    mean, scale = jax.vmap(moments, (None, 0))(x, weight)
    fit = functools.partial(
        _fit_logistic, balanced=balanced, steps=steps, tolerance=tolerance
    )
    onehot = jax.nn.one_hot(y, classes)
    parts = jax.vmap(fit, (None, None, 0, 0, 0, 0))(x, onehot, mean, scale, weight, l2)
    return LogisticFit(centre, spread, *parts)


def predict_logistic(fit: LogisticFit, x: Float[Array, "Q E"]) -> Float[Array, "P Q C"]:
    """Log-probabilities of each row by each of the P fits."""
    x = (x.astype(jnp.float32) - fit.mean[None, :]) / fit.scale[None, :]
    return jax.vmap(_log_softmax, (0, 0, 0, None))(fit.kernel, fit.bias, fit.present, x)


def _choose(losses, hold):
    """Mean held-out loss `[R, S]` and its smallest, from sums `[R, F, S]`, `[R, F]`."""
    mean = losses.sum(axis=1) / jnp.maximum(hold.sum(axis=1), 1e-9)[:, None]
    return mean, jnp.argmin(mean, axis=1)


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
    tolerance: float = 1e-4,
) -> Sweep:
    """Fits R x F x S classifiers, chooses a strength per seed, predicts the query.

    Args:
      x, y, classes, balanced, steps, tolerance: as in `fit_logistic`.
      train, hold, final: a Plan's.
      l2: strengths, the strongest first (ties go to the first).
      query: rows to predict.
    """
    seeds, fits, rows = train.shape
    many = len(l2)
    weight = jnp.repeat(train.reshape(seeds * fits, rows), many, axis=0)
    fit = fit_logistic(
        x,
        y,
        weight,
        jnp.tile(l2, seeds * fits),
        classes=classes,
        balanced=balanced,
        steps=steps,
        tolerance=tolerance,
    )
    logp = predict_logistic(fit, x)
    logp = jnp.take_along_axis(logp, y[None, :, None], axis=2)[:, :, 0]
    logp = logp.reshape(seeds, fits, many, rows)
    present = fit.present.reshape(seeds, fits, many, classes)[:, :, 0, :]
    # A class that a fit never saw costs every strength the same: leave its rows out.
    onehot = jax.nn.one_hot(y, classes)
    if balanced:
        per_class = jnp.einsum("rfn,nc->rc", hold, onehot, precision=EXACT)
        share = 1.0 / jnp.where(per_class > 0, per_class, 1.0)
        hold = hold * jnp.einsum("rc,nc->rn", share, onehot)[:, None, :]
    hold = hold * jnp.einsum("rfc,nc->rfn", present, onehot)
    losses = -jnp.einsum("rfn,rfsn->rfs", hold, jnp.maximum(logp, -50.0))
    mean, choice = _choose(losses, hold.sum(axis=2))
    chosen = (jnp.arange(seeds) * fits + final) * many + choice
    probe = LogisticFit(fit.mean, fit.scale, *(part[chosen] for part in fit[2:]))
    return Sweep(
        jnp.exp(predict_logistic(probe, query)),
        choice,
        mean,
        probe.steps,
        probe.gradient,
    )


def _decompose(x, y, weight):
    """Weighted, centred SVD: all strengths and targets follow from it by products."""
    mean, scale = moments(x, weight)
    total = weight.sum()
    offset = jnp.matmul(weight, y, precision=EXACT) / total
    root = jnp.sqrt(weight / total)[:, None]
    u, s, vt = jnp.linalg.svd(
        root * (x - mean[None, :]) / scale[None, :], full_matrices=False
    )
    projected = jnp.matmul(u.T, root * (y - offset[None, :]), precision=EXACT)
    return mean, scale, offset, s, vt, projected


def _shrink(s, strength):
    # s^2 + strength is 0 only where the direction is empty; its share is then 0 too.
    return s / jnp.maximum(s**2 + strength, 1e-30)


@jax.jit
def fit_ridge(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    weight: Float[Array, "N"],
    strength: Float[Array, "S"],
) -> RidgeFit:
    """Ridge regression for all strengths and targets from one decomposition.

    Minimises the weighted mean squared error + strength * |kernel|^2 on features
    standardised by the weighted rows, the intercept by centring. scikit-learn's alpha
    is strength * sum of weights. Hastie, Tibshirani & Friedman 2009, eq. 3.47.
    """
    x = x.astype(jnp.float32)
    mean, scale, offset, s, vt, projected = _decompose(x, y, weight)

    def solve(one):
        kernel = jnp.matmul(vt.T, _shrink(s, one)[:, None] * projected, precision=EXACT)
        kernel = kernel / scale[:, None]
        return kernel, offset - jnp.matmul(mean, kernel, precision=EXACT)

    return RidgeFit(*jax.vmap(solve)(strength))


@functools.partial(jax.jit, static_argnames=("final",))
def ridge_sweep(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    train: Float[Array, "R F N"],
    hold: Float[Array, "R F N"],
    strength: Float[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    final: int,
) -> Sweep:
    """Fits R x F ridges at S strengths, chooses one per seed, predicts the query.

    The held-out loss is the squared error, each target divided by its variance over
    the final fit's rows, so that genes count alike. One strength serves all targets.

    Args:
      x, y: features and targets.
      train, hold, final: a Plan's.
      strength: strengths, the strongest first (ties go to the first).
      query: rows to predict.
    """
    seeds, fits, rows = train.shape
    x, query = x.astype(jnp.float32), query.astype(jnp.float32)

    def predict(parts, one, at):
        mean, scale, offset, s, vt, projected = parts
        scores = jnp.matmul(
            (at - mean[None, :]) / scale[None, :], vt.T, precision=EXACT
        )
        kernel = _shrink(s, one)[:, None] * projected
        return jnp.matmul(scores, kernel, precision=EXACT) + offset[None, :]

    def held_out(weights):
        fit_weight, hold_weight, spread = weights
        parts = _decompose(x, y, fit_weight)

        def loss(one):
            error = ((predict(parts, one, x) - y) / spread[None, :]) ** 2
            return jnp.sum(hold_weight * error.mean(axis=1))

        return jax.lax.map(loss, strength)

    _, spread = jax.vmap(moments, (None, 0))(y, train[:, final])
    flat = (
        train.reshape(seeds * fits, rows),
        hold.reshape(seeds * fits, rows),
        jnp.repeat(spread, fits, axis=0),
    )
    losses = jax.lax.map(held_out, flat).reshape(seeds, fits, len(strength))
    mean, choice = _choose(losses, hold.sum(axis=2))

    def final_prediction(one):
        weight, picked = one
        return predict(_decompose(x, y, weight), strength[picked], query)

    prediction = jax.lax.map(final_prediction, (train[:, final], choice))
    none = jnp.zeros((seeds,))
    return Sweep(prediction, choice, mean, none.astype(jnp.int32), none)


@functools.partial(jax.jit, static_argnames=("largest",))
def knn_predict(
    x: Float[Array, "N E"],
    y: Float[Array, "N T"],
    weight: Float[Array, "N"],
    query: Float[Array, "Q E"],
    k: Int[Array, "S"],
    *,
    largest: int,
    temperature: float = 0.07,
) -> Float[Array, "S Q T"]:
    """Weighted means of the k nearest rows by cosine similarity, for every k at once.

    A neighbour of similarity s votes with weight[n] * exp(s / temperature) (0.07: Wu et
    al. 2018, arXiv:1805.01978, kept by DINO). Rows of weight 0 are no neighbours; a row
    drawn twice is one neighbour with two votes. With k above the number of rows, all of
    them vote. With one-hot `y` the result is vote shares.

    Args:
      x, y, weight: the rows that vote, and what they say.
      query: rows to predict.
      k: neighbour counts.
      largest: the largest of `k`, known at compile time.
    """

    def unit(rows):
        rows = rows.astype(jnp.float32)
        norm = jnp.linalg.norm(rows, axis=1, keepdims=True)
        return rows / jnp.maximum(norm, 1e-12)

    known = unit(x)
    largest = min(largest, x.shape[0])

    def one(row):
        similarity = jnp.matmul(known, row, precision=EXACT)
        near, index = jax.lax.top_k(
            jnp.where(weight > 0, similarity, -jnp.inf), largest
        )
        # The nearest has share 1 before its weight: no overflow, and never all zero.
        vote = weight[index] * jnp.exp((near - near[0]) / temperature)
        vote = jnp.where(jnp.arange(largest)[None, :] < k[:, None], vote[None, :], 0.0)
        total = vote.sum(axis=1, keepdims=True)
        return jnp.matmul(vote / total, y[index], precision=EXACT)

    # Query rows in pieces: the similarities of all at once need Q x N numbers.
    return jnp.swapaxes(jax.lax.map(one, unit(query), batch_size=256), 0, 1)


@functools.partial(jax.jit, static_argnames=("final", "largest"))
def knn_sweep(
    x: Float[Array, "N E"],
    y: Float[Array, "N T"],
    train: Float[Array, "R F N"],
    hold: Float[Array, "R F N"],
    k: Int[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    final: int,
    largest: int,
    temperature: float = 0.07,
) -> Sweep:
    """Chooses k per probe seed by held-out squared error (Brier 1950), then predicts.

    Args:
      x, y: features and one-hot classes (or values).
      train, hold, final: a Plan's.
      k: neighbour counts, the largest first (ties go to the first).
      query: rows to predict.
      largest, temperature: as in `knn_predict`.
    """
    seeds, fits, rows = train.shape
    vote = functools.partial(knn_predict, largest=largest, temperature=temperature)

    def held_out(weights):
        fit_weight, hold_weight = weights
        error = (vote(x, y, fit_weight, x, k) - y[None]) ** 2
        return jnp.matmul(error.sum(axis=2), hold_weight, precision=EXACT)

    flat = (train.reshape(seeds * fits, rows), hold.reshape(seeds * fits, rows))
    losses = jax.lax.map(held_out, flat).reshape(seeds, fits, len(k))
    mean, choice = _choose(losses, hold.sum(axis=2))

    def final_prediction(one):
        weight, picked = one
        return vote(x, y, weight, query, k[picked][None])[0]

    prediction = jax.lax.map(final_prediction, (train[:, final], choice))
    none = jnp.zeros((seeds,))
    return Sweep(prediction, choice, mean, none.astype(jnp.int32), none)
