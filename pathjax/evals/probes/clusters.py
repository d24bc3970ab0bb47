"""k-means of embeddings, for the clustering score: `kmeans` the solver, `Clusters` the probe.

All starts of all numbers of clusters are one compiled program: clusters that a start does
not have are masked. The number of clusters is chosen by the silhouette, which knows
neither class nor site. The score is in stats/robustness.py.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pathjax.evals.probes.base import pad
from pathjax.evals.probes.knn import unit
from pathjax.evals.probes.robustness import CellProbe
from pathjax.evals.probes.sweep import EXACT

STEPS = 100
STARTS_AT_ONCE = 8


@dataclasses.dataclass(frozen=True)
class Clusters(CellProbe):
    """Clusters of embeddings of length 1, in several trials from random starts.

    Attributes:
      most: Clusters at most; from 2.
      trials: Clusterings that are scored; each is the best of `starts`.
      starts: Random starts of each.
      choice_starts: Random starts of each number of clusters when it is chosen.
    """

    most: int = 30
    trials: int = 50
    starts: int = 5
    choice_starts: int = 20

    def answer(self, x, pair):
        rng, most = np.random.default_rng(self.seed), min(self.most, len(x) - 1)
        sizes = np.arange(2, most + 1)
        tried = self._best(x, sizes, self.choice_starts, most, rng)
        scores = [silhouette(x, labels) for labels in tried]
        size = int(sizes[int(np.argmax(scores))])
        labels = self._best(x, np.full(self.trials, size), self.starts, most, rng)
        return labels.T, {"clusters": size}

    def _best(self, x, sizes, starts: int, most: int, rng) -> Int[np.ndarray, "K m"]:
        """The best of several starts for each of some numbers of clusters."""
        each = np.repeat(sizes, starts)
        begin = np.stack([rng.permutation(len(x))[:most] for _ in each])
        active = np.arange(most) < each[:, None]
        weight = pad(np.ones(len(x), np.float32))
        labels, spread = kmeans(unit(jnp.asarray(pad(x))), weight, begin, active)
        best = np.asarray(spread).reshape(len(sizes), starts).argmin(axis=1)
        return np.asarray(labels)[np.arange(len(sizes)) * starts + best][:, : len(x)]


@jax.jit
def kmeans(
    x: Float[Array, "N E"],
    weight: Float[Array, "N"],
    start: Int[Array, "R K"],
    active: Bool[Array, "R K"],
) -> tuple[Int[Array, "R N"], Float[Array, "R"]]:
    """Lloyd's algorithm (1982, doi:10.1109/TIT.1982.1056489) from R starts.

    A cluster that loses all rows keeps its centre. Stops when no row changes, or after
    STEPS.

    Args:
      x: Rows.
      weight: 0 for padding.
      start: Rows that the centres begin at.
      active: Which of the K clusters a start has.

    Returns:
      Cluster of each row, and the sum of squared distances to the centres.
    """
    length = jnp.sum(x**2, axis=1)

    def assign(centres, used):
        product = jnp.matmul(x, centres.T, precision=EXACT)
        away = length[:, None] - 2 * product + jnp.sum(centres**2, axis=1)[None, :]
        away = jnp.where(used[None, :], away, jnp.inf)
        return jnp.argmin(away, axis=1), jnp.min(away, axis=1)

    def run(inputs):
        begin, used = inputs

        def step(carry):
            centres, old, _, count = carry
            member = jax.nn.one_hot(old, len(used)) * weight[:, None]
            total = member.sum(axis=0)[:, None]
            mean = jnp.matmul(member.T, x, precision=EXACT) / jnp.maximum(total, 1.0)
            centres = jnp.where(total > 0, mean, centres)
            labels, away = assign(centres, used)
            moved = jnp.any((labels != old) & (weight > 0))
            return centres, labels, (moved, away), count + 1

        labels, away = assign(x[begin], used)
        carry = x[begin], labels, (jnp.array(True), away), 0
        _, labels, (_, away), _ = jax.lax.while_loop(
            lambda carry: carry[2][0] & (carry[3] < STEPS), step, carry
        )
        return labels, jnp.sum(away * weight)

    return jax.lax.map(run, (start, active), batch_size=STARTS_AT_ONCE)


def silhouette(x: Float[np.ndarray, "n E"], labels: Int[np.ndarray, "n"]) -> float:
    """Mean silhouette by cosine distance (Rousseeuw 1987); 0 for a row alone.

    Of rows of length 1 the mean distance to a cluster is 1 minus the product with its mean,
    so that no n x n distances are needed.
    """
    x = np.asarray(x, np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    names, own = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return -1.0
    member = own[:, None] == np.arange(len(names))
    count, total = member.sum(axis=0), x @ (member.T @ x).T
    rows = np.arange(len(x))
    others = count[own] - 1
    inside = (others - (total[rows, own] - 1)) / np.maximum(others, 1)
    away = 1 - total / count
    away[rows, own] = np.inf
    outside = away.min(axis=1)
    largest = np.maximum(inside, outside)
    width = (outside - inside) / np.where(largest > 0, largest, 1)
    return float(np.where(others > 0, width, 0.0).mean())
