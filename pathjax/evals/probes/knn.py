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
from pathjax.evals.probes.sweep import (
    EXACT,
    GridProbe,
    Sweep,
    choose,
    each_row,
    over_rows,
)

# Wu et al. 2018, arXiv:1805.01978, kept by DINO.
TEMPERATURE = 0.07
# Rows that are compared with all others at once, and similarities of these.
AT_ONCE, SIMILARITIES = 256, 1 << 22


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


def similarities(
    x: Float[Array, "N E"], lengths: Float[Array, "N"], rows: Float[Array, "n E"]
) -> Float[Array, "n N"]:
    """Cosine similarity of some rows to each row of x.

    Products are divided by the lengths: rows of x of length 1 would be a copy of x.
    """
    return jnp.matmul(unit(rows), x.T, precision=EXACT) / lengths[None, :]


def _lengths(x):
    norm = jnp.linalg.norm(x.astype(jnp.float32), axis=1)
    return jnp.maximum(norm, 1e-12)


def _at_once(x) -> int:
    """How many rows are compared with all rows of x at once: 16 MiB, or a 16th of x."""
    rows, width = x.shape
    return min(AT_ONCE, max(width // 16, SIMILARITIES // rows, 1))


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
    lengths = _lengths(x)

    def search(rows, own):
        allowed = (group >= 0)[None, :] & (group[None, :] != own[:, None])
        similarity = jnp.where(allowed, similarities(x, lengths, rows), -jnp.inf)
        similarity, index = jax.lax.top_k(similarity, largest)
        return jnp.where(jnp.isfinite(similarity), index, -1)

    return each_row(search, x, group, at_once=_at_once(x))


def shares(
    similarity: Float[Array, "n N"],
    y: Float[Array, "N T"],
    weights: Float[Array, "F N"],
    fit: Int[Array, "n"],
    k: Int[Array, "S"],
    largest: int,
) -> Float[Array, "n S T"]:
    """Weighted means of the k nearest rows, for every k at once.

    A neighbour of similarity s votes with its weight * exp(s / TEMPERATURE). Rows of
    weight 0 are no neighbours; a row drawn twice is one neighbour with two votes. With k
    above the number of rows, all of them vote. With one-hot `y` these are vote shares.

    Args:
      similarity: Of the rows to predict to those that vote.
      y, weights: What these vote for, and how much they count in each of F fits.
      fit: Which of the fits predicts a row.
      k: Neighbour counts.
      largest: The largest of `k`, known at compile time.
    """
    largest = min(largest, len(y))
    allowed = jnp.where((weights > 0)[fit], similarity, -jnp.inf)
    near, index = jax.lax.top_k(allowed, largest)
    # The nearest has share 1 before its weight: no overflow, and never all zero. By the
    # maximum: XLA would sort all rows where the first of the best is sliced.
    near = near - near.max(axis=1, keepdims=True)
    vote = weights[fit[:, None], index] * jnp.exp(near / TEMPERATURE)
    counted = jnp.arange(largest)[None, :] < k[:, None]
    vote = jnp.where(counted[None], vote[:, None, :], 0.0)
    total = vote.sum(axis=2, keepdims=True)
    return jnp.matmul(vote / total, y[index], precision=EXACT)


@functools.partial(jax.jit, static_argnames=("largest",))
def knn_predict(
    x: Float[Array, "N E"],
    y: Float[Array, "N T"],
    weights: Float[Array, "R N"],
    query: Float[Array, "Q E"],
    k: Int[Array, "R S"],
    *,
    largest: int,
) -> Float[Array, "R S Q T"]:
    """`shares` of R fits, each with its own k's, by blocks of the query.

    Args:
      x: Features of the rows that vote.
      query: Rows to predict.
      y, weights, k, largest: As in `shares`.
    """
    lengths = _lengths(x)

    def predict(rows):
        similarity = similarities(x, lengths, rows)
        only = jnp.zeros(len(rows), jnp.int32)

        def one(fit):
            weight, k = fit
            return shares(similarity, y, weight[None], only, k, largest)

        return jnp.swapaxes(jax.lax.map(one, (weights, k)), 0, 1)

    return jnp.moveaxis(each_row(predict, query, at_once=_at_once(x)), 0, 2)


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

    A block of rows is compared with all rows once, for all seeds and fits: the fit of a
    seed that holds a row out predicts it.

    Args:
      x, y: Features and one-hot classes (or values).
      train, val, final: Of FoldWeights.
      k: Neighbour counts, the largest first (ties go to the first).
      query: Rows to predict.
      largest: As in `shares`.
    """
    lengths = _lengths(x)

    def held_out(rows, truth, val):
        similarity = similarities(x, lengths, rows)

        def seed(weights):
            train, val = weights
            share = shares(similarity, y, train, val.argmax(axis=0), k, largest)
            error = ((share - truth[:, None]) ** 2).sum(axis=2)
            return jnp.matmul(val.max(axis=0), error, precision=EXACT)

        return jax.lax.map(seed, (train, jnp.moveaxis(val, 0, 2)))

    by_row = jnp.moveaxis(val, 2, 0)
    loss = over_rows(held_out, x, y, by_row, at_once=_at_once(x))
    loss, choice = choose(loss[:, None], val.sum(axis=2).sum(axis=1, keepdims=True))

    prediction = knn_predict(
        x, y, train[:, final], query, k[choice][:, None], largest=largest
    )
    none = jnp.zeros(len(train))
    return Sweep(prediction[:, 0], choice, loss, none.astype(jnp.int32), none)
