"""Logistic regressions of many rows, all strengths along a path: `path_sweep`.

Seeds and inner folds are fitted side by side: all multiply the same features, whatever
rows they count, a block of rows at a time, so that one matrix product serves them all
and nothing as large as the features is made. What sweeps share is in sweep.py.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from pathjax.evals.probes.lbfgs import Point, along_path, origin
from pathjax.evals.probes.sweep import EXACT, Sweep, choose, moments, over_rows

# A masked logit: far below any other, and finite so that 0 * it is 0.
ABSENT = -1e9
LEAST_CURVATURE = 1e-6  # of a class that every row is sure of


class _Fits:
    """P fits over the same rows: their losses, and what is known of these.

    A fit's parameters are `[E + 1, K]`, its kernel on features standardised by its own
    rows and below it the bias.

    Args:
      x, onehot: Features and classes `[N, C]` of the rows.
      train, val: How often rows count in each fit, and for choosing `[P, N]`.
      balanced: As in `logistic_sweep`.
      seeds: How many there are; each has the same number of fits.
    """

    def __init__(self, x, onehot, train, val, *, balanced, seeds):
        self.x, self.onehot = x, onehot
        counts, held = (
            jnp.matmul(part, onehot, precision=EXACT) for part in (train, val)
        )
        present = (counts > 0).astype(jnp.float32)
        classes = present.shape[1]
        self.present, self.columns = present, 1 if classes == 2 else classes
        # By what rows of each class are multiplied [P, C]: weights of a fit sum to 1.
        self._weigh = present / counts.sum(axis=1, keepdims=True)
        # A class that a fit never saw costs every strength the same: leave it out.
        self._hold = present
        if balanced:
            shares = present / jnp.where(counts > 0, counts, 1.0)
            self._weigh = shares / present.sum(axis=1, keepdims=True)
            each = len(present) // seeds
            seen = held.reshape(seeds, each, -1).sum(axis=1)
            seen = jnp.repeat(jnp.where(seen > 0, seen, 1.0), each, axis=0)
            self._hold = present / seen
        self.held = (held * self._hold).sum(axis=1)
        # By the mean and spread of all rows that some fit counts, block by block; what
        # is left to a fit's own rows is folded into its kernel and bias.
        self._centre, self._spread = moments(
            x, (train.sum(axis=0) > 0).astype(jnp.float32)
        )
        self._mean, self._scale = jax.lax.map(
            lambda weight: moments(x, weight, self._standard), train
        )
        self._train, self._val = train.T, val.T
        self._variance, self._axes = self._principal_axes()

    def _standard(self, x):
        return (x.astype(jnp.float32) - self._centre[None, :]) / self._spread[None, :]

    @staticmethod
    def _weights(onehot, counts, each_class):
        """Weights `[n, P]` of a block's rows."""
        return counts * jnp.matmul(onehot, each_class.T, precision=EXACT)

    def shared(self, params):
        """Kernels `[P, E, K]` and biases `[P, K]` that all fits use on the same rows."""
        kernel = params[:, :-1] / self._scale[:, :, None]
        shift = jnp.einsum("pe,pek->pk", self._mean, kernel, precision=EXACT)
        return kernel, params[:, -1] - shift

    def log_probabilities(self, kernel, bias, present, x):
        """`[n, P, C]` of rows; classes with no weight in a fit are impossible there."""
        flat = jnp.swapaxes(kernel, 0, 1).reshape(x.shape[1], -1)
        logits = jnp.matmul(self._standard(x), flat, precision=EXACT)
        logits = logits.reshape(len(x), *bias.shape) + bias[None]
        if present.shape[-1] == 2:
            logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
        return jax.nn.log_softmax(jnp.where(present > 0, logits, ABSENT), axis=-1)

    def evaluate(self, params) -> Point:
        """Loss, gradient, and each class's mean p (1 - p)."""
        kernel, bias = self.shared(params)
        first = self.present.shape[1] - self.columns  # one logit is the second class's

        def block(x, onehot, train):
            logp = self.log_probabilities(kernel, bias, self.present, x)
            weight = self._weights(onehot, train, self._weigh)[:, :, None]
            onehot = onehot[:, None, :]
            share = jnp.exp(logp)
            slope = (weight * (share - onehot))[..., first:]
            curve = (weight * share * (1 - share))[..., first:]
            flat = slope.reshape(len(x), -1)
            pull = jnp.matmul(self._standard(x).T, flat, precision=EXACT)
            loss = -jnp.sum(weight * onehot * logp, axis=(0, 2))
            return loss, pull, slope.sum(axis=0), curve.sum(axis=0)

        loss, pull, push, curve = over_rows(block, self.x, self.onehot, self._train)
        pull = jnp.swapaxes(pull.reshape(len(pull), *push.shape), 0, 1)
        pull = pull - self._mean[:, :, None] * push[:, None, :]
        pull = pull / self._scale[:, :, None]
        gradient = jnp.concatenate([pull, push[:, None, :]], axis=1)
        return Point(params, loss, gradient, curve)

    def loss_held_out(self, params):
        """Summed log loss `[P]` of the rows that choose."""
        kernel, bias = self.shared(params)

        def block(x, onehot, val):
            logp = self.log_probabilities(kernel, bias, self.present, x)
            logp = jnp.sum(onehot[:, None, :] * jnp.maximum(logp, -50.0), axis=2)
            return -jnp.sum(self._weights(onehot, val, self._hold) * logp, axis=0)

        return over_rows(block, self.x, self.onehot, self._val)

    def _principal_axes(self):
        """Variances `[E]` and axes `[E, E]` of the features over the fits' rows."""
        width = self.x.shape[1]
        # A pass over so few rows costs less than the axes: the features themselves then.
        if len(self.x) <= width:
            return jnp.ones(width), None

        def block(x, onehot, train):
            weight = self._weights(onehot, train, self._weigh).mean(axis=1)
            x = self._standard(x)
            return jnp.matmul((x * weight[:, None]).T, x, precision=EXACT)

        product = over_rows(block, self.x, self.onehot, self._train)
        variance, axes = jnp.linalg.eigh(product)
        return jnp.maximum(variance, 0.0), axes

    def precondition(self, l2, vector, point):
        """By each class's second derivatives, as if all its rows had the mean p (1 - p)."""

        def turned(vector, axes):
            if axes is None:
                return vector
            kernel = jnp.einsum("ei,pek->pik", axes, vector[:, :-1], precision=EXACT)
            return jnp.concatenate([kernel, vector[:, -1:]], axis=1)

        vector = by_curvature(
            l2, turned(vector, self._axes), point.more, self._variance
        )
        return turned(vector, None if self._axes is None else self._axes.T)


