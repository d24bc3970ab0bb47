"""Ridge and k-NN probes over cached embeddings, and what all probes share.

    x, y, Plan's weights, strengths -> *_sweep (jitted) -> Sweep

Pure functions of arrays. Probe seeds, inner folds and strengths are batch dimensions
of one program; rows that do not count have weight 0, so that ragged folds need no
second compile. Logistic regression is in logistic.py. A probe reads no file, knows no
task, and measures nothing but the loss that chooses the strength.

Two facts hold for all of them. Features are standardised with the statistics of the
rows that a fit counts, and no other. The strength is the one of smallest held-out loss
(log loss, squared error), not of the best metric: the metric of a small fold moves in
steps and would pick by luck; ties go to the stronger regularisation.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

# Products are exact float32 on every device; TPUs and GPUs would round to fewer bits.
EXACT = jax.lax.Precision.HIGHEST
ROWS_AT_ONCE = 4096


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

    def squares(x, weight):
        away = x - mean[None, :]
        return jnp.matmul(weight, away**2, precision=EXACT)

    # Block by block: deviations of all rows at once would be as large as x.
    whole = len(x) // ROWS_AT_ONCE
    variance = squares(x[whole * ROWS_AT_ONCE :], weight[whole * ROWS_AT_ONCE :])
    if whole:

        def add(block, so_far):
            start = block * ROWS_AT_ONCE
            rows = jax.lax.dynamic_slice_in_dim(x, start, ROWS_AT_ONCE)
            return so_far + squares(
                rows, jax.lax.dynamic_slice_in_dim(weight, start, ROWS_AT_ONCE)
            )

        variance = jax.lax.fori_loop(0, whole, add, variance)
    variance = variance / total
    # Rounding leaves a constant feature a variance of about eps^2 of its square.
    constant = variance <= 1e-10 * (mean**2 + 1e-20)
    return mean, jnp.where(constant, 1.0, jnp.sqrt(jnp.where(constant, 1.0, variance)))


def choose(losses, hold):
    """Mean held-out loss `[R, S]` and its smallest, from sums `[R, F, S]`, `[R, F]`."""
    mean = losses.sum(axis=1) / jnp.maximum(hold.sum(axis=1), 1e-9)[:, None]
    return mean, jnp.argmin(mean, axis=1)


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
    mean, choice = choose(losses, hold.sum(axis=2))

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
    temperature: ArrayLike = 0.07,
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
    temperature: ArrayLike = 0.07,
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
    mean, choice = choose(losses, hold.sum(axis=2))

    def final_prediction(one):
        weight, picked = one
        return vote(x, y, weight, query, k[picked][None])[0]

    prediction = jax.lax.map(final_prediction, (train[:, final], choice))
    none = jnp.zeros((seeds,))
    return Sweep(prediction, choice, mean, none.astype(jnp.int32), none)
