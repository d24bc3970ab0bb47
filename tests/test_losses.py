"""Losses against loops in NumPy and scipy, under jit; masks and guards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
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


info_nce = jax.jit(losses.info_nce)
sigmoid_loss = jax.jit(losses.sigmoid_loss)
CONTRASTIVE = {
    "info_nce": (
        lambda zi, ze, *rows: info_nce(zi, ze, LOG_SCALE, *rows),
        lambda zi, ze, *rows: loop_info_nce(zi, ze, LOG_SCALE, *rows),
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
        ({"ze": np.ones((8, 5), np.float32)}, ValueError, r"\[8, 5\], wanted \[8, 6\]"),
        ({"ze": np.ones((1, 6), np.float32)}, ValueError, r"\[1, 6\], wanted \[8, 6\]"),
        ({"zi": np.ones((8, 6), np.int32)}, TypeError, "z_image is int32"),
        ({"zi": np.ones(8, np.float32)}, ValueError, r"wanted \[B, E\]"),
        ({"mask": np.ones(8, np.float32)}, ValueError, r"wanted bool\[8\]"),
        ({"mask": np.ones(7, bool)}, ValueError, r"bool\[7\], wanted bool\[8\]"),
        ({"ids": np.ones((8, 1), np.int32)}, ValueError, r"wanted int\[8\]"),
        ({"ids": np.ones(8, np.float32)}, ValueError, r"wanted int\[8\]"),
        ({"scale": jnp.ones(1)}, ValueError, r"log_scale is \[1\], wanted \[\]"),
    ],
)
def test_contrastive_guards(change, error, message):
    zi, ze, ids = embeddings(0, 8)
    given = {"zi": zi, "ze": ze, "scale": LOG_SCALE, "mask": np.ones(8, bool)}
    given |= {"ids": ids} | change
    with pytest.raises(error, match=message):
        losses.info_nce(*given.values())


# Regression


def genes(seed, rows=6, count=5):
    random = np.random.default_rng(seed)
    return [random.normal(size=(rows, count)).astype(np.float32) for _ in "xy"]


def test_mse():
    x, y = genes(0)
    wanted = ((x - y) ** 2).mean(axis=1)
    np.testing.assert_allclose(jax.jit(losses.mse)(x, y), wanted, rtol=1e-6)


@pytest.mark.parametrize("delta", [0.3, 1.0, 10.0])
def test_huber_is_scipys(delta):
    x, y = genes(1)
    wanted = scipy.special.huber(delta, x - y).mean(axis=1)
    found = jax.jit(losses.huber, static_argnums=2)(x, y, delta)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


pearson = jax.jit(losses.pearson_loss, static_argnames="axis")


@SETTINGS
@given(seed=st.integers(0, 2**31), masked=st.integers(0, 5))
def test_pearson_masked_mean_is_one_minus_mean_r(seed, masked):
    x, y = genes(seed, rows=8)
    mask = np.random.default_rng(seed).permutation(np.arange(8) >= masked)
    found = np.asarray(pearson(x, y, mask))
    r = [
        scipy.stats.pearsonr(x[mask, g], y[mask, g]).statistic
        for g in range(x.shape[1])
    ]
    np.testing.assert_allclose(found[mask].mean(), 1 - np.mean(r), atol=2e-4)
    assert not np.any(found[~mask])


def test_pearson_per_sample():
    x, y = genes(2, rows=4, count=30)
    mask = np.array([True, True, False, True])
    wanted = [1 - scipy.stats.pearsonr(a, b).statistic for a, b in zip(x, y)]  # noqa: B905
    found = pearson(x, y, mask, axis="sample")
    np.testing.assert_allclose(found, np.where(mask, wanted, 0), atol=1e-4)


def test_pearson_leaves_out_constant_targets_and_stays_finite():
    x, y = genes(3)
    mask = np.ones(6, bool)
    without = np.asarray(pearson(x[:, 1:], y[:, 1:], mask)).mean()
    y[:, 0] = 2.5
    assert np.asarray(pearson(x, y, mask)).mean() == pytest.approx(without, abs=1e-6)
    # A head that starts at 0 predicts a constant; a batch may hold one sample.
    for prediction, rows in ((np.zeros_like(x), mask), (x, np.arange(6) == 2)):
        value, gradient = jax.value_and_grad(lambda p, m: pearson(p, y, m).sum())(
            prediction, rows
        )
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("axis", ["gene", "sample"])
def test_pearson_ignores_masked_nan(axis):
    x, y = genes(4)
    mask = np.arange(6) < 4
    clean = np.asarray(pearson(x, y, mask, axis=axis))
    x[4:], y[5] = np.nan, np.nan
    gradient = jax.grad(lambda p: pearson(p, y, mask, axis=axis).sum())(x)
    assert np.isfinite(gradient).all() and not np.any(np.asarray(gradient)[4:])
    np.testing.assert_array_equal(pearson(x, y, mask, axis=axis), clean)


def test_pearson_refuses_another_axis():
    x, y = genes(0)
    with pytest.raises(ValueError, match="'gene' or 'sample'"):
        losses.pearson_loss(x, y, np.ones(6, bool), axis="tile")


@pytest.mark.parametrize("loss", [losses.mse, losses.huber])
def test_regression_guards_forbid_broadcasting(loss):
    x, _ = genes(0)
    with pytest.raises(ValueError, match=r"target is \[6, 1\], wanted \[6, 5\]"):
        loss(x, x[:, :1])
    with pytest.raises(TypeError, match="target is int32"):
        loss(x, x.astype(np.int32))
    with pytest.raises(ValueError, match=r"wanted \[B, G\]"):
        loss(x[0], x[0])


# Negative binomial


@pytest.mark.parametrize("log_alpha", [-8.0, -4.0, -2.9, -2.7, 0.0, 2.0])
def test_negative_binomial_is_scipys(log_alpha):
    random = np.random.default_rng(0)
    mu = np.exp(random.uniform(-5, 6, (4, 50))).astype(np.float32)
    counts = random.poisson(mu * random.gamma(2.0, 0.5, mu.shape)).astype(np.float32)
    alpha = np.exp(np.float64(np.float32(log_alpha)))
    m = mu.astype(np.float64)
    wanted = -scipy.stats.nbinom(1 / alpha, 1 / (1 + alpha * m)).logpmf(counts)
    log_dispersion = np.full(50, log_alpha, np.float32)
    found = jax.jit(losses.negative_binomial_nll)(mu, log_dispersion, counts)
    np.testing.assert_allclose(found, wanted.mean(axis=1), rtol=2e-5)


def test_negative_binomial_gradient_is_the_score():
    """d/d mu = (mu - c) / (mu (1 + alpha mu)); the dispersion's by differences."""
    mu = np.array([[0.5, 3.0, 40.0]], np.float32)
    counts = np.array([[0.0, 5.0, 20.0]], np.float32)
    log_alpha = np.array([-5.0, 0.0, 1.0], np.float32)

    def total(mu, log_alpha):
        return losses.negative_binomial_nll(mu, log_alpha, counts).sum() * 3

    by_mu, by_alpha = jax.jit(jax.grad(total, (0, 1)))(mu, log_alpha)
    score = (mu - counts) / (mu * (1 + np.exp(log_alpha)[None] * mu))
    np.testing.assert_allclose(by_mu, score, rtol=1e-4, atol=1e-6)

    def exact(log_alpha):
        n, m = np.exp(-log_alpha), mu.astype(np.float64)
        return -scipy.stats.nbinom(n[None], n[None] / (n[None] + m)).logpmf(counts)

    step, wide = 1e-4, log_alpha.astype(np.float64)
    difference = (exact(wide + step) - exact(wide - step))[0] / (2 * step)
    np.testing.assert_allclose(by_alpha, difference, rtol=2e-3, atol=1e-4)


