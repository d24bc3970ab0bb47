"""Metrics: states on the device that merge, and ranks for retrieval.

A state holds sums, never ratios, so that batches, devices and hosts can be merged in
any order and divided once. Correlation keeps means and centred moments, merged by the
formula of Chan et al. 1983, because sums of squares cancel in float32. Intervals and
choices between models are not made here.
"""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pathjax.losses import (
    Rows,
    by_chunks,
    check_arrays,
    check_regression,
    check_rows,
    emptied,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A masked mean: a sum and how many it is of."""

    total: Float[Array, ""]
    count: Float[Array, ""]

    @classmethod
    def empty(cls) -> Self:
        return cls(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))

    @classmethod
    def of(cls, values: Float[Array, "B"], mask: Bool[Array, "B"]) -> Self:
        """The state of one batch; masked values, NaN included, do not enter."""
        check_rows(values.shape[0], mask)
        check_arrays({"values": (values, mask.shape)})
        total = jnp.where(mask, values, 0).sum(dtype=jnp.float32)
        return cls(total, mask.sum(dtype=jnp.float32))

    def merge(self, other: Self) -> Self:
        return type(self)(self.total + other.total, self.count + other.count)

    def compute(self) -> Float[Array, ""]:
        """The mean, NaN if nothing was counted."""
        return self.total / self.count


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pearson:
    """Pearson's r of each gene over samples."""

    count: Float[Array, ""]
    mean_prediction: Float[Array, "G"]
    mean_target: Float[Array, "G"]
    m2_prediction: Float[Array, "G"]  # sums of squared deviations from the mean
    m2_target: Float[Array, "G"]
    comoment: Float[Array, "G"]  # sum of products of deviations

    @classmethod
    def empty(cls, genes: int) -> Self:
        zeros = jnp.zeros(genes, jnp.float32)
        return cls(jnp.zeros((), jnp.float32), zeros, zeros, zeros, zeros, zeros)

    @classmethod
    def of(
        cls,
        prediction: Float[Array, "B G"],
        target: Float[Array, "B G"],
        mask: Bool[Array, "B"],
    ) -> Self:
        """The state of one batch; masked rows, NaN included, do not enter."""
        check_regression(prediction, target)
        check_rows(prediction.shape[0], mask)
        count = mask.sum(dtype=jnp.float32)
        first = jnp.argmax(mask)  # the first unmasked row

        def centre(values):
            values = jnp.where(mask[:, None], values, 0).astype(jnp.float32)
            # Deviations from a row, not from 0: a constant gene gives exact zeros, here
            # and in merges, where a rounded mean would leave noise that correlates.
            start = values[first][None]
            shifted = jnp.where(mask[:, None], values - start, 0)
            shift = shifted.sum(axis=0, keepdims=True) / jnp.maximum(count, 1)
            deviation = jnp.where(mask[:, None], shifted - shift, 0)
            return (start + shift)[0], deviation

        mean_prediction, dx = centre(prediction)
        mean_target, dy = centre(target)
        return cls(
            count,
            mean_prediction,
            mean_target,
            jnp.square(dx).sum(axis=0),
            jnp.square(dy).sum(axis=0),
            (dx * dy).sum(axis=0),
        )

    def merge(self, other: Self) -> Self:
        """The state of both sets of samples together (Chan et al. 1983)."""
        count = self.count + other.count
        share = other.count / jnp.maximum(count, 1)
        weight = self.count * share
        # An empty side has means of 0, which must not move the other's.
        both = (self.count > 0) & (other.count > 0)
        dx = jnp.where(both, other.mean_prediction - self.mean_prediction, 0)
        dy = jnp.where(both, other.mean_target - self.mean_target, 0)

        def mean(mine, theirs, delta):
            return jnp.where(self.count > 0, mine + delta * share, theirs)

        return type(self)(
            count,
            mean(self.mean_prediction, other.mean_prediction, dx),
            mean(self.mean_target, other.mean_target, dy),
            self.m2_prediction + other.m2_prediction + dx * dx * weight,
            self.m2_target + other.m2_target + dy * dy * weight,
            self.comoment + other.comoment + dx * dy * weight,
        )

    def compute(self) -> Float[Array, "G"]:
        """r of each gene; NaN where prediction or target is constant or n < 2."""
        defined = (self.m2_prediction > 0) & (self.m2_target > 0)
        # Roots first: the product of two small moments underflows.
        spread = jnp.sqrt(jnp.where(defined, self.m2_prediction, 1))
        spread = spread * jnp.sqrt(jnp.where(defined, self.m2_target, 1))
        r = jnp.clip(self.comoment / spread, -1, 1)
        return jnp.where(defined, r, jnp.nan)

    def summary(self) -> dict[str, Array]:
        """Mean r over the genes that have one, and how many of how many have none."""
        r = self.compute()
        defined = ~jnp.isnan(r)
        total = jnp.where(defined, r, 0).sum()
        return {
            "pearson": total / defined.sum(),  # NaN if no gene has one
            "undefined_genes": (~defined).sum(),
            "genes": jnp.asarray(len(r)),
        }


def ranks_among(queries: Rows, keys: Rows, chunk: int = 0) -> Int[Array, "n"]:
    """How many keys stand before the best key of the query's own pair_id.

    Keys are ranked by inner product. Other positives and masked keys do not count. A
    tie goes to the wrong key, so that embeddings that collapsed to a point rank last,
    not first.

    Args:
      queries, keys: rows of two modalities.
      chunk: queries compared at once, 0 for all.

    Returns:
      `[n]` int32 from 0 (found first); the number of keys for masked queries, and for
      those without a key of their own.

    Raises:
      ChunkError: `chunk` does not divide the queries.
    """
    whole = len(keys.mask)

    def compare(some: Rows):
        scores = some.z @ keys.z.T
        same = some.pair_id[:, None] == keys.pair_id[None, :]
        own = same & keys.mask[None]
        best = jnp.where(own, scores, -jnp.inf).max(axis=1, keepdims=True)
        before = (scores >= best) & ~same & keys.mask[None]
        found = some.mask & own.any(axis=1)
        return jnp.where(found, before.sum(axis=1, dtype=jnp.int32), whole)

    return by_chunks(compare, queries, chunk)


def found_first(queries: Rows, keys: Rows, chunk: int = 0) -> Float[Array, "n"]:
    """1 where a key of the query's pair_id is ranked first, else 0 (`ranks_among`)."""
    return (ranks_among(queries, keys, chunk) < 1).astype(jnp.float32)


def retrieval_ranks(
    z_query: Float[Array, "B E"],
    z_key: Float[Array, "B E"],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
) -> Int[Array, "B"]:
    """`ranks_among` of a batch whose row i is of one sample in both modalities.

    Returns:
      `[B]` int32 from 0 (found first); B for masked rows, beyond any k.

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not agree.
    """
    if z_query.ndim != 2:
        raise ValueError(f"z_query is {list(z_query.shape)}, wanted [B, E]")
    shape = z_query.shape
    check_arrays({"z_query": (z_query, shape), "z_key": (z_key, shape)})
    queries, keys = emptied(z_query, mask, pair_id), emptied(z_key, mask, pair_id)
    return ranks_among(queries, keys)


def recall_at_k(
    z_query: Float[Array, "B E"],
    z_key: Float[Array, "B E"],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
    k: int,
) -> Float[Array, "B"]:
    """1 where a key of the query's pair_id is among the first k, else 0; `[B]`.

    Masked rows are 0; average with the mask. See `ranks_among` for ties.

    Raises:
      ValueError: if k is less than 1, or shapes do not agree.
    """
    if k < 1:
        raise ValueError(f"k={k}: wanted at least 1")
    ranks = retrieval_ranks(z_query, z_key, mask, pair_id)
    return (ranks < k).astype(jnp.float32) * mask.astype(jnp.float32)
