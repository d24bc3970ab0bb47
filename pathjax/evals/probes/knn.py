"""Nearest neighbours by cosine similarity: `knn_sweep` the solver, `Knn` the probe.

`neighbours` is the search alone, for evals/robustness/.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pathjax.evals.probes.base import bucket, pad
from pathjax.evals.probes.sweep import EXACT, GridProbe, Sweep, sweep_fits

# Wu et al. 2018, arXiv:1805.01978, kept by DINO.
TEMPERATURE = 0.07
AT_ONCE = 256  # query rows: the similarities of all at once need Q x N numbers


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


def unit(rows: Float[Array, "n E"]) -> Float[Array, "n E"]:
    """Rows of length 1."""
    rows = rows.astype(jnp.float32)
    norm = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.maximum(norm, 1e-12)


def nearest(known, row, allowed, largest: int):
    """Similarity, -inf where not allowed, and row number of the nearest, best first."""
    similarity = jnp.matmul(known, row, precision=EXACT)
    return jax.lax.top_k(jnp.where(allowed, similarity, -jnp.inf), largest)


def neighbours(
    x: Float[np.ndarray, "N E"], group: Int[np.ndarray, "N"], largest: int
) -> Int[np.ndarray, "N L"]:
    """The nearest rows of other groups, the nearest first, by cosine similarity.

    Args:
      x: Embeddings.
      group: Number of each row's group (patient), from 0.
      largest: How many; -1 fills up where there are fewer.
    """
    # Padding is of the group -1, which is no neighbour.
    groups = np.full(bucket(len(x)), -1, np.int32)
    groups[: len(x)] = group
    found = _neighbours(pad(x), groups, largest=min(largest, len(x)))
    return np.asarray(found)[: len(x)]


@functools.partial(jax.jit, static_argnames=("largest",))
def _neighbours(x, group, *, largest):
    known = unit(x)

    def search(query):
        row, own = query
        allowed = (group >= 0) & (group != own)
        similarity, index = nearest(known, row, allowed, largest)
        return jnp.where(jnp.isfinite(similarity), index, -1)

    return jax.lax.map(search, (known, group), batch_size=AT_ONCE)


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

    known = unit(x)
    largest = min(largest, x.shape[0])

    def vote(row):
        near, index = nearest(known, row, weight > 0, largest)
        # The nearest has share 1 before its weight: no overflow, and never all zero.
        vote = weight[index] * jnp.exp((near - near[0]) / TEMPERATURE)
        vote = jnp.where(jnp.arange(largest)[None, :] < k[:, None], vote[None, :], 0.0)
        total = vote.sum(axis=1, keepdims=True)
        return jnp.matmul(vote / total, y[index], precision=EXACT)

    return jnp.swapaxes(jax.lax.map(vote, unit(query), batch_size=AT_ONCE), 0, 1)


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
