"""Losses of predictions against NumPy and scipy, under jit; masks and guards."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax import losses

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)


def genes(seed, rows=6, count=5):
    random = np.random.default_rng(seed)
    return [random.normal(size=(rows, count)).astype(np.float32) for _ in "xy"]


def test_mse():
    x, y = genes(0)
    expected = ((x - y) ** 2).mean(axis=1)
    np.testing.assert_allclose(jax.jit(losses.mse)(x, y), expected, rtol=1e-6)


@pytest.mark.parametrize("delta", [0.3, 1.0, 10.0])
def test_huber_is_scipys(delta):
    x, y = genes(1)
    expected = scipy.special.huber(delta, x - y).mean(axis=1)
    found = jax.jit(losses.huber, static_argnums=2)(x, y, delta)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


pearson = jax.jit(losses.pearson_loss)


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


def test_pearson_ignores_masked_nan():
    x, y = genes(4)
    mask = np.arange(6) < 4
    clean = np.asarray(pearson(x, y, mask))
    x[4:], y[5] = np.nan, np.nan
    gradient = jax.grad(lambda p: pearson(p, y, mask).sum())(x)
    assert np.isfinite(gradient).all() and not np.any(np.asarray(gradient)[4:])
    np.testing.assert_array_equal(pearson(x, y, mask), clean)


@pytest.mark.parametrize("loss", [losses.mse, losses.huber])
def test_regression_guards_forbid_broadcasting(loss):
    x, _ = genes(0)
    with pytest.raises(ValueError, match=r"target is \[6, 1\], expected \[6, 5\]"):
        loss(x, x[:, :1])
    with pytest.raises(TypeError, match="target is int32"):
        loss(x, x.astype(np.int32))
    with pytest.raises(ValueError, match=r"expected \[B, G\]"):
        loss(x[0], x[0])


# Negative binomial


@pytest.mark.parametrize("log_alpha", [-8.0, -4.0, -2.9, -2.7, 0.0, 2.0])
def test_negative_binomial_is_scipys(log_alpha):
    random = np.random.default_rng(0)
    mu = np.exp(random.uniform(-5, 6, (4, 50))).astype(np.float32)
    counts = random.poisson(mu * random.gamma(2.0, 0.5, mu.shape)).astype(np.float32)
    alpha = np.exp(np.float64(np.float32(log_alpha)))
    m = mu.astype(np.float64)
    expected = -scipy.stats.nbinom(1 / alpha, 1 / (1 + alpha * m)).logpmf(counts)
    log_dispersion = np.full(50, log_alpha, np.float32)
    found = jax.jit(losses.negative_binomial_nll)(mu, log_dispersion, counts)
    np.testing.assert_allclose(found, expected.mean(axis=1), rtol=2e-5)


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
    with pytest.raises(ValueError, match=r"log_dispersion is \[4, 3\], expected \[3\]"):
        losses.negative_binomial_nll(ones, ones, ones)
    with pytest.raises(ValueError, match=r"counts is \[4, 1\], expected \[4, 3\]"):
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


def test_losses_are_over_the_genes_that_were_measured():
    """A row's loss is that of a table without its other genes, whatever they hold."""
    x, y = genes(11)
    known = np.random.default_rng(11).random(x.shape) > 0.4
    known[:, 0] = True
    known[5] = False  # nothing of this sample: it has no loss
    y[~known] = np.nan
    counts = np.where(known, np.abs(np.rint(3 * y)), np.nan)
    mu, alpha = np.exp(x), np.linspace(0.5, 2, 5).astype(np.float32)
    nll = -scipy.stats.nbinom(1 / alpha, 1 / (1 + alpha * mu)).logpmf(counts)
    found = jax.jit(
        lambda x, y, counts: (
            losses.mse(x, y, known),
            losses.huber(x, y, 0.5, known),
            losses.negative_binomial_nll(mu, np.log(alpha), counts, known),
        )
    )(x, y, counts)
    for values, each in zip(
        found, ((x - y) ** 2, scipy.special.huber(0.5, x - y), nll), strict=True
    ):
        expected = [each[row, known[row]].mean() for row in range(5)]
        np.testing.assert_allclose(values, [*expected, 0], rtol=1e-4)


@SETTINGS
@given(seed=st.integers(0, 2**31))
def test_pearson_of_each_gene_is_over_the_samples_that_have_it(seed):
    x, y = genes(seed, rows=12)
    random = np.random.default_rng(seed)
    known, mask = random.random(x.shape) > 0.3, np.arange(12) < 10
    known[:4] = True
    y[~known] = np.nan
    values = np.asarray(losses.pearson_loss(x, y, mask, measured=known))
    rows = [known[:, g] & mask for g in range(5)]
    r = [
        scipy.stats.pearsonr(x[own, g], y[own, g]).statistic
        for g, own in enumerate(rows)
    ]
    np.testing.assert_allclose(values[mask].mean(), 1 - np.mean(r), atol=2e-4)


@pytest.mark.parametrize("partial", [False, True])
def test_weights_make_the_mean_over_genes_a_weighted_one(partial):
    x, y = genes(13)
    weights, mask = np.array([0.0, 0.5, 1, 2, 4], np.float32), np.ones(6, bool)
    known = np.random.default_rng(13).random(x.shape) > 0.3 if partial else None
    each = {losses.mse: (x - y) ** 2, losses.huber: scipy.special.huber(1.0, x - y)}
    if partial:
        known[:, 4] = True
        y[~known] = np.nan
    own = np.where(known, weights, 0) if partial else np.tile(weights, (6, 1))
    for loss, values in each.items():
        found = jax.jit(loss)(x, y, measured=known, weights=weights)
        expected = (own * values).sum(axis=1) / own.sum(axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    r = []
    for g in range(5):
        rows = known[:, g] if partial else mask
        r.append(scipy.stats.pearsonr(x[rows, g], y[rows, g]).statistic)
    found = losses.pearson_loss(x, y, mask, measured=known, weights=weights)
    expected = 1 - np.average(r, weights=weights)
    np.testing.assert_allclose(found.mean(), expected, atol=2e-4)
    counts = np.abs(np.rint(3 * np.nan_to_num(y)))
    nll = lambda **more: losses.negative_binomial_nll(
        np.exp(x), np.zeros(5, np.float32), counts, **more
    )
    m = np.exp(x.astype(np.float64))
    expected = -scipy.stats.nbinom(1, 1 / (1 + m)).logpmf(counts)
    expected = (own * expected).sum(axis=1) / own.sum(axis=1)
    found = nll(measured=known, weights=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
