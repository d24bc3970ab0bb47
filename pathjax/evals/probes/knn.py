"""Nearest neighbours by cosine similarity: `knn_sweep` the solver, `Knn` the probe."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pathjax.evals.probes.sweep import EXACT, GridProbe, Sweep, sweep_fits

# Wu et al. 2018, arXiv:1805.01978, kept by DINO.
TEMPERATURE = 0.07


@dataclasses.dataclass(frozen=True)
class Knn(GridProbe):
    """Votes of the nearest neighbours.

    Attributes:
      neighbours: The grid, the largest first.
    """

    kinds = ("classification", "expression", "regression")
    neighbours: tuple[int, ...] = (100, 50, 20, 10, 5, 1)

    @property
    def grid(self):
        return self.neighbours

    def sweep(self, x, y, grid, query, train, val, *, final, classes):
        y = jax.nn.one_hot(y, classes) if classes else y
        k, largest = grid.astype(np.int32), max(self.neighbours)
        return knn_sweep(x, y, train, val, k, query, final=final, largest=largest)


@functools.partial(jax.jit, static_argnames=("largest",))
def knn_predict(
    x: Float[Array, "N E"],
    y: Float[Array, "N T"],
    weight: Float[Array, "N"],
    query: Float[Array, "Q E"],
    k: Int[Array, "S"],
    *,
    largest: int,
) -> Float[Array, "S Q T"]:
    """Weighted means of the k nearest rows by cosine similarity, for every k at once.

    A neighbour of similarity s votes with weight[n] * exp(s / TEMPERATURE). Rows of
    weight 0 are no neighbours; a row drawn twice is one neighbour with two votes. With k
    above the number of rows, all of them vote. With one-hot `y` these are vote shares.

    Args:
      x, y, weight: The rows that vote, and for what.
      query: Rows to predict.
      k: Neighbour counts.
      largest: The largest of `k`, known at compile time.
    """

    def unit(rows):
        rows = rows.astype(jnp.float32)
        norm = jnp.linalg.norm(rows, axis=1, keepdims=True)
        return rows / jnp.maximum(norm, 1e-12)

    known = unit(x)
    largest = min(largest, x.shape[0])

    def vote(row):
        similarity = jnp.matmul(known, row, precision=EXACT)
        near, index = jax.lax.top_k(
            jnp.where(weight > 0, similarity, -jnp.inf), largest
        )
        # The nearest has share 1 before its weight: no overflow, and never all zero.
        vote = weight[index] * jnp.exp((near - near[0]) / TEMPERATURE)
        vote = jnp.where(jnp.arange(largest)[None, :] < k[:, None], vote[None, :], 0.0)
        total = vote.sum(axis=1, keepdims=True)
        return jnp.matmul(vote / total, y[index], precision=EXACT)

    # Query rows in pieces: the similarities of all at once need Q x N numbers.
    return jnp.swapaxes(jax.lax.map(vote, unit(query), batch_size=256), 0, 1)


@functools.partial(jax.jit, static_argnames=("final", "largest"))
def knn_sweep(
    x: Float[Array, "N E"],
    y: Float[Array, "N T"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    k: Int[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    final: int,
    largest: int,
) -> Sweep:
    """Chooses k per probe seed by held-out squared error (Brier 1950), then predicts.

    Args:
      x, y: Features and one-hot classes (or values).
      train, val, final: Of FoldWeights.
      k: Neighbour counts, the largest first (ties go to the first).
      query: Rows to predict.
      largest: As in `knn_predict`.
    """

    def held_out(weights):
        train, val, _ = weights
        error = (knn_predict(x, y, train, x, k, largest=largest) - y[None]) ** 2
        return jnp.matmul(error.sum(axis=2), val, precision=EXACT)

    def final_prediction(picked):
        weight, choice = picked
        return knn_predict(x, y, weight, query, k[choice][None], largest=largest)[0]

    none = jnp.zeros(len(train))
    return sweep_fits(held_out, final_prediction, none, train, val, len(k), final)
