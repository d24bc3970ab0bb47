"""The expression MLP: a NumPy forward, and what dropout of genes does."""

import jax
import numpy as np
import pytest
import scipy.special

from pathjax.models.expression import ExpressionMLP


def made(module, genes=20, rows=6):
    x = np.random.default_rng(0).normal(size=(rows, genes)).astype(np.float32)
    return module.init(jax.random.key(0), x)["params"], x


def test_forward_is_the_reference():
    module = ExpressionMLP((16, 8), dropout=0.3, gene_dropout=0.3)
    params, x = made(module)
    found = jax.jit(lambda p, x: module.apply({"params": p}, x))(params, x)
    params = jax.tree.map(np.asarray, params)
    h = x.astype(np.float64)
    for i in (1, 2):
        h = h @ params[f"fc{i}"]["kernel"] + params[f"fc{i}"]["bias"]
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6)
        h = h * scipy.special.ndtr(h)
    assert found.shape == (6, 8)
    np.testing.assert_allclose(found, h, atol=1e-4)


def test_rows_do_not_meet():
    """No statistic over the batch: a row's output is its own."""
    module = ExpressionMLP((16,))
    params, x = made(module)
    changed = x.copy()
    changed[3:] *= 100
    outs = [module.apply({"params": params}, v) for v in (x, changed)]
    np.testing.assert_array_equal(outs[0][:3], outs[1][:3])


def test_gene_dropout_zeroes_genes_in_training_only():
    module = ExpressionMLP((16,), gene_dropout=0.999999)
    params, x = made(module)
    rngs = {"dropout": jax.random.key(1)}
    none = module.apply({"params": params}, np.zeros_like(x))
    dropped = module.apply({"params": params}, x, train=True, rngs=rngs)
    np.testing.assert_allclose(dropped, none, atol=1e-6)
    kept = module.apply({"params": params}, x)
    assert np.abs(kept - none).max() > 0.1


def test_dropout_follows_its_key():
    module = ExpressionMLP((16,), dropout=0.5)
    params, x = made(module)
    outs = [
        module.apply(
            {"params": params}, x, train=True, rngs={"dropout": jax.random.key(seed)}
        )
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(outs[0], outs[1])
    assert np.any(outs[0] != outs[2])


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"expected expression \[B, G\]"):
        made(ExpressionMLP(()))
    with pytest.raises(ValueError, match=r"shape \(20,\)"):
        ExpressionMLP().init(jax.random.key(0), np.zeros(20, np.float32))
