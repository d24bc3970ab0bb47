"""The pathway encoder: the masked first layer as a dense one, and absent genes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.models.pathways import PathwayEncoder, SetTokens

MEMBERS = ((0, 3, 5), (1,), (3, 4), (2, 6))
GENES = 8  # the last is in no set


@pytest.fixture(scope="module")
def expression():
    return np.random.default_rng(0).normal(size=(5, GENES)).astype(np.float32)


def test_the_first_layer_is_a_dense_one_with_a_mask(expression):
    module = SetTokens(MEMBERS, 4)
    params = module.init(jax.random.key(0), expression)["params"]
    kernel, bias = (np.asarray(params[name]) for name in ("kernel", "bias"))
    dense = np.zeros((GENES, len(MEMBERS), 4))
    for number, genes in enumerate(MEMBERS):
        dense[list(genes), number] = kernel[number, : len(genes)]
        assert not kernel[number, len(genes) :].any()
    expected = np.tensordot(expression, dense, 1) + bias
    found = module.apply({"params": params}, expression)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    gradient = jax.grad(lambda p: module.apply({"params": p}, expression).sum())(params)
    for number, genes in enumerate(MEMBERS):
        np.testing.assert_allclose(
            gradient["kernel"][number, : len(genes), 0],
            expression[:, list(genes)].sum(axis=0),
            rtol=1e-4,
        )
        assert not np.asarray(gradient["kernel"])[number, len(genes) :].any()


@pytest.fixture(scope="module")
def encoder(expression):
    module = PathwayEncoder(MEMBERS, width=8, depth=1, heads=2, dropout=0.5)
    known = np.ones(expression.shape, bool)
    params = jax.jit(module.init)(jax.random.key(1), expression, known)
    return jax.jit(lambda x, known: module.apply(params, x, known))


def test_what_was_not_measured_is_no_token(encoder, expression):
    known = np.ones(expression.shape, bool)
    known[0, 1] = known[1, 3] = False
    known[2] = False
    spoilt = np.where(known, expression, np.nan)
    found = encoder(spoilt, known)
    assert found.shape == (5, 8) and np.isfinite(found).all()
    whole = encoder(expression, np.ones_like(known))
    # A set without a gene is as if it were not there; one of several genes is 0.
    assert not np.allclose(found[0], whole[0])
    zeros = np.where(known, expression, 0)
    np.testing.assert_allclose(found[1], encoder(zeros, np.ones_like(known))[1])
    assert not np.allclose(found[0], encoder(zeros, np.ones_like(known))[0])
    assert not np.asarray(found[2]).any()
    np.testing.assert_array_equal(found[3:], whole[3:])
    # A gene in no set does not matter.
    moved = jnp.asarray(expression).at[:, 7].add(9.0)
    np.testing.assert_array_equal(encoder(moved, np.ones_like(known)), whole)
