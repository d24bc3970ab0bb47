"""Ridge regression of values, all targets and regularisations from one decomposition.

`ridge_sweep` is the solver, `Ridge` the probe; what sweeps share is in sweep.py.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.evals.probes.sweep import (
    EXACT,
    GridProbe,
    Sweep,
    moments,
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


def _decompose(x, y, weight):
    """Weighted, centred SVD: all regularisations and targets are products of it."""
    mean, scale = moments(x, weight)
    total = weight.sum()
    offset = jnp.matmul(weight, y, precision=EXACT) / total
    root = jnp.sqrt(weight / total)[:, None]
    u, s, vt = jnp.linalg.svd(
        root * (x - mean[None, :]) / scale[None, :], full_matrices=False
    )
    projected = jnp.matmul(u.T, root * (y - offset[None, :]), precision=EXACT)
    return mean, scale, offset, s, vt, projected


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
    x, query = x.astype(jnp.float32), query.astype(jnp.float32)

    def predict(parts, penalty, at):
        mean, scale, offset, s, vt, projected = parts
        scores = jnp.matmul(
            (at - mean[None, :]) / scale[None, :], vt.T, precision=EXACT
        )
        # s^2 + l2 is 0 only where the direction is empty; its share is then 0 too.
        shrunk = s / jnp.maximum(s**2 + penalty, 1e-30)
        kernel = shrunk[:, None] * projected
        return jnp.matmul(scores, kernel, precision=EXACT) + offset[None, :]

    def held_out(weights):
        train, val, spread = weights
        parts = _decompose(x, y, train)

        def loss(penalty):
            error = ((predict(parts, penalty, x) - y) / spread[None, :]) ** 2
            return jnp.sum(val * error.mean(axis=1))

        return jax.lax.map(loss, l2)

    def final_prediction(picked):
        weight, choice = picked
        return predict(_decompose(x, y, weight), l2[choice], query)

    _, spread = jax.vmap(moments, (None, 0))(y, train[:, final])
    return sweep_fits(held_out, final_prediction, spread, train, val, len(l2), final)
