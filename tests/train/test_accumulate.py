"""A batch in parts has the whole batch's loss and gradient, where rows meet too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.parallel.mesh import AXES, make_mesh, replicated, to_global
from pathjax.train.accumulate import join_rows, split_rows, value_and_grad
from pathjax.train.optim import make_optimizer
from pathjax.train.state import make_state
from pathjax.train.step import make_train_step

VIT = vit_config("Xs/8", width=24, depth=2, mlp_dim=32, image_px=16)
OBJECTIVES = {
    "infonce": ("contrastive", {"widths": (16,), "embed_dim": 8, "dropout": 0.0}),
    "sigmoid": (
        "contrastive",
        {"widths": (16,), "embed_dim": 8, "dropout": 0.0, "loss": "sigmoid"},
    ),
    "joint": (
        "joint",
        {
            "widths": (16,),
            "embed_dim": 8,
            "dropout": 0.0,
            "reconstruction": 1.0,
            "queue": 9,
            "soft_targets": 0.5,
            "label_smoothing": 0.1,
        },
    ),
    "mse": ("regression", {}),
    "pearson": ("regression", {"loss": "pearson"}),
    "counts": ("regression", {"loss": "negative_binomial"}),
    "dino": (
        "dino",
        {"total_steps": 9, "prototypes": 16, "hidden": 16, "bottleneck": 8},
    ),
    "distilled": ("regression", {}),
}
SMALL = objectives.SelfDistillation(0.5, prototypes=16, hidden=16, bottleneck=8)


def batch_of(rows=32, masked=3):
    random = np.random.default_rng(0)

    def images(*shape):
        return random.integers(0, 255, (rows, *shape, 3)).astype(np.uint8)

    counts = random.poisson(4.0, (rows, 6)).astype(np.float32)
    return {
        "image": images(2, 16, 16),
        "crops_global": images(2, 16, 16),
        "crops_local": images(1, 8, 8),
        "expression": random.normal(size=(rows, 6)).astype(np.float32),
        "counts": counts,
        "library": counts.sum(axis=1),
        "mask": np.arange(rows) < rows - masked,
        "pair_id": (np.arange(rows) // 2).astype(np.int32),
    }


@functools.cache
def gradient(name, parts):
    """Loss and gradient of all parameters, as the step has them (lr 1, plain SGD)."""
    kind, options = OBJECTIVES[name]
    spec = objectives.Spec(VIT, 6, steps=9)
    objective = objectives.build(kind, spec, **options)
    if name == "distilled":
        objective = objectives.distilled(objective, SMALL)
    batch = batch_of()
    key = jax.random.key(0)

    def run(params, extra, batch):
        def represent(params, rows, part):
            return objective.represent(params, extra, rows, key, 2, True)

        def compare(params, rows):
            values, _, aux = objective.compare(params, extra, rows, batch, 2)
            mask = batch["mask"]
            return jnp.where(mask, values, 0).sum() / mask.sum(), aux

        return value_and_grad(represent, compare, params, batch, parts)

    params, extra = jax.jit(objective.init)(key, batch)
    return jax.jit(run)(params, extra, batch)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "infonce" else pytest.param(name, marks=pytest.mark.slow)
        for name in OBJECTIVES
    ],
)
def test_four_parts_have_the_gradient_of_the_whole(name):
    (wanted, wanted_aux), wanted_grads = gradient(name, 1)
    (loss, aux), grads = gradient(name, 4)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted_grads))
    for a, b in zip(
        jax.tree.leaves((grads, aux)),
        jax.tree.leaves((wanted_grads, wanted_aux)),
        strict=True,
    ):
        # Of the leaf's largest entry, or of the gradient's: a bias before a correlation
        # has no gradient but rounding.
        scale = max(float(np.abs(b).max()), 0.1 * largest)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale)


def test_plain_averaging_would_be_wrong():
    """What the two passes are for: a quarter of the batch has other negatives."""
    (whole, _), _ = gradient("infonce", 1)
    kind, options = OBJECTIVES["infonce"]
    objective = objectives.build(kind, objectives.Spec(VIT, 6), **options)
    batch, key = batch_of(masked=0), jax.random.key(0)
    params, extra = jax.jit(objective.init)(key, batch)
    parts = split_rows(batch, 4)
    loss = jax.jit(
        lambda rows: objectives.batch_losses(
            objective, params, extra, rows, key, 2, True
        )[0]
    )
    losses = [loss(jax.tree.map(lambda x, i=i: x[i], parts)).mean() for i in range(4)]
    assert abs(np.mean(losses) - whole) > 0.5


@pytest.mark.slow
def test_the_step_accumulates_over_devices_as_it_does_on_one():
    results = []
    for parts in (1, 4):
        mesh = make_mesh(fsdp=2)
        kind, options = OBJECTIVES["infonce"]
        objective = objectives.build(kind, objectives.Spec(VIT, 6), **options)
        tx = make_optimizer(
            lambda s: 1e-2, weight_decay=0.0, clip=0.0, b2=0.999, vit_lr=1.0
        )
        batch = batch_of()
        like = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in batch.items()}
        state, shardings = make_state(objective, tx, jax.random.key(0), like, mesh)
        step = make_train_step(objective, tx, mesh, shardings, parts)
        state, logs = step(state, to_global(batch, mesh), jax.random.key(1))
        results.append({k: float(v) for k, v in logs.items()})
    for name, wanted in results[0].items():
        assert results[1][name] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_rows_stay_on_their_device():
    """Strided parts: splitting rows that are divided over devices moves nothing."""
    mesh = make_mesh()
    rows = NamedSharding(mesh, PartitionSpec(AXES))
    parts = NamedSharding(mesh, PartitionSpec(None, AXES))
    split = jax.jit(lambda x: split_rows(x, 4), in_shardings=rows, out_shardings=parts)
    x = jax.ShapeDtypeStruct((64, 3), jnp.float32)
    text = split.lower(x).compile().as_text()
    assert not any(word in text for word in ("all-to-all", "all-gather", "permute"))
    assert replicated(mesh) != rows


def test_splitting_and_joining():
    batch = {"a": jnp.arange(12.0).reshape(12, 1), "b": jnp.arange(12)}
    split = split_rows(batch, 3)
    np.testing.assert_array_equal(split["b"][1], [1, 4, 7, 10])
    jax.tree.map(np.testing.assert_array_equal, join_rows(split), batch)
    with pytest.raises(ValueError, match=r"accumulate=5 does not divide a batch of 12"):
        split_rows(batch, 5)
