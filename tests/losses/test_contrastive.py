"""Contrastive losses against loops in NumPy, under jit; masks, chunks, guards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax import losses

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
LOG_SCALE = jnp.float32(np.log(5.0))
BIAS = jnp.float32(-2.0)


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def embeddings(seed, rows, dims=6):
    random = np.random.default_rng(seed)
    pair = [unit(random.normal(size=(rows, dims))).astype(np.float32) for _ in "ab"]
    return *pair, random.integers(0, max(rows // 2, 1), rows).astype(np.int32)


def loop_info_nce(zi, ze, log_scale, mask, pair_id):
    """The docstring's formula, a row at a time, in float64."""
    rows = np.flatnonzero(mask)
    s = np.exp(np.float64(log_scale)) * zi.astype(np.float64) @ ze.T.astype(np.float64)
    values = np.zeros(len(mask))
    for i in rows:
        positives = [p for p in rows if pair_id[p] == pair_id[i]]
        for scores in (s[i], s[:, i]):
            total = scipy.special.logsumexp(scores[rows])
            values[i] -= 0.5 * np.mean([scores[p] - total for p in positives])
    return values


def loop_sigmoid(zi, ze, log_scale, bias, mask, pair_id):
    rows = np.flatnonzero(mask)
    s = np.exp(np.float64(log_scale)) * zi.astype(np.float64) @ ze.T.astype(np.float64)
    values = np.zeros(len(mask))
    for i in rows:
        for j in rows:
            y = 1 if pair_id[i] == pair_id[j] else -1
            for score in (s[i, j], s[j, i]):
                values[i] += 0.5 * np.log1p(np.exp(-y * (score + np.float64(bias))))
    return values


def loop_targets(zi, ze, log_scale, mask, pair_id, targets):
    """Cross-entropy to the targets as `Targets` has them, a row at a time, in float64."""
    rows = np.flatnonzero(mask)
    zi, ze = zi.astype(np.float64)[rows], ze.astype(np.float64)[rows]
    s, ids = np.exp(np.float64(log_scale)) * zi @ ze.T, pair_id[rows]
    similarity = (zi @ zi.T + ze @ ze.T) / 2
    values = np.zeros(len(mask))
    for i, row in enumerate(rows):
        positive = (ids == ids[i]) / (ids == ids[i]).sum()
        soft = scipy.special.softmax(similarity[i] / targets.temperature)
        target = (1 - targets.soft) * positive + targets.soft * soft
        target = (1 - targets.smoothing) * target + targets.smoothing / len(rows)
        for scores in (s[i], s[:, i]):
            values[row] -= 0.5 * target @ scipy.special.log_softmax(scores)
    return values


SOFT = losses.Targets(soft=0.6, temperature=0.3, smoothing=0.1)
info_nce = jax.jit(losses.info_nce, static_argnames=("chunk", "targets"))
sigmoid_loss = jax.jit(losses.sigmoid_loss)
CONTRASTIVE = {
    "info_nce": (
        lambda zi, ze, *rows: info_nce(zi, ze, LOG_SCALE, *rows),
        lambda zi, ze, *rows: loop_info_nce(zi, ze, LOG_SCALE, *rows),
    ),
    "soft": (
        lambda zi, ze, *rows: info_nce(zi, ze, LOG_SCALE, *rows, targets=SOFT),
        lambda zi, ze, *rows: loop_targets(zi, ze, LOG_SCALE, *rows, SOFT),
    ),
    "sigmoid": (
        lambda zi, ze, *rows: sigmoid_loss(zi, ze, LOG_SCALE, BIAS, *rows),
        lambda zi, ze, *rows: loop_sigmoid(zi, ze, LOG_SCALE, BIAS, *rows),
    ),
}
both = pytest.mark.parametrize("name", list(CONTRASTIVE))
# Few sizes, so that few programs are compiled.
cases = given(seed=st.integers(0, 2**31), masked=st.integers(0, 7))


@both
@SETTINGS
@cases
def test_contrastive_is_the_loop(name, seed, masked):
    loss, loop = CONTRASTIVE[name]
    zi, ze, pair_id = embeddings(seed, 8)
    mask = np.random.default_rng(seed).permutation(np.arange(8) >= masked)
    found = loss(zi, ze, mask, pair_id)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, loop(zi, ze, mask, pair_id), rtol=1e-5, atol=1e-5)
    assert not np.any(np.asarray(found)[~mask])


@both
@SETTINGS
@given(seed=st.integers(0, 2**31))
def test_padding_changes_nothing(name, seed):
    loss, _ = CONTRASTIVE[name]
    zi, ze, pair_id = embeddings(seed, 5)
    alone = loss(zi, ze, np.ones(5, bool), pair_id)
    junk = np.full((3, zi.shape[1]), 7.0, np.float32)
    # Padding even claims to be a positive of row 0.
    padded = loss(
        np.concatenate([zi, junk]),
        np.concatenate([ze, junk]),
        np.arange(8) < 5,
        np.concatenate([pair_id, np.full(3, pair_id[0])]),
    )
    np.testing.assert_allclose(padded[:5], alone, rtol=1e-6, atol=1e-6)


