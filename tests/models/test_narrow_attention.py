"""Narrow attention against NumPy in float64, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.narrow_attention import narrow_attention

# Of the largest entry: weights, logits' gradients and results are each rounded to
# bfloat16 once, half of 2^-7; inputs are exact.
TOLERANCE = 2**-7
SHAPES = [(2, 3, 7, 8), (1, 1, 5, 4), (2, 2, 1, 8), (1, 2, 8, 8), (2, 1, 6, 1)]


def draw(shape):
    random = np.random.default_rng(0)
    narrow = [jnp.asarray(random.normal(size=shape), "bfloat16") for _ in range(4)]
    return narrow, [np.asarray(x, np.float64) for x in narrow]


def reference(q, k, v, dy):
    turn = (0, 1, 3, 2)
    scale = q.shape[-1] ** -0.5
    weights = scipy.special.softmax(q @ k.transpose(turn) * scale, axis=-1)
    dweights = dy @ v.transpose(turn)
    dlogits = weights * (dweights - (dweights * weights).sum(-1, keepdims=True))
    dq, dk = dlogits @ k * scale, dlogits.transpose(turn) @ q * scale
    return weights @ v, (dq, dk, weights.transpose(turn) @ dy)


def assert_near(found, expected, scale):
    error = np.abs(np.asarray(found, np.float64) - expected).max()
    assert error <= TOLERANCE * max(scale, 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_against_numpy(shape):
    (q, k, v, dy), exact = draw(shape)
    y, pull = jax.vjp(narrow_attention, q, k, v)
    expected, wanted_gradients = reference(*exact)
    assert y.dtype == jnp.bfloat16
    assert_near(y, expected, np.abs(expected).max())
    # Gradients of q and k are differences; their errors go with the size of dv.
    scale = np.abs(wanted_gradients[2]).max()
    for found, want in zip(pull(dy), wanted_gradients, strict=True):
        assert found.dtype == jnp.bfloat16
        assert_near(found, want, scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_transposes_of_the_gradients_compile(shape):
    # Moved into the products by XLA, these once made CPUs refuse to run them.
    arrays, exact = draw(shape)

    @jax.jit
    def turned(q, k, v, dy):
        gradients = jax.vjp(narrow_attention, q, k, v)[1](dy)
        return [g.swapaxes(2, 3) for g in gradients]

    expected = reference(*exact)[1]
    scale = np.abs(expected[2]).max()
    for found, want in zip(turned(*arrays), expected, strict=True):
        assert_near(found, want.swapaxes(2, 3), scale)


def test_vmap_and_remat():
    arrays, _ = draw((2, 3, 7, 8))
    expected = narrow_attention(*arrays[:3])
    each = jax.vmap(lambda *a: narrow_attention(*(x[None] for x in a))[0])(*arrays[:3])
    np.testing.assert_allclose(
        each.astype("float32"), expected.astype("float32"), rtol=2**-7, atol=2**-7
    )
    _, pull = jax.vjp(narrow_attention, *arrays[:3])
    _, again = jax.vjp(jax.checkpoint(narrow_attention), *arrays[:3])
    for a, b in zip(pull(arrays[3]), again(arrays[3]), strict=True):
        np.testing.assert_array_equal(a.astype("float32"), b.astype("float32"))