def by_curvature(
    l2: ArrayLike,
    vector: Float[Array, "P A K"],
    curve: Float[Array, "P K"],
    variance: Float[Array, "A-1"],
) -> Float[Array, "P A K"]:
    """Divided by the second derivatives, as if all rows of a class had the mean p (1 - p).

    Args:
      l2: Of the kernel.
      vector: Of the axes of the features, and last of the bias.
      curve: The mean p (1 - p) of each class.
      variance: Of the axes.
    """
    curve = jnp.maximum(curve, LEAST_CURVATURE)[:, None, :]
    kernel = vector[:, :-1] / (curve * variance[None, :, None] + l2)
    return jnp.concatenate([kernel, vector[:, -1:] / curve], axis=1)


def path_sweep(
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
    """`logistic_sweep` of more rows than features; to be called under `jax.jit`.

    Each fit minimises the weighted mean log loss + l2 / 2 * |kernel|^2 on features
    standardised by the rows that it counts; the bias is not penalised. With two classes
    there is one logit, the second class's, which makes the penalty scikit-learn's.

    Args:
      x, y: Features and class numbers, 0 to classes - 1.
      train, val, final: Of FoldWeights.
      l2: Regularisations, the strongest first (ties go to the first).
      query: Rows to predict.
      classes: Number of classes, at least 2.
      balanced: Weigh classes equally (scikit-learn's class_weight="balanced").
      steps, tolerance: L-BFGS stops when the gradient's largest entry is below
        `tolerance`, and after `steps` at the latest; each is a pass over the rows.
    """
    seeds, each, rows = train.shape
    onehot = jax.nn.one_hot(y, classes)
    train, val = (part.reshape(-1, rows) for part in (train, val))
    fits = _Fits(x, onehot, train, val, balanced=balanced, seeds=seeds)
    last = jnp.arange(seeds) * each + final

    def read(point):
        ends = [part[last] for part in fits.shared(point.params)]
        return *ends, fits.loss_held_out(point.params)

    start = origin(seeds * each, x.shape[1] + 1, fits.columns)
    (*ends, losses), *how = along_path(
        fits.evaluate,
        l2,
        start,
        curvature=jnp.ones(start.shape[1]),
        free=1,
        precondition=fits.precondition,
        read=read,
        steps=steps,
        tolerance=tolerance,
    )
    ends += [part[:, last] for part in how]
    losses = jnp.moveaxis(losses.reshape(-1, seeds, each), 0, 2)
    loss, choice = choose(losses, fits.held.reshape(seeds, each))
    kernel, bias, count, gradient = (part[choice, jnp.arange(seeds)] for part in ends)
    logp = fits.log_probabilities(kernel, bias, fits.present[last], query)
    return Sweep(jnp.swapaxes(jnp.exp(logp), 0, 1), choice, loss, count, gradient)
