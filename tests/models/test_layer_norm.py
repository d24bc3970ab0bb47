"""LayerNorm against NumPy in float64, and its gradient against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.models.layer_norm import LayerNorm, layer_norm

EPSILON = 1e-3


def by_numpy(x, scale, bias):
    x = x.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + EPSILON) * scale + bias


@pytest.fixture(scope="module", params=[(5,), (2, 3, 5)], ids=str)
def values(request):
    """x far from 0 beside its deviation, scale, bias, and what the output is weighed by."""
    random = np.random.default_rng(0)
    x = 100 + random.normal(0, 0.5, request.param).astype(np.float32)
    scale, bias = random.normal(1, 0.5, (2, 5)).astype(np.float32)
    return x, scale, bias, random.normal(size=request.param)


def test_against_numpy(values):
    *arguments, _ = values
    found = layer_norm(*map(jnp.asarray, arguments), EPSILON)
    np.testing.assert_allclose(found, by_numpy(*arguments), rtol=1e-4, atol=1e-4)


def test_gradients_are_differences(values):
    *arguments, weights = values

    def loss(*arguments):
        return (layer_norm(*arguments, EPSILON) * weights.astype(np.float32)).sum()

    found = jax.jit(jax.grad(loss, (0, 1, 2)))(*map(jnp.asarray, arguments))
    for place, gradient in enumerate(found):
        assert gradient.dtype == jnp.float32
        expected = np.zeros(gradient.shape)
        for index in np.ndindex(*gradient.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [one.astype(np.float64) for one in arguments]
                moved[place][index] += step
                ends.append((by_numpy(*moved) * weights).sum())
            expected[index] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=2e-3)


def test_the_module_is_float32_and_starts_as_the_identity_on_what_is_normal():
    x = jnp.asarray([[1.0, -1.0, 1.0, -1.0]], jnp.bfloat16)
    found, variables = LayerNorm(1e-6).init_with_output(jax.random.key(0), x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, x.astype(jnp.float32), rtol=1e-5)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"scale": (4,), "bias": (4,)}