@both
@SETTINGS
@given(seed=st.integers(0, 2**31))
def test_permuting_rows_permutes_values(name, seed):
    loss, _ = CONTRASTIVE[name]
    zi, ze, pair_id = embeddings(seed, 8)
    random = np.random.default_rng(seed)
    mask, order = random.random(8) < 0.7, random.permutation(8)
    straight = np.asarray(loss(zi, ze, mask, pair_id))
    shuffled = loss(zi[order], ze[order], mask[order], pair_id[order])
    np.testing.assert_allclose(shuffled, straight[order], rtol=1e-5, atol=1e-5)


def test_distinct_pairs_give_clip():
    zi, ze, _ = embeddings(3, 8)
    found = info_nce(zi, ze, LOG_SCALE, np.ones(8, bool), np.arange(8, dtype=np.int32))
    s = np.exp(float(LOG_SCALE)) * zi @ ze.T
    rows = scipy.special.logsumexp(s, axis=1) - np.diag(s)
    columns = scipy.special.logsumexp(s, axis=0) - np.diag(s)
    np.testing.assert_allclose(found, 0.5 * (rows + columns), rtol=1e-5)


def test_duplicates_are_positives_not_negatives():
    """A batch said twice: each row has two positives, and its loss is log 2 more."""
    zi, ze, _ = embeddings(4, 6)
    ids = np.arange(6, dtype=np.int32)
    once = info_nce(zi, ze, LOG_SCALE, np.ones(6, bool), ids)
    twice = info_nce(
        np.tile(zi, (2, 1)),
        np.tile(ze, (2, 1)),
        LOG_SCALE,
        np.ones(12, bool),
        np.tile(ids, 2),
    )
    np.testing.assert_allclose(twice, np.tile(once, 2) + np.log(2), rtol=1e-5)


def test_least_value_is_log_of_the_positives():
    """Perfectly aligned groups at a high scale reach log |P|, as the docstring says."""
    z = np.repeat(np.eye(3, dtype=np.float32), [1, 2, 4], axis=0)
    ids = np.repeat(np.arange(3, dtype=np.int32), [1, 2, 4])
    found = info_nce(z, z, jnp.float32(np.log(100)), np.ones(7, bool), ids)
    sizes = np.array([1, 2, 2, 4, 4, 4, 4])
    np.testing.assert_allclose(found, np.log(sizes), atol=1e-5)


@both
def test_gradient_is_finite_with_masked_nan(name):
    loss, _ = CONTRASTIVE[name]
    zi, ze, pair_id = embeddings(5, 8)
    mask = np.arange(8) < 5
    dirty_zi, dirty_ze = zi.copy(), ze.copy()
    dirty_zi[5:], dirty_ze[6:] = np.nan, np.inf

    def total(zi, ze):
        return loss(zi, ze, mask, pair_id).sum()

    gradients = jax.jit(jax.grad(total, (0, 1)))
    found = gradients(dirty_zi, dirty_ze)
    for got, clean in zip(found, gradients(zi, ze), strict=True):
        assert np.isfinite(got).all() and not np.any(np.asarray(got)[5:])
        np.testing.assert_allclose(got, clean, rtol=1e-6)


@both
def test_an_empty_batch_is_zero_with_zero_gradient(name):
    loss, _ = CONTRASTIVE[name]
    zi, ze, pair_id = embeddings(6, 4)
    none = np.zeros(4, bool)
    assert not np.any(loss(zi, ze, none, pair_id))
    gradient = jax.grad(lambda z: loss(z, ze, none, pair_id).sum())(zi)
    assert not np.any(gradient)


