"""The linear product against NumPy in float64, values and gradients, in each dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.models.linear import dense, is_narrow

# Of the largest entry. float32: sums of at most 64 terms, each rounded to 6e-8.
# Narrow: inputs are exact in the dtype and accumulation is float32, so a single
# rounding of the result is left, half of 2^-7 and 2^-10; gradients are not rounded.
ROUNDED = {"float32": 3e-6, "bfloat16": 2**-8 + 1e-5, "float16": 2**-11 + 1e-5}
UNROUNDED = 3e-6
SHAPES = [
    ((3, 5), 16, 24),
    ((4,), 16, 24),
    ((2, 3, 4), 7, 3),
    ((1, 5), 8, 1),
    ((), 4, 2),
]


def draw(shape, dtype, seed):
    """Numbers that `dtype` holds exactly, in float64 and in float32."""
    exact = jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)
    return np.asarray(exact, np.float64), exact.astype(jnp.float32)


def example(lead, width, features, dtype):
    shapes = [(*lead, width), (width, features), (features,), (*lead, features)]
    return zip(*(draw(s, dtype, i) for i, s in enumerate(shapes)), strict=True)


def reference(x, kernel, bias, dy):
    """Result and gradients, by hand."""
    flat, rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return x @ kernel + bias, (dy @ kernel.T, flat.T @ rows, rows.sum(0))


def assert_near(found, expected, tolerance):
    error = np.abs(np.asarray(found, np.float64) - expected).max()
    assert error <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize(("lead", "width", "features"), SHAPES)
def test_against_numpy(lead, width, features, dtype):
    exact, (x, kernel, bias, dy) = example(lead, width, features, dtype)
    y, pull = jax.vjp(lambda *a: dense(*a, dtype), x, kernel, bias)
    gradients = pull(dy.astype(dtype))
    expected, wanted_gradients = reference(*exact)
    assert y.dtype == dtype
    assert_near(y, expected, ROUNDED[dtype])
    for found, want in zip(gradients, wanted_gradients, strict=True):
        assert found.dtype == jnp.float32
        assert_near(found, want, UNROUNDED)


def test_gradient_of_a_narrow_input_is_narrow():
    _, (x, kernel, bias, dy) = example((3, 5), 16, 24, "bfloat16")
    x, dy = x.astype("bfloat16"), dy.astype("bfloat16")
    _, pull = jax.vjp(lambda *a: dense(*a, "bfloat16"), x, kernel, bias)
    assert [str(g.dtype) for g in pull(dy)] == ["bfloat16", "float32", "float32"]


def test_float32_is_the_plain_product_bit_by_bit():
    _, (x, kernel, bias, _) = example((3, 5), 16, 24, "float32")
    plain = (x.reshape(-1, 16) @ kernel + bias[None]).reshape(3, 5, 24)
    np.testing.assert_array_equal(dense(x, kernel, bias, jnp.float32), plain)


@pytest.mark.parametrize("lead", [(3, 5), (4,), (1, 5), (3, 1)])
def test_a_transpose_of_the_gradient_compiles(lead):
    # Moved into the product by XLA, such a transpose once made CPUs refuse to run it.
    exact, (x, kernel, bias, dy) = example(lead, 16, 24, "bfloat16")

    @jax.jit
    def turned(x, kernel, bias, dy):
        _, pull = jax.vjp(lambda *a: dense(*a, "bfloat16"), x, kernel, bias)
        dx, dkernel, dbias = pull(dy)
        return dx.swapaxes(0, -1), dkernel.T, dbias

    found = turned(x, kernel, bias, dy.astype("bfloat16"))
    dx, dkernel, dbias = reference(*exact)[1]
    for got, want in zip(found, (dx.swapaxes(0, -1), dkernel.T, dbias), strict=True):
        assert_near(got, want, UNROUNDED)


def test_vmap_scan_and_remat():
    depth = 3
    stacked = [
        draw((depth, *s), "bfloat16", i)[1] for i, s in enumerate([(8, 8), (8,)])
    ]
    x = draw((2, 5, 8), "bfloat16", 9)[1]

    def layer(x, params):
        return dense(x, *params, "bfloat16").astype(jnp.float32), None

    def by_scan(params, x, step):
        return jax.lax.scan(step, x, tuple(params))[0].sum()

    def by_loop(params, x):
        for i in range(depth):
            x, _ = layer(x, [p[i] for p in params])
        return x.sum()

    expected = jax.jit(jax.grad(by_loop))(stacked, x)
    for step in (layer, jax.checkpoint(layer)):
        found = jax.jit(jax.grad(by_scan), static_argnums=2)(stacked, x, step)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    each = jax.jit(jax.vmap(jax.grad(by_loop), (None, 0)))(stacked, x)
    for got, want in zip(each, expected, strict=True):
        # One example at a time: other orders of summation, and the roundings of the
        # layers' results that follow from them.
        assert_near(got.sum(0), np.asarray(want, np.float64), 2**-7)


def test_narrow_dtypes():
    assert [is_narrow(d) for d in ("bfloat16", "float16", "float32")] == [1, 1, 0]
