"""Attention against NumPy, and which implementation is chosen where."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.attention import attend, choose


@pytest.mark.parametrize("expected", ["auto", "einsum", "xla"])
def test_against_numpy(expected):
    random = np.random.default_rng(0)
    q, k, v = random.normal(size=(3, 2, 4, 7, 8))
    weights = scipy.special.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(8), axis=-1)
    found = attend(*(jnp.asarray(x, jnp.float32) for x in (q, k, v)), expected)
    np.testing.assert_allclose(found, weights @ v, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("expected", "platform", "dtype", "head", "chosen"),
    [
        ("auto", "cpu", "float32", 64, "einsum"),
        ("auto", "cpu", "bfloat16", 64, "einsum"),
        ("auto", "gpu", "float32", 64, "einsum"),
        ("auto", "gpu", "bfloat16", 64, "cudnn"),
        ("auto", "gpu", "bfloat16", 36, "einsum"),
        ("auto", "gpu", "bfloat16", 256, "einsum"),
        ("auto", "tpu", "bfloat16", 64, "einsum"),
        ("einsum", "gpu", "bfloat16", 64, "einsum"),
        ("cudnn", "cpu", "bfloat16", 64, "cudnn"),
    ],
)
def test_choice(expected, platform, dtype, head, chosen):
    assert choose(expected, platform, dtype, head) == chosen


def test_what_cannot_be_chosen():
    with pytest.raises(ValueError, match="set model.dtype=bfloat16"):
        choose("cudnn", "gpu", "float32", 64)
    with pytest.raises(ValueError, match="expected one of"):
        choose("flash", "gpu", "bfloat16", 64)
