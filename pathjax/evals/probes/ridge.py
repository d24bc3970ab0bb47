"""Ridge regression of values, all targets and regularisations from one decomposition.

`decompose` and `Ridges` are the regressions, `ridge_sweep` the solver, `Ridge` the probe;
what sweeps share is in sweep.py.

Features are standardised, decomposed and multiplied a block of rows at a time: beside
them there is nothing as large as they are.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from pathjax.evals.probes.sweep import (
    EXACT,
    ROWS_AT_ONCE,
    GridProbe,
    Sweep,
    each_row,
    moments,
    over_rows,
    powers_of_ten,
    sweep_fits,
)


@dataclasses.dataclass(frozen=True)
class Ridge(GridProbe):
    """Ridge regression of expression or a number.

    Attributes:
      l2: The grid, per unit of sample weight: scikit-learn's alpha is l2 * n.
    """

    kinds = ("expression", "regression")
    l2: tuple[float, ...] = powers_of_ten(3, -3, 13)

    @property
    def grid(self):
        return self.l2

    def sweep(self, x, y, grid, query, train, val, *, final, classes):
        return ridge_sweep(x, y, train, val, grid, query, final=final)


def _standard(x, mean, scale):
    return (x.astype(jnp.float32) - mean[None, :]) / scale[None, :]


class Ridges(NamedTuple):
    """Ridge regressions of the same rows at any strength, by the weighted, centred SVD.

    Attributes:
      mean, scale: By which features are standardised.
      offset: The targets' means, which predictions begin from.
      s, vt: Singular values and right vectors of the rows, the largest first.
      projected: The left vectors times the targets.
    """

    mean: Float[Array, "E"]
    scale: Float[Array, "E"]
    offset: Float[Array, "G"]
    s: Float[Array, "K"]
    vt: Float[Array, "K E"]
    projected: Float[Array, "K G"]

    def each_strength(
        self, x: Float[Array, "n E"], l2: Float[Array, "S"], read: Callable[..., Any]
    ) -> Any:
        """`read` of the predictions `[n, G]` of a block of rows, for each strength."""
        z = _standard(x, self.mean, self.scale)
        scores = jnp.matmul(z, self.vt.T, precision=EXACT)

        def one(penalty):
            # s^2 + l2 is 0 only where the direction is empty; its share is then 0 too.
            shrunk = self.s / jnp.maximum(self.s**2 + penalty, 1e-30)
            kernel = shrunk[:, None] * self.projected
            product = jnp.matmul(scores, kernel, precision=EXACT)
            return read(product + self.offset[None, :])

        return jax.lax.map(one, l2)

    def predict(
        self, x: Float[Array, "N E"], l2: Float[Array, "S"]
    ) -> Float[Array, "S N G"]:
        """Predictions of all rows at each strength."""
        found = each_row(
            lambda x: jnp.swapaxes(
                self.each_strength(x, l2, lambda guess: guess), 0, 1
            ),
            x,
        )
        return jnp.swapaxes(found, 0, 1)

    def loss(self, x, y, weight, l2, spread) -> Float[Array, "S"]:
        """Weighted sum over rows of the squared error, targets in units of `spread`."""

        def block(x, y, weight):
            def squared(guess):
                error = ((guess - y) / spread[None, :]) ** 2
                return jnp.sum(weight * error.mean(axis=1))

            return self.each_strength(x, l2, squared)

        return over_rows(block, x, y, weight)


def decompose(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    weight: Float[Array, "N"],
    kept: int | None = None,
) -> Ridges:
    """Standardises rows by those that count, and decomposes them.

    So many of the largest singular values are kept, or all.

    Of many rows, the table of products is decomposed first. It has the square of their
    condition, so the rows are turned and scaled by what it gives, and what these lack of
    being orthonormal is found by a second table: shifted CholeskyQR2 (Fukaya et al. 2020,
    doi:10.1137/18M1218212), with the first factor from eigenvectors.
    """
    mean, scale = moments(x, weight)
    total, width = weight.sum(), x.shape[1]
    offset = jnp.matmul(weight, y, precision=EXACT) / total

    def rows(x, weight):
        return jnp.sqrt(weight / total)[:, None] * _standard(x, mean, scale)

    def targets(y, weight):
        return jnp.sqrt(weight / total)[:, None] * (y - offset[None, :])

    if len(x) <= max(ROWS_AT_ONCE, 2 * width):
        z, target = rows(x, weight), targets(y, weight)
    else:

        def products(x, weight):
            z = rows(x, weight)
            return jnp.matmul(z.T, z, precision=EXACT)

        def turned(x, y, weight):
            z = jnp.matmul(rows(x, weight), turn, precision=EXACT)
            target = jnp.matmul(z.T, targets(y, weight), precision=EXACT)
            return jnp.matmul(z.T, z, precision=EXACT), target

        values, axes = jnp.linalg.eigh(over_rows(products, x, weight))
        size = jnp.sqrt(jnp.maximum(values, 1e-6 * values[-1]))
        turn = axes / size[None, :]
        table, target = over_rows(turned, x, y, weight)
        # The shift is for directions that are empty, and below what float32 sees.
        lower = jnp.linalg.cholesky(table + 1e-6 * jnp.eye(width))
        z = jnp.matmul(lower.T * size[None, :], axes.T, precision=EXACT)
        target = solve_triangular(lower, target, lower=True)
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    projected = jnp.matmul(u[:, :kept].T, target, precision=EXACT)
    return Ridges(mean, scale, offset, s[:kept], vt[:kept], projected)


@functools.partial(jax.jit, static_argnames=("final",))
def ridge_sweep(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    l2: Float[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    final: int,
) -> Sweep:
    """Fits R x F ridges at S regularisations, chooses one per seed, predicts the query.

    Minimises the weighted mean squared error + l2 * |kernel|^2 on features standardised
    by the weighted rows, the intercept by centring (Hastie, Tibshirani & Friedman 2009,
    eq. 3.47). The held-out loss is the squared error, each target divided by its
    variance over the final fit's rows, so that genes count alike. One choice serves all
    targets.

    Args:
      x, y: Features and targets.
      train, val, final: Of FoldWeights.
      l2: Regularisations, the strongest first (ties go to the first).
      query: Rows to predict.
    """

    def held_out(weights):
        train, val, spread = weights
        return decompose(x, y, train).loss(x, y, val, l2, spread)

    def final_prediction(picked):
        weight, choice = picked
        return decompose(x, y, weight).predict(query, l2[choice][None])[0]

    _, spread = jax.lax.map(functools.partial(moments, y), train[:, final])
    return sweep_fits(held_out, final_prediction, spread, train, val, len(l2), final)
