"""Retrieval within a batch: the rank of each query's own key. Not part of any loss."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pathjax.losses.contrastive import Rows, by_chunks


def ranks_among(queries: Rows, keys: Rows, chunk: int = 0) -> Int[Array, "n"]:
    """How many keys are ranked before the best key of the query's own pair_id.

    Keys are ranked by inner product. Other positives and masked keys do not count. In a
    tie the wrong key comes first, so that collapsed embeddings rank last.

    Args:
      queries, keys: Rows of two modalities.
      chunk: Queries compared at once, 0 for all.

    Returns:
      `[n]` int32 from 0 (ranked first); the number of keys for masked queries, and for
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
        has_own = some.mask & own.any(axis=1)
        return jnp.where(has_own, before.sum(axis=1, dtype=jnp.int32), whole)

    return by_chunks(compare, queries, chunk)


def hits_first(queries: Rows, keys: Rows, chunk: int = 0) -> Float[Array, "n"]:
    """1 where a key of the query's pair_id is ranked first, else 0 (`ranks_among`)."""
    return (ranks_among(queries, keys, chunk) < 1).astype(jnp.float32)
