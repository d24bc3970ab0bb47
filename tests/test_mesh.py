"""Devices and shardings, on eight simulated devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from pathjax.mesh import (
    MeshError,
    batch_sharding,
    make_mesh,
    require_divisible,
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
