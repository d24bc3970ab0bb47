"""Metric states merge in any order to what scipy gives on the whole; ranks by loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.losses.metrics import Mean, Pearson, recall_at_k, retrieval_ranks

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
pearson_of = jax.jit(Pearson.of)


def table(seed, rows, genes=4, offset=0.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, genes)) + offset
    y = 0.5 * x + random.normal(size=(rows, genes))
    return x.astype(np.float32), y.astype(np.float32)


def r_of(x, y):
    """In float64, of the float32 values given."""
    return [
        scipy.stats.pearsonr(a, b).statistic
        for a, b in zip(x.T.astype(np.float64), y.T.astype(np.float64), strict=True)
    ]


def test_mean_merges_sums_not_means():
    first = Mean.of(jnp.array([1.0, 2.0, np.nan]), jnp.array([True, True, False]))
    second = Mean.of(jnp.array([6.0]), jnp.array([True]))
    assert first.merge(second).compute() == pytest.approx(3.0)  # not 3.75
    assert Mean.empty().merge(second).compute() == pytest.approx(6.0)
    assert np.isnan(Mean.empty().compute())


@SETTINGS
@given(seed=st.integers(0, 2**31), sizes=st.permutations([0, 1, 2, 5, 12]))
def test_pearson_merged_in_any_order_is_scipys(seed, sizes):
    x, y = table(seed, sum(sizes))
    states, start = [Pearson.empty(4)], 0
    for size in sizes:  # batches of 12, padded with junk
        rows = slice(start, start + size)
        batch = [np.full((12, 4), np.nan, np.float32) for _ in "xy"]
        batch[0][:size], batch[1][:size] = x[rows], y[rows]
        states.append(pearson_of(*batch, np.arange(12) < size))
        start += size
    left = functools.reduce(Pearson.merge, states)
    right = functools.reduce(lambda a, b: b.merge(a), states)
    for state in (left, right):
        assert state.count == len(x)
        np.testing.assert_allclose(state.compute(), r_of(x, y), atol=1e-5)


def test_pearson_survives_an_offset_that_cancels_in_sums_of_squares():
    x, y = table(1, 400, offset=1000.0)
    parts = [
        pearson_of(x[i : i + 50], y[i : i + 50], np.ones(50, bool))
        for i in range(0, 400, 50)
    ]
    found = functools.reduce(Pearson.merge, parts).compute()
    # float32 rounds the values themselves; the oracle gets the same values.
    np.testing.assert_allclose(found, r_of(x, y), atol=1e-4)
    # The naive form, for the record of why: its variance is not even close to 1.
    naive = (x * x).sum(axis=0) / 400 - (x.sum(axis=0) / 400) ** 2
    assert np.abs(naive - x.astype(np.float64).var(axis=0)).max() > 0.01


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-20, 12345.678])
def test_constant_genes_are_counted_not_averaged(constant):
    x, y = table(2, 30)
    x[:, 0], y[:, 3] = constant, constant
    parts = [
        pearson_of(x[i : i + 10], y[i : i + 10], np.arange(10) < 9)
        for i in range(0, 30, 10)
    ]
    state = functools.reduce(Pearson.merge, parts)
    kept = np.arange(30) % 10 < 9
    r = np.asarray(state.compute())
    assert np.isnan(r[[0, 3]]).all()
    wanted = r_of(x[kept, 1:3], y[kept, 1:3])
    np.testing.assert_allclose(r[1:3], wanted, atol=1e-5)
    summary = state.summary()
    assert summary["undefined_genes"] == 2 and summary["genes"] == 4
    assert summary["pearson"] == pytest.approx(np.mean(wanted), abs=1e-5)


def test_pearson_without_samples_is_undefined():
    summary = Pearson.empty(3).summary()
    assert np.isnan(summary["pearson"]) and summary["undefined_genes"] == 3
    one = pearson_of(*table(0, 1), np.ones(1, bool))
    assert np.isnan(one.compute()).all()


def test_pearson_refuses_what_would_broadcast():
    x, y = table(0, 4)
    with pytest.raises(ValueError, match=r"target is \[4, 1\], wanted \[4, 4\]"):
        Pearson.of(x, y[:, :1], np.ones(4, bool))
    with pytest.raises(ValueError, match=r"wanted bool\[4\]"):
        Pearson.of(x, y, np.ones(3, bool))


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


ranks_of = jax.jit(retrieval_ranks)


@SETTINGS
@given(seed=st.integers(0, 2**31), masked=st.integers(0, 9))
def test_ranks_are_the_loops(seed, masked):
    random = np.random.default_rng(seed)
    # Small integers: exact products, many ties.
    query, key = random.integers(-2, 3, (2, 10, 3)).astype(np.float32)
    mask = random.permutation(np.arange(10) >= masked)
    pair_id = random.integers(0, 6, 10).astype(np.int32)
    found = ranks_of(query, key, mask, pair_id)
    np.testing.assert_array_equal(found, loop_ranks(query, key, mask, pair_id))
    for k in (1, 3):
        hits = recall_at_k(query, key, mask, pair_id, k)
        np.testing.assert_array_equal(hits, (np.asarray(found) < k) & mask)


def test_collapsed_embeddings_find_nothing():
    ones, ids = np.ones((8, 4), np.float32), np.arange(8, dtype=np.int32)
    assert not np.any(recall_at_k(ones, ones, np.ones(8, bool), ids, 5))


def test_padding_is_no_candidate():
    eye, ids = np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32)
    mask = np.arange(4) < 3
    key = eye.copy()
    key[3] = 9.0  # would win everywhere
    hits = recall_at_k(eye, key, mask, ids, 1)
    np.testing.assert_array_equal(hits, [1, 1, 1, 0])
    # k beyond the number of rows is no hit for padding either.
    np.testing.assert_array_equal(recall_at_k(eye, key, mask, ids, 99), [1, 1, 1, 0])


def test_recall_guards():
    eye, ids, mask = np.eye(4, dtype=np.float32), np.arange(4), np.ones(4, bool)
    with pytest.raises(ValueError, match="k=0"):
        recall_at_k(eye, eye, mask, ids, 0)
    with pytest.raises(ValueError, match=r"z_key is \[3, 4\], wanted \[4, 4\]"):
        recall_at_k(eye, eye[:3], mask, ids, 1)
