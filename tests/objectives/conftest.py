"""Small encoders and batches for the objectives' tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pathjax.models.variants import vit_config
from pathjax.objectives.contract import batch_losses

GENES = 12
CONFIG = vit_config(
    "Xs/8", image_px=16, depth=1, width=24, heads=2, mlp_dim=48, drop_path=0.2
)


@pytest.fixture(scope="session")
def vit():
    """One block, which is never dropped: half of the time to compile two."""
    return CONFIG


@pytest.fixture(scope="session")
def deep():
    """Two blocks: stochastic depth drops the second."""
    return CONFIG.replace(depth=2)


@pytest.fixture(scope="session")
def jit():
    return quick_jit


@pytest.fixture
def batch():
    """Eight samples of three tiles, two of them padding full of NaN."""
    random = np.random.default_rng(0)
    mask = np.arange(8) < 6
    counts = random.poisson(4.0, (8, GENES)).astype(np.float32)
    made = {
        "image": random.integers(0, 256, (8, 3, 16, 16, 3), np.uint8),
        "crops_global": random.integers(0, 256, (8, 2, 16, 16, 3), np.uint8),
        "crops_local": random.integers(0, 256, (8, 3, 8, 8, 3), np.uint8),
        "expression": random.normal(size=(8, GENES)).astype(np.float32),
        "counts": counts,
        "library": counts.sum(axis=1),
        "pair_id": np.array([0, 1, 2, 3, 3, 4, 5, 6], np.int32),
        "mask": mask,
    }
    for name in ("expression", "counts", "library"):
        made[name][~mask] = np.nan
    return {name: jnp.asarray(value) for name, value in made.items()}


def quick_jit(function, **options):
    """jit with a compile of half the time; these tests measure no speed."""
    quick = {"xla_backend_optimization_level": 0}
    return jax.jit(function, compiler_options=quick, **options)


def mean_loss(objective, train):
    """(params, extra, batch) -> masked mean, and what comes beside it."""

    def total(params, extra, batch):
        key = jax.random.key(7)
        values, metrics, aux = batch_losses(
            objective, params, extra, batch, key, 3, train
        )
        mask = batch["mask"]
        mean = jnp.where(mask, values, 0).sum() / mask.sum()
        return mean, (values, metrics, aux)

    return total


@pytest.fixture
def check_objective(batch):
    """What holds for every objective, run on one; returns params and extra.

    `devices`: also that eight devices compute the same, which compiles all again.
    """

    def check(objective, devices=True):
        key = jax.random.key(0)
        params, extra = quick_jit(objective.init)(key, batch)
        given = {name: batch[name] for name in {*objective.requires, "mask"}}
        run = quick_jit(jax.value_and_grad(mean_loss(objective, True), has_aux=True))
        (_, (values, metrics, aux)), gradients = run(params, extra, given)

        # One float32 value per example, padding is 0, and no NaN gets through.
        for one in (values, *metrics.values()):
            assert one.shape == (8,) and one.dtype == jnp.float32
        assert np.isfinite(values).all() and not np.any(np.asarray(values)[6:])
        assert all(np.isfinite(v).all() for v in metrics.values())
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
            assert np.isfinite(leaf).all(), path
            assert np.any(np.asarray(leaf)), f"no gradient reaches {path}"

        # Padding does not matter: neither what it holds nor that it is there.
        still = quick_jit(mean_loss(objective, False))
        mean, (padded, _, padded_aux) = still(params, extra, given)
        six = {name: array[:6] for name, array in given.items()}
        alone_mean, (alone, _, alone_aux) = still(params, extra, six)
        close((mean, padded[:6], padded_aux), (alone_mean, alone, alone_aux))

        if devices:
            mesh = jax.make_mesh(
                (4, 2), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2
            )
            rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
            whole = NamedSharding(mesh, PartitionSpec())
            sharded = run(
                jax.device_put(params, whole),
                jax.device_put(extra, whole),
                jax.device_put(given, rows),
            )
            (_, (many, many_metrics, many_aux)), many_gradients = sharded
            assert len(many.sharding.device_set) == 8
            close(many, values)
            close(many_metrics, metrics)
            close(many_aux, aux)
            close(many_gradients, gradients)

        # The encoder alone, float32 out, and what is exported can be encoded with.
        tiles = batch["image"][:, 0]
        encode = quick_jit(objective.encode)
        encoded = encode(params, tiles)
        assert encoded.shape == (8, CONFIG.embed_dim) and encoded.dtype == jnp.float32
        close(encode(objective.export(params, extra), tiles), encoded)
        return params, extra

    return check


def close(found, expected, tolerance=1e-5):
    """Leaf by leaf, relative to the size of the leaf."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = max(float(np.abs(b).max(initial=0)), 1.0)
        np.testing.assert_allclose(a, b, atol=tolerance * scale)
