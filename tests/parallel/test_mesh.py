"""Devices and shardings, on eight simulated devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from pathjax.parallel.mesh import (
    MeshError,
    batch_sharding,
    keep_rows,
    make_mesh,
    over_rows,
    replicated,
    require_divisible,
    rows_divided,
    state_sharding,
    to_global,
)


def test_mesh_takes_all_devices_or_refuses():
    assert make_mesh().shape == {"data": 8, "fsdp": 1}
    assert make_mesh(fsdp=4).shape == {"data": 2, "fsdp": 4}
    for data, fsdp in ((4, 1), (-1, 3), (16, 1), (-1, 0)):
        with pytest.raises(MeshError, match="8 devices"):
            make_mesh(data, fsdp)


def test_a_batch_that_does_not_divide_names_sizes_that_do():
    require_divisible(16, make_mesh())
    with pytest.raises(MeshError, match="data.batch=20 .* use 16 or 24"):
        require_divisible(20, make_mesh())
    with pytest.raises(MeshError, match="use 8"):
        require_divisible(3, make_mesh())


def test_large_leaves_are_divided_along_their_largest_fitting_dimension():
    mesh = make_mesh(fsdp=4)
    leaf = jax.ShapeDtypeStruct
    tree = {
        "wide": leaf((512, 2048), jnp.float32),
        "odd": leaf((2047, 512), jnp.float32),
        "prime": leaf((2047, 1023), jnp.float32),
        "small": leaf((16, 16), jnp.float32),
        "step": leaf((), jnp.int32),
    }
    specs = jax.tree.map(lambda s: s.spec, state_sharding(mesh, tree))
    assert specs["wide"] == PartitionSpec(None, "fsdp")
    assert specs["odd"] == PartitionSpec(None, "fsdp")
    assert specs["prime"] == specs["small"] == specs["step"] == PartitionSpec()
    one = jax.tree.map(lambda s: s.spec, state_sharding(make_mesh(), tree))
    assert set(one.values()) == {PartitionSpec()}


def test_host_rows_become_a_global_batch():
    mesh = make_mesh(fsdp=2)
    rows = np.arange(16, dtype=np.int32)
    batch = to_global({"pair_id": rows, "sample": rows}, mesh)
    assert set(batch) == {"pair_id"}
    assert batch["pair_id"].sharding == batch_sharding(mesh)
    assert {s.data.shape for s in batch["pair_id"].addressable_shards} == {(2,)}
    np.testing.assert_array_equal(batch["pair_id"], rows)


def compare_to_all(scale, rows, gather):
    """Each row's products with all rows, weighed by where these are in the batch."""
    everyone = gather(rows)
    return scale * (rows @ everyone.T) @ np.arange(len(everyone), dtype=np.float32)


@pytest.mark.parametrize("fsdp", [1, 4])
def test_rows_meet_over_devices_as_on_one(fsdp):
    mesh = make_mesh(fsdp=fsdp)
    rows = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    weights = np.arange(16, dtype=np.float32)

    def total(scale, rows, mesh):
        values = over_rows(compare_to_all, mesh)(scale, rows)
        return (values * weights).sum(), values

    run = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True), static_argnums=(2,))
    given = to_global({"rows": rows}, mesh)["rows"]
    wanted = run(jnp.float32(2), rows, None)
    found = run(jax.device_put(jnp.float32(2), replicated(mesh)), given, mesh)
    assert len(found[0][1].sharding.device_set) == 8
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_rows_are_kept_where_they_are_only_when_asked():
    mesh = make_mesh(fsdp=2)

    def text(mesh):
        def f(x):
            with rows_divided(mesh):
                return keep_rows(x) * 2, keep_rows(x[:3])

        return jax.jit(f).lower(jnp.ones((16, 4))).as_text()

    assert text(mesh).count("sharding_constraint") == 1  # 3 rows do not divide
    assert "sharding_constraint" not in text(None)