def test_negative_binomial_guards():
    ones = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"log_dispersion is \[4, 3\], wanted \[3\]"):
        losses.negative_binomial_nll(ones, ones, ones)
    with pytest.raises(ValueError, match=r"counts is \[4, 1\], wanted \[4, 3\]"):
        losses.negative_binomial_nll(ones, ones[0], ones[:, :1])
    with pytest.raises(TypeError, match="counts is int32"):
        losses.negative_binomial_nll(ones, ones[0], ones.astype(np.int32))


def test_negative_binomial_is_finite_at_the_edges():
    """An impossible rate, a huge count, dispersions beyond the bounds."""
    mu = np.array([[0.0, 1e-30, 1e6, 1e6]], np.float32)
    counts = np.array([[0.0, 5.0, 0.0, 1e6]], np.float32)
    bounds = np.array([-100.0, 100.0, -100.0, 100.0], np.float32)
    value, gradients = jax.value_and_grad(
        lambda m, a: losses.negative_binomial_nll(m, a, counts).sum(), (0, 1)
    )(mu, bounds)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


# DINO


def test_dino_is_the_loop():
    random = np.random.default_rng(0)
    student = random.normal(size=(3, 5, 7)).astype(np.float32)
    teacher = random.normal(size=(3, 2, 7)).astype(np.float32)
    centre = random.normal(size=7).astype(np.float32)
    wanted = np.zeros(3)
    for b in range(3):
        pairs = []
        for v in range(2):
            q = scipy.special.softmax((teacher[b, v] - centre) / 0.04)
            for s in range(5):
                if s != v:
                    log_p = scipy.special.log_softmax(student[b, s] / 0.1)
                    pairs.append(-(q * log_p).sum())
        assert len(pairs) == 8
        wanted[b] = np.mean(pairs)
    found = jax.jit(losses.dino_loss)(student, teacher, centre, 0.1, 0.04)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_dino_does_not_differentiate_the_teacher():
    random = np.random.default_rng(1)
    views = random.normal(size=(2, 3, 4)).astype(np.float32)
    by_student, by_teacher, by_centre = jax.grad(
        lambda s, t, c: losses.dino_loss(s, t, c, 0.1, 0.04).sum(), (0, 1, 2)
    )(views, views[:, :2], np.zeros(4, np.float32))
    assert np.any(by_student)
    assert not np.any(by_teacher) and not np.any(by_centre)


@pytest.mark.parametrize(
    ("student", "teacher", "centre", "message"),
    [
        ((2, 3, 4), (2, 2, 5), (4,), r"teacher is \[2, 2, 5\], wanted \[2, 2, 4\]"),
        ((2, 3, 4), (2, 2, 4), (1,), r"centre is \[1\], wanted \[4\]"),
        ((2, 1, 4), (2, 1, 4), (4,), "at least two"),
        ((2, 2, 4), (2, 3, 4), (4,), "2 student and 3 teacher views"),
        ((2, 4), (2, 4), (4,), r"wanted \[B, S, P\]"),
    ],
)
def test_dino_guards(student, teacher, centre, message):
    arrays = [np.ones(shape, np.float32) for shape in (student, teacher, centre)]
    with pytest.raises(ValueError, match=message):
        losses.dino_loss(*arrays, 0.1, 0.04)
