"""Aggregation, projections, heads and temperature against NumPy, with their masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.towers import (
    INIT_LOG_SCALE,
    MAX_LOG_SCALE,
    Aggregator,
    NegativeBinomialHead,
    Projection,
    RegressionHead,
    Temperature,
    TextTower,
    clip_log_scale,
    l2_normalise,
)


def bag(batch=3, tiles=5, width=12, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(batch, tiles, width)).astype(np.float32)


def attention_params(width=12, hidden=4):
    params = Aggregator("attention", hidden).init(jax.random.key(0), bag(width=width))
    # Away from 0, or the weights would all be equal.
    return jax.tree.map(lambda leaf: np.asarray(leaf) * 50, params)


def variables(kind):
    return attention_params() if kind == "attention" else {}


def aggregate(kind, tiles, mask=None):
    module = Aggregator(kind, 4)
    return jax.jit(module.apply)(variables(kind), tiles, mask)


both = pytest.mark.parametrize("kind", ["mean", "attention"])


@both
def test_masked_tiles_change_nothing(kind):
    tiles = bag()
    alone = aggregate(kind, tiles[:, :3])
    dirty = tiles.copy()
    dirty[:, 3:] = np.nan
    mask = np.tile(np.arange(5) < 3, (3, 1))
    np.testing.assert_allclose(aggregate(kind, dirty, mask), alone, atol=1e-6)
    gradient = jax.grad(lambda t: aggregate(kind, t, mask).sum())(dirty)
    assert np.isfinite(gradient).all() and not np.any(np.asarray(gradient)[:, 3:])


@both
def test_the_order_of_tiles_does_not_matter(kind):
    tiles = bag()
    turned = aggregate(kind, tiles[:, ::-1].copy())
    np.testing.assert_allclose(turned, aggregate(kind, tiles), atol=1e-6)


@both
def test_a_sample_without_tiles_is_zero(kind):
    mask = np.ones((3, 5), bool)
    mask[1] = False
    found = np.asarray(aggregate(kind, bag(), mask))
    assert not found[1].any() and found[[0, 2]].any()


@both
def test_one_tile_is_itself(kind):
    tiles = bag(tiles=1)
    np.testing.assert_allclose(aggregate(kind, tiles), tiles[:, 0], rtol=1e-6)


def test_mean_is_the_mean():
    np.testing.assert_allclose(
        aggregate("mean", bag()), bag().mean(axis=1), rtol=1e-5, atol=1e-6
    )


def test_attention_is_the_papers():
    p, h = attention_params()["params"], bag().astype(np.float64)
    v = np.tanh(h @ p["value"]["kernel"] + p["value"]["bias"])
    u = scipy.special.expit(h @ p["gate"]["kernel"] + p["gate"]["bias"])
    weight = scipy.special.softmax(v * u @ p["score"]["kernel"], axis=1)
    assert weight.std() > 0.05  # it does choose
    found = aggregate("attention", bag())
    np.testing.assert_allclose(found, (weight * h).sum(axis=1), atol=1e-5)


def test_aggregator_guards():
    with pytest.raises(ValueError, match="'mean' or 'attention'"):
        Aggregator("max").apply({}, bag())
    with pytest.raises(ValueError, match=r"tile_mask is \[3, 4\], expected \[3, 5\]"):
        Aggregator().apply({}, bag(), np.ones((3, 4), bool))


def test_l2_normalise():
    x = bag()[0]
    expected = x / np.linalg.norm(x, axis=-1, keepdims=True)
    np.testing.assert_allclose(l2_normalise(x), expected, atol=1e-6)
    gradient = jax.grad(lambda x: l2_normalise(x).sum())(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()
    assert not np.any(l2_normalise(jnp.zeros((2, 3))))


@pytest.mark.parametrize("hidden", [0, 7])
def test_projection_has_unit_length_in_float32(hidden):
    module = Projection(4, hidden)
    x = jnp.asarray(bag()[0], jnp.bfloat16)
    out = module.apply(module.init(jax.random.key(0), x), x)
    assert out.dtype == jnp.float32 and out.shape == (5, 4)
    np.testing.assert_allclose(np.linalg.norm(out, axis=-1), 1, atol=1e-5)


def test_regression_head_does_not_see_the_scale_of_the_encoder():
    module, x = RegressionHead(6), bag()[0]
    params = module.init(jax.random.key(0), x)
    out = module.apply(params, x)
    assert out.shape == (5, 6)
    np.testing.assert_allclose(module.apply(params, 30 * x), out, atol=1e-5)


def test_negative_binomial_head_starts_at_even_shares_and_cannot_overflow():
    module, x = NegativeBinomialHead(50), bag(width=16)[0]
    params = module.init(jax.random.key(0), x)
    rate, dispersion = module.apply(params, x)
    assert dispersion.shape == (50,) and not dispersion.any()
    assert np.exp(rate).sum(axis=1) == pytest.approx(np.ones(5), rel=0.3)
    huge = jax.tree.map(lambda leaf: leaf + 1e6, params)
    assert np.isfinite(np.exp(module.apply(huge, x)[0])).all()


def test_temperature_starts_where_the_papers_do():
    scale, bias = Temperature().apply(Temperature().init(jax.random.key(0)))
    assert scale == pytest.approx(INIT_LOG_SCALE) and bias == 0
    assert np.exp(-scale) == pytest.approx(0.07)
    module = Temperature(sigmoid=True)
    params = module.init(jax.random.key(0))
    assert set(params["params"]) == {"log_scale", "bias"}
    scale, bias = module.apply(params)
    assert np.exp(scale) == pytest.approx(10) and bias == -10


@pytest.mark.parametrize(
    ("log_scale", "slope", "expected"),
    [
        (1.0, -3.0, -3.0),  # inside: untouched, either way
        (1.0, 3.0, 3.0),
        (9.0, -3.0, 0.0),  # descent would rise further: stopped
        (9.0, 3.0, 3.0),  # descent would come back: free
    ],
)
def test_clip_log_scale(log_scale, slope, expected):
    value, gradient = jax.jit(jax.value_and_grad(lambda s: slope * clip_log_scale(s)))(
        log_scale
    )
    assert value == pytest.approx(slope * min(log_scale, MAX_LOG_SCALE))
    assert gradient == pytest.approx(expected)


@pytest.mark.slow
def test_the_text_tower_takes_each_row_by_itself():
    tower = TextTower(width=6, dropout=0.5)
    text = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    variables = tower.init(jax.random.key(0), text)
    still = tower.apply(variables, text)
    assert still.shape == (4, 6) and still.dtype == jnp.float32
    np.testing.assert_allclose(tower.apply(variables, text[1:2]), still[1:2], atol=1e-6)
    rngs = {"dropout": jax.random.key(1)}
    sampled = tower.apply(variables, text, train=True, rngs=rngs)
    assert np.any(np.asarray(sampled) == 0) and np.any(sampled != still)
    # A row of zeros, as of a sample without text, has a finite gradient.
    gradient = jax.grad(lambda x: tower.apply(variables, x).sum())(np.zeros_like(text))
    assert np.isfinite(gradient).all()
