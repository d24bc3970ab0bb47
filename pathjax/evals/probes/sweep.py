"""Probes whose regularisation is chosen from a grid over held-out patients.

    x, y, FoldWeights, grid -> a jitted sweep -> Sweep -> Fit

Probe seeds, inner folds and the grid are batch dimensions of one program; rows that do
not count have weight 0, so ragged folds need no second compile. For all of them:
features are standardised by the rows that a fit counts, and no other; the choice is of
the smallest held-out loss (log loss, squared error), not of the best metric, which moves
in steps on a small fold and would pick by luck; ties go to the stronger regularisation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, Shaped

from pathjax.evals.folds import FoldWeights
from pathjax.evals.probes.base import (
    Fit,
    Probe,
    Problem,
    chosen,
    over_devices,
    pad,
    require_finite,
)

# Products are exact float32 on every device; TPUs and GPUs would round to fewer bits.
EXACT = jax.lax.Precision.HIGHEST
ROWS_AT_ONCE = 2048
# Fits run side by side while their log-probabilities and what L-BFGS keeps beside them,
# about this many arrays of that size, fit into 128 MiB.
AT_ONCE, COPIES = 1 << 27, 8


def powers_of_ten(high: int, low: int, count: int) -> tuple[float, ...]:
    """A grid from 10^high down to 10^low: the strongest regularisation first."""
    return tuple(float(f"{value:.3g}") for value in np.logspace(high, low, count))


class Sweep(NamedTuple):
    """Outcome of a sweep over R probe seeds and a grid of S.

    Attributes:
      prediction: `[R, Q, T]` class probabilities or values of the query rows, by the
        final fit with the chosen regularisation.
      choice: `[R]` index of the chosen one.
      loss: `[R, S]` mean held-out loss.
      steps: `[R]` solver steps of the final fit (0 where there is no solver).
      gradient: `[R]` largest entry of its last gradient.
    """

    prediction: Float[Array, "R Q T"]
    choice: Int[Array, "R"]
    loss: Float[Array, "R S"]
    steps: Int[Array, "R"]
    gradient: Float[Array, "R"]


@dataclasses.dataclass(frozen=True)
class GridProbe(Probe):
    """A probe with a grid; a subclass has `grid` and `sweep`.

    Attributes:
      seeds: Probe seeds: 0 is the whole fit fold, the others are bootstrap samples of
        its patients. The score is seed 0's; the others show how much the composition of
        the fit fold matters.
      folds: Inner folds over patients, where the task names no select fold.
      resample_seed: Of inner folds and probe seeds.
    """

    seeds: int = 5
    folds: int = 5
    resample_seed: int = 0

    @property
    def grid(self) -> tuple[float | int, ...]:
        """What is chosen from, the strongest regularisation first."""
        raise NotImplementedError

    def sweep(self, x, y, grid, query, train, val, *, final: int, classes: int):
        """Runs the jitted sweep; `y` is class numbers, or values if `classes` is 0."""
        raise NotImplementedError

    def info(self, sweep: Sweep) -> dict[str, Any]:
        """More for the record."""
        return {}

    def fit(self, problem: Problem) -> Fit:
        weights, info = problem.fold_weights(self.seeds, self.folds, self.resample_seed)
        sweep = self.fit_arrays(
            problem.joined("features"),
            problem.y,
            weights,
            problem.test.features,
            classes=problem.classes,
            fit_values=problem.labels["fit"],
        )
        require_finite(sweep.loss, sweep.gradient)
        strength, choice = chosen(self.grid, sweep.choice, sweep.loss)
        prediction = np.asarray(sweep.prediction)
        return Fit(prediction, strength, choice | info | self.info(sweep))

    def fit_arrays(
        self,
        x: Float[np.ndarray, "N E"],
        y: Num[np.ndarray, "N *T"],
        weights: FoldWeights,
        query: Float[np.ndarray, "Q E"],
        *,
        classes: int,
        fit_values: Num[np.ndarray, "n *T"],
    ) -> Sweep:
        """Sweeps plain arrays, padded so that tasks of about one size share a compile.

        Args:
          x, y, weights: Features, labels and weights of the rows that are learned from.
          query: Rows to predict.
          classes: How many; 0 for values.
          fit_values: Labels of the fit rows. Values are learned in their units, so that
            genes weigh alike and float32 loses nothing.
        """
        offset, spread = np.float32(0), np.float32(1)
        if not classes:
            offset, spread = fit_values.mean(axis=0), fit_values.std(axis=0)
            spread = np.where(spread > 0, spread, np.ones_like(spread))
            y = ((y - offset) / spread).astype(np.float32)
        sweep = over_devices(
            lambda x, y, grid, query, train, val: self.sweep(
                *(x, y, grid, query, train, val), final=weights.final, classes=classes
            ),
            [pad(x), pad(y), np.asarray(self.grid, np.float32), pad(query)],
            [pad(weights.train, 2), pad(weights.val, 2)],
        )
        prediction = sweep.prediction[:, : len(query)] * spread + offset
        return sweep._replace(prediction=prediction)


def over_rows(
    run: Callable[..., Any],
    *arrays: Shaped[Array, "N *more"],
    at_once: int = ROWS_AT_ONCE,
) -> Any:
    """The sum of `run(*blocks)` over blocks of rows of the arrays.

    What `run` makes of its rows is then as large as a block's, not as all rows'.
    """
    # The rest is never empty: what `run` is given has at least a row.
    whole = max(len(arrays[0]) - 1, 0) // at_once
    rest = run(*(part[whole * at_once :] for part in arrays))
    if not whole:
        return rest

    def add(block, so_far):
        start = block * at_once
        rows = (jax.lax.dynamic_slice_in_dim(part, start, at_once) for part in arrays)
        return jax.tree.map(jnp.add, so_far, run(*rows))

    return jax.lax.fori_loop(0, whole, add, rest)


def each_row(
    run: Callable[..., Any],
    *arrays: Shaped[Array, "N *more"],
    at_once: int = ROWS_AT_ONCE,
) -> Any:
    """`run(*blocks)` over blocks of rows of the arrays, its rows joined.

    `jax.lax.map` would copy arrays whose rows its `batch_size` does not divide.
    """
    rows = len(arrays[0])
    if rows <= at_once:
        return run(*arrays)
    blocks = -(-rows // at_once)
    # The last one begins earlier than it would; rows that it has again are dropped.
    starts = jnp.minimum(jnp.arange(blocks) * at_once, rows - at_once)
    found = jax.lax.map(
        lambda start: run(
            *(jax.lax.dynamic_slice_in_dim(part, start, at_once) for part in arrays)
        ),
        starts,
    )
    again = blocks * at_once - rows

    def join(part):
        first = part[:-1].reshape(-1, *part.shape[2:])
        return jnp.concatenate([first, part[-1, again:]])

    return jax.tree.map(join, found)


def moments(
    x: Float[Array, "N E"],
    weight: Float[Array, "N"],
    standard: Callable[[Any], Any] = lambda x: x,
) -> tuple[Float[Array, "E"], Float[Array, "E"]]:
    """Weighted mean and standard deviation; a constant feature gets scale 1.

    `standard` is applied to each block of rows before.
    """
    total = weight.sum()
    mean = over_rows(
        lambda x, weight: jnp.matmul(weight, standard(x), precision=EXACT), x, weight
    )
    mean = mean / total

    def squares(x, weight):
        away = standard(x) - mean[None, :]
        return jnp.matmul(weight, away**2, precision=EXACT)

    variance = over_rows(squares, x, weight) / total
    # Rounding leaves a constant feature a variance of about eps^2 of its square.
    constant = variance <= 1e-10 * (mean**2 + 1e-20)
    return mean, jnp.where(constant, 1.0, jnp.sqrt(jnp.where(constant, 1.0, variance)))


def rotated(
    x: Float[Array, "N E"],
    mean: Float[Array, "E"],
    scale: Float[Array, "E"],
    weight: Float[Array, "N"],
) -> tuple[Float[Array, "N K"], Float[Array, "K"], Callable[[Array], Array]]:
    """Standardised features on their principal axes, K = min(N, E) of them.

    A ridge penalty is the same in any orthonormal basis, and its coefficients are in the
    span of the rows that are fitted, so that a fit in these K is the fit in all E (Hastie &
    Tibshirani 2004, doi:10.1093/biostatistics/5.3.329).

    Args:
      x: Features.
      mean, scale: By which they are standardised.
      weight: How often rows count; axes are those of the rows that do.

    Returns:
      The rotated features of all rows, their variance over those that count, and the
      function from coefficients of the rotated features to those of x.
    """
    z = (x - mean[None, :]) / scale[None, :]
    total = jnp.maximum(weight.sum(), 1e-9)
    if x.shape[1] <= x.shape[0]:
        table = jnp.matmul((weight[:, None] * z).T, z, precision=EXACT)
        values, axes = jnp.linalg.eigh(table)
        features = jnp.matmul(z, axes, precision=EXACT)

        def of_x(params):
            return jnp.matmul(axes, params, precision=EXACT) / scale

    else:
        root = jnp.sqrt(weight)
        products = jnp.matmul(z, z.T, precision=EXACT) * root[None, :]
        values, left = jnp.linalg.eigh(root[:, None] * products)
        # Rows that do not count and what rounding leaves of them: no axis.
        known = values > 1e-6 * values[-1]
        size = jnp.sqrt(jnp.where(known, values, 1.0))
        left = left * jnp.where(known, 1 / size, 0.0)[None, :]
        features = jnp.matmul(products, left, precision=EXACT)

        def of_x(params):
            of_rows = root * jnp.matmul(left, params, precision=EXACT)
            return jnp.matmul(of_rows, z, precision=EXACT) / scale

    return features, jnp.maximum(values, 0.0) / total, of_x


def side_by_side(run, count: int, rows: int, classes: int):
    """run of 0 to count - 1; as many at once as their log-probabilities leave room for."""
    numbers = jnp.arange(count)
    most = max(1, AT_ONCE // (4 * rows * classes * COPIES))
    if most >= count:
        return jax.vmap(run)(numbers)
    # A divisor: a shorter last batch would be compiled too.
    size = max(size for size in range(1, most + 1) if count % size == 0)
    return jax.lax.map(run, numbers, batch_size=size)


def choose(losses, val):
    """Mean held-out loss `[R, S]` and its smallest, from sums `[R, F, S]`, `[R, F]`."""
    mean = losses.sum(axis=1) / jnp.maximum(val.sum(axis=1), 1e-9)[:, None]
    return mean, jnp.argmin(mean, axis=1)


def sweep_fits(held_out, predict, extra, train, val, grid: int, final: int) -> Sweep:
    """Runs R x F fits one after the other, chooses, and predicts by the final fits.

    Args:
      held_out: (train weights, val weights, extra of the seed) to losses `[S]`, summed.
      predict: (train weights, index of the choice) to a prediction.
      extra: `[R, ...]` what else a seed's fits need.
      train, val: `[R, F, N]`.
      grid, final: S, and which of F is the final fit.
    """
    seeds, fits, rows = train.shape
    flat = (
        train.reshape(seeds * fits, rows),
        val.reshape(seeds * fits, rows),
        jnp.repeat(extra, fits, axis=0),
    )
    losses = jax.lax.map(held_out, flat).reshape(seeds, fits, grid)
    mean, choice = choose(losses, val.sum(axis=2))
    prediction = jax.lax.map(predict, (train[:, final], choice))
    none = jnp.zeros((seeds,))
    return Sweep(prediction, choice, mean, none.astype(jnp.int32), none)
