"""The optimiser against a written-out AdamW, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.train.optim import (
    decayed,
    make_optimizer,
    make_schedule,
    merge,
    rate_factors,
    split_frozen,
)


def params():
    return {
        "vit": {"dense": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.ones(2)}},
        "head": {"kernel": jnp.full((2, 1), 3.0)},
    }


def test_schedule_warms_up_and_follows_a_cosine():
    schedule = make_schedule(steps=110, lr=1.0, warmup=10, end_lr=0.1)
    assert schedule(0) == 0 and float(schedule(5)) == pytest.approx(0.5)
    assert float(schedule(10)) == pytest.approx(1.0)
    assert float(schedule(60)) == pytest.approx(0.1 + 0.9 * 0.5)
    assert float(schedule(110)) == pytest.approx(0.1)


def test_two_steps_equal_adamw_written_out():
    tx = make_optimizer(
        lambda step: 0.1, weight_decay=0.5, clip=0.0, b2=0.99, vit_lr=0.25
    )
    p = params()
    state = tx.init(p)
    rng = np.random.default_rng(0)
    m = v = 0.0
    ours, w = p, 2.0
    for t in (1, 2):
        g = float(rng.normal())
        grads = jax.tree.map(lambda leaf, g=g: jnp.full_like(leaf, g), p)
        updates, state = tx.update(grads, state, ours)
        ours = jax.tree.map(jnp.add, ours, updates)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        adam = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        w -= 0.1 * 0.25 * (adam + 0.5 * w)
    np.testing.assert_allclose(ours["vit"]["dense"]["kernel"], w, rtol=1e-5)


def test_decay_is_for_kernels_only():
    mask = decayed(params())
    assert mask["vit"]["dense"] == {"kernel": True, "bias": False}
    assert mask["head"]["kernel"]


def test_clipping_bounds_the_gradient():
    tx = make_optimizer(lambda s: 1.0, weight_decay=0.0, clip=1.0, b2=0.999, vit_lr=1.0)
    p = params()
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e6), p)
    _, state = tx.update(huge, tx.init(p), p)
    first_moments = jax.tree.leaves(state[1].mu)
    norm = np.sqrt(sum(float((m**2).sum()) for m in first_moments))
    assert norm == pytest.approx(0.1, rel=1e-5)  # 1 - b1 times the clipped norm


def test_freezing_splits_and_merging_restores():
    trainable, frozen = split_frozen(params(), ["^vit/"])
    assert set(trainable) == {"head"} and set(frozen) == {"vit"}
    whole = merge(trainable, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(params())
    with pytest.raises(ValueError, match="match no parameter"):
        split_frozen(params(), ["vti"])
    with pytest.raises(ValueError, match="freezes every parameter"):
        split_frozen(params(), ["."])


def encoder(scan):
    leaf = np.zeros((2, 3), np.float32)
    blocks = {f"blocks_{i}": {"fc1": {"kernel": leaf}} for i in range(3)}
    if scan:
        blocks = {"blocks": {"fc1": {"kernel": np.zeros((3, 2, 3), np.float32)}}}
    tokens = {"pos_embed": leaf, "patch_embed": {"kernel": leaf}}
    return {"vit": {**blocks, **tokens, "norm": {"bias": leaf}}, "head": leaf}


def test_layer_decay_by_hand():
    """Half for each block further from the head, and a third for the encoder."""
    found = rate_factors(encoder(False), vit_lr=1 / 3, layer_decay=0.5, depth=3)
    vit = found["vit"]
    blocks = [vit[f"blocks_{i}"]["fc1"]["kernel"] for i in range(3)]
    np.testing.assert_allclose(blocks, np.array([0.125, 0.25, 0.5]) / 3, rtol=1e-6)
    np.testing.assert_allclose(vit["pos_embed"], 0.0625 / 3, rtol=1e-6)
    np.testing.assert_allclose(vit["norm"]["bias"], 1 / 3, rtol=1e-6)
    assert found["head"] == 1


def test_layer_decay_of_a_stack_is_that_of_its_blocks():
    apart = rate_factors(encoder(False), vit_lr=1.0, layer_decay=0.7, depth=3)["vit"]
    stack = rate_factors(encoder(True), vit_lr=1.0, layer_decay=0.7, depth=3)["vit"]
    factors = stack["blocks"]["fc1"]["kernel"]
    assert factors.shape == (3, 1, 1)
    for i in range(3):
        assert factors[i, 0, 0] == apart[f"blocks_{i}"]["fc1"]["kernel"]


def test_the_optimiser_applies_the_factors():
    params = jax.tree.map(jnp.asarray, encoder(True))
    grads = jax.tree.map(jnp.ones_like, params)
    tx = make_optimizer(
        lambda s: 1.0,
        weight_decay=0.0,
        clip=0.0,
        b2=0.999,
        vit_lr=1.0,
        layer_decay=0.5,
        depth=3,
    )
    updates, _ = tx.update(grads, tx.init(params), params)
    kernel = updates["vit"]["blocks"]["fc1"]["kernel"]
    # The first step of Adam is the sign of the gradient.
    np.testing.assert_allclose(kernel[:, 0, 0], [-0.125, -0.25, -0.5], rtol=1e-4)
