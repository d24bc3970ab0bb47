"""Ranks within a batch, against a loop."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.losses import emptied
from pathjax.losses.metrics import hits_first, ranks_among

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)


def loop_ranks(query, key, mask, pair_id):
    """Keys sorted one by one; wrong keys first among equals."""
    ranks = np.full(len(mask), len(mask))
    for i in np.flatnonzero(mask):
        keys = [
            (-float(query[i] @ key[j]), pair_id[j] == pair_id[i], j)
            for j in np.flatnonzero(mask)
        ]
        wrong = 0
        for _, right, _ in sorted(keys):
            if right:
                break
            wrong += 1
        ranks[i] = wrong
    return ranks


@jax.jit
def ranks_of(query, key, mask, pair_id):
    queries, keys = emptied(query, mask, pair_id), emptied(key, mask, pair_id)
    return ranks_among(queries, keys), hits_first(queries, keys)


@SETTINGS
@given(seed=st.integers(0, 2**31), masked=st.integers(0, 9))
def test_ranks_are_the_loops(seed, masked):
    random = np.random.default_rng(seed)
    # Small integers: exact products, many ties.
    query, key = random.integers(-2, 3, (2, 10, 3)).astype(np.float32)
    mask = random.permutation(np.arange(10) >= masked)
    pair_id = random.integers(0, 6, 10).astype(np.int32)
    ranks, first = ranks_of(query, key, mask, pair_id)
    np.testing.assert_array_equal(ranks, loop_ranks(query, key, mask, pair_id))
    np.testing.assert_array_equal(first, (np.asarray(ranks) < 1) & mask)


def test_collapsed_embeddings_rank_last():
    ones, ids = np.ones((8, 4), np.float32), np.arange(8, dtype=np.int32)
    ranks, first = ranks_of(ones, ones, np.ones(8, bool), ids)
    assert (np.asarray(ranks) == 7).all() and not np.any(first)


def test_padding_is_not_a_candidate():
    eye, ids = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32)
    mask = np.arange(4) < 3
    key = eye.copy()
    key[3] = 9.0  # would come first everywhere
    ranks, first = ranks_of(eye, key, mask, ids)
    np.testing.assert_array_equal(first, [1, 1, 1, 0])
    np.testing.assert_array_equal(ranks, [0, 0, 0, 4])
