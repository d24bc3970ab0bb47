"""The compiled steps: one device or eight, data-parallel or FSDP, compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.parallel import mesh as meshes
from pathjax.parallel.mesh import AXES, make_mesh, to_global
from pathjax.train.optim import make_optimizer
from pathjax.train.state import make_state
from pathjax.train.step import (
    make_eval_step,
    make_train_step,
    masked_mean,
    means_of,
)

VIT = vit_config("Xs/8", width=24, depth=1, mlp_dim=32, image_px=16, drop_path=0.2)
OBJECTIVES = {
    "contrastive": {"widths": (16,), "embed_dim": 8},
    "chunked": {"widths": (16,), "embed_dim": 8, "chunk": 8},
    "joint": {"widths": (16,), "embed_dim": 8, "reconstruction": 1.0, "queue": 24},
    "regression": {},
    "dino": {
        "total_steps": 20,
        "prototypes": 16,
        "hidden": 16,
        "bottleneck": 8,
    },
}


def make_batch(masked=0):
    random = np.random.default_rng(0)

    def images(*shape):
        return random.integers(0, 255, shape).astype(np.uint8)

    mask = np.ones(16, bool)
    mask[16 - masked :] = False
    return {
        "image": images(16, 2, 16, 16, 3),
        "crops_global": images(16, 2, 16, 16, 3),
        "crops_local": images(16, 1, 8, 8, 3),
        "expression": random.normal(size=(16, 6)).astype(np.float32),
        "mask": mask,
        "pair_id": (np.arange(16) // 2).astype(np.int32),
    }


def one_device():
    return jax.make_mesh(
        (1, 1), AXES, devices=jax.devices()[:1], axis_types=(AxisType.Auto,) * 2
    )


def prepare(name, mesh):
    options = dict(OBJECTIVES[name])
    kind = "contrastive" if name == "chunked" else name
    objective = objectives.build(kind, objectives.Spec(VIT, 6), **options)
    tx = make_optimizer(
        lambda step: 1e-3, weight_decay=0.01, clip=1.0, b2=0.999, vit_lr=0.5
    )
    example = {
        k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in make_batch().items()
    }
    state, shardings = make_state(objective, tx, jax.random.key(0), example, mesh)
    return objective, tx, state, shardings


def ten_steps(name, mesh, masked=0):
    objective, tx, state, shardings = prepare(name, mesh)
    step = make_train_step(objective, tx, mesh, shardings)
    batch, losses = to_global(make_batch(masked), mesh), []
    for _ in range(10):
        state, logs = step(state, batch, jax.random.key(1))
        losses.append(float(logs["loss"]))
    assert step._cache_size() == 1
    return losses, jax.device_get(state.params), jax.device_get(state.extra)


@functools.cache
def on_one_device(name):
    return ten_steps(name, one_device(), masked=3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("regression", (2, 4))]
    + [
        pytest.param(name, shape, marks=pytest.mark.slow)
        for name in OBJECTIVES
        for shape in ((2, 1), (1, 4), (8, 1), (2, 4))
        if (name, shape) != ("regression", (2, 4))
        and (name != "chunked" or shape == (2, 4))
    ],
)
def test_devices_and_sharding_do_not_change_ten_steps(name, shape, monkeypatch):
    # Small enough that FSDP divides the leaves of this small model.
    monkeypatch.setattr(meshes.state_sharding, "__defaults__", (64,))
    devices = jax.devices()[: shape[0] * shape[1]]
    kinds = (AxisType.Auto,) * 2
    mesh = jax.make_mesh(shape, AXES, devices=devices, axis_types=kinds)
    wanted, got = on_one_device(name), ten_steps(name, mesh, masked=3)
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_fsdp_really_divides_parameters_and_moments(monkeypatch):
    monkeypatch.setattr(meshes.state_sharding, "__defaults__", (64,))
    _, _, state, _ = prepare("contrastive", make_mesh(fsdp=8))
    kernel = state.params["expression_head"]
    divided = [
        leaf
        for leaf in jax.tree.leaves((state.params, state.opt_state))
        if leaf.addressable_shards[0].data.size < leaf.size
    ]
    assert kernel and len(divided) > 10


def test_padded_rows_change_nothing():
    """Rows beyond the mask may hold anything, NaN too."""
    mesh = one_device()
    results = []
    for poison in (0.0, np.nan):
        objective, tx, state, shardings = prepare("contrastive", mesh)
        batch = make_batch(masked=4)
        batch["expression"][12:] = poison
        step = make_train_step(objective, tx, mesh, shardings)
        state, logs = step(state, to_global(batch, mesh), jax.random.key(1))
        results.append(jax.device_get((state.params, logs["loss"])))
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_sums_over_true_rows():
    mesh = make_mesh()
    objective, _, state, shardings = prepare("regression", mesh)
    step = make_eval_step(objective, mesh, shardings)
    sums = step(state, to_global(make_batch(masked=5), mesh), jax.random.key(1))
    assert int(sums["loss/count"]) == 11
    whole = step(state, to_global(make_batch(), mesh), jax.random.key(1))
    assert float(whole["loss"]) > float(sums["loss"]) > 0


def test_masked_mean():
    values = jnp.array([1.0, 2.0, jnp.nan])
    assert float(masked_mean(values, jnp.array([True, True, False]))) == 1.5
    assert float(masked_mean(values, jnp.zeros(3, bool))) == 0.0


def test_means_leave_out_what_no_row_counted_for():
    totals = {"loss": 6.0, "loss/count": 3.0, "recall": 0.0, "recall/count": 0.0}
    assert means_of(totals) == {"loss": 2.0}
