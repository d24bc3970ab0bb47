"""Run by test_agreeing.py in each of two processes with two devices."""

import argparse

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pathjax.parallel.collective import (
    MeshSlice,
    ProcessError,
    barrier,
    first_does,
    is_first,
    require_same,
    rows_of_all,
    to_host,
)
from pathjax.parallel.launch import launch_of, session
from pathjax.parallel.mesh import AXES, to_global


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--coordinator")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    given = vars(parser.parse_args())
    with session(launch_of(**given)):
        me = jax.process_index()
        assert (me, jax.process_count()) == (given["process"], given["processes"])
        agreement(me)
        arrays()
        print("all is well")


def agreement(me: int) -> None:
    assert is_first() == (me == 0)
    assert first_does(lambda: 7) == (None if me else 7)
    assert rows_of_all(np.arange(2) + 2 * me).tolist() == [0, 1, 2, 3]
    barrier("here")
    require_same({"config.seed": 1, "study": "s"})
    try:
        require_same({"config.seed": 1, "config.optim.lr": 0.1 * (me + 1)})
    except ProcessError as error:
        assert "process 1 of 2 differs from process 0" in str(error)
        assert "config.optim.lr: 0.2 there, 0.1 on process 0" in str(error)
        assert "config.seed" not in str(error)
    else:
        raise AssertionError("the difference was not noticed")


def arrays() -> None:
    """On meshes whose devices follow the processes, and that alternate between them."""
    rows = np.arange(16, dtype=np.int32)
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [2, 0, 1, 3]):
        devices = np.array(jax.devices())[order].reshape(2, 2)
        mesh = Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 2)
        mine = MeshSlice(mesh).of(16)
        assert len(mine) == 8
        batch = to_global({"pair_id": rows[mine]}, mesh)
        assert batch["pair_id"].shape == (16,)
        found = to_host(batch)["pair_id"]
        assert np.array_equal(found, rows), (order, found)
        # Divided over one axis and repeated over the other, one leaf and all at once.
        wide = np.arange(64.0, dtype=np.float32).reshape(8, 8)
        placed = jax.make_array_from_callback(
            wide.shape,
            NamedSharding(mesh, PartitionSpec(None, "fsdp")),
            lambda index, wide=wide: wide[index],
        )
        for at_once in (1, 1 << 20):
            host = to_host({"a": placed, "b": placed, "c": 3}, at_once)
            assert np.array_equal(host["a"], wide) and np.array_equal(host["b"], wide)


if __name__ == "__main__":
    main()