def test_sigmoid_mean_is_the_papers():
    """Sum over pairs divided by the number of examples, algorithm 1 of the paper."""
    zi, ze, _ = embeddings(7, 8)
    ids = np.arange(8, dtype=np.int32)
    found = sigmoid_loss(zi, ze, LOG_SCALE, BIAS, np.ones(8, bool), ids).mean()
    logits = np.exp(float(LOG_SCALE)) * zi @ ze.T + float(BIAS)
    labels = 2 * np.eye(8) - 1
    paper = -np.log(scipy.special.expit(labels * logits)).sum() / 8
    np.testing.assert_allclose(found, paper, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"ze": np.ones((8, 5), np.float32)},
            ValueError,
            r"\[8, 5\], expected \[8, 6\]",
        ),
        (
            {"ze": np.ones((1, 6), np.float32)},
            ValueError,
            r"\[1, 6\], expected \[8, 6\]",
        ),
        ({"zi": np.ones((8, 6), np.int32)}, TypeError, "z_image is int32"),
        ({"zi": np.ones(8, np.float32)}, ValueError, r"expected \[B, E\]"),
        ({"mask": np.ones(8, np.float32)}, ValueError, r"expected bool\[8\]"),
        ({"mask": np.ones(7, bool)}, ValueError, r"bool\[7\], expected bool\[8\]"),
        ({"ids": np.ones((8, 1), np.int32)}, ValueError, r"expected int\[8\]"),
        ({"ids": np.ones(8, np.float32)}, ValueError, r"expected int\[8\]"),
        ({"scale": jnp.ones(1)}, ValueError, r"log_scale is \[1\], expected \[\]"),
    ],
)
def test_contrastive_guards(change, error, message):
    zi, ze, ids = embeddings(0, 8)
    given = {"zi": zi, "ze": ze, "scale": LOG_SCALE, "mask": np.ones(8, bool)}
    given |= {"ids": ids} | change
    with pytest.raises(error, match=message):
        losses.info_nce(*given.values())


def test_soft_targets_have_no_gradient():
    """The loss's gradient is p - t, with t held: the similarities are only labels."""
    zi, ze, ids = embeddings(12, 6)
    mask, soft = np.ones(6, bool), losses.Targets(soft=1.0, temperature=0.2)
    found = jax.grad(
        lambda z: info_nce(z, ze, LOG_SCALE, mask, ids, targets=soft).sum()
    )
    s = 5.0 * zi.astype(np.float64) @ ze.T
    t = scipy.special.softmax((zi @ zi.T + ze @ ze.T) / 2 / 0.2, axis=1)
    by_row = scipy.special.softmax(s, axis=1) - t
    by_column = scipy.special.softmax(s, axis=0) - t.T
    expected = 0.5 * 5.0 * (by_row + by_column) @ ze
    np.testing.assert_allclose(found(zi), expected, rtol=1e-4, atol=1e-5)


# Chunks


@both
@pytest.mark.parametrize("chunk", [2, 8])
def test_chunks_are_the_whole(name, chunk):
    """In value and in every gradient, with padding and several positives."""
    zi, ze, pair_id = embeddings(8, 16)
    mask = np.random.default_rng(8).random(16) < 0.7
    zi[~mask] = np.nan
    loss = losses.sigmoid_loss if name == "sigmoid" else losses.info_nce
    scalars = (LOG_SCALE, BIAS) if name == "sigmoid" else (LOG_SCALE,)
    options = {"targets": SOFT} if name == "soft" else {}

    def total(arguments, chunk):
        values = loss(*arguments, mask, pair_id, chunk=chunk, **options)
        return (values * np.arange(16)).sum(), values  # rows weigh differently

    run = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    found, expected = run((zi, ze, *scalars), chunk), run((zi, ze, *scalars), 0)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max())


@both
def test_with_chunks_similarities_are_never_whole_in_memory(name):
    rows, dims = 1024, 8
    loss = losses.sigmoid_loss if name == "sigmoid" else losses.info_nce
    options = {"targets": SOFT} if name == "soft" else {}
    z = jax.ShapeDtypeStruct((rows, dims), jnp.float32)
    scalars = (jnp.float32(0),) * (2 if name == "sigmoid" else 1)

    def compiled(chunk):
        def total(zi, ze, mask, pair_id):
            return loss(
                *(zi, ze, *scalars, mask, pair_id), chunk=chunk, **options
            ).sum()

        mask = jax.ShapeDtypeStruct((rows,), jnp.bool_)
        pair_id = jax.ShapeDtypeStruct((rows,), jnp.int32)
        return jax.jit(jax.grad(total, (0, 1))).lower(z, z, mask, pair_id).compile()

    def temporaries(program):
        return program.memory_analysis().temp_size_in_bytes

    whole, chunked = compiled(0), compiled(64)
    assert f"[{rows},{rows}]" in whole.as_text()
    assert f"[{rows},{rows}]" not in chunked.as_text()
    assert temporaries(whole) > 4 * rows**2  # one matrix of float32 at the least
    assert temporaries(chunked) < temporaries(whole) / 4


def test_a_chunk_that_does_not_divide_names_those_that_do():
    losses.require_chunk(64, 16, 8)
    losses.require_chunk(64, 0, 8)
    with pytest.raises(losses.ChunkError, match=r"chunk=48 .* use 8, 16, 32, 64, or 0"):
        losses.require_chunk(64, 48, 8)
    with pytest.raises(losses.ChunkError, match=r"chunk=4 .* over 8 devices"):
        losses.require_chunk(64, 4, 8)
    zi, ze, pair_id = embeddings(0, 8)
    with pytest.raises(
        losses.ChunkError, match=r"chunk=3 does not divide a batch of 8"
    ):
        losses.info_nce(zi, ze, LOG_SCALE, np.ones(8, bool), pair_id, chunk=3)
