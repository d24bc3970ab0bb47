"""Run by test_agreeing.py in each of two processes with two devices."""

import argparse
import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from made_checkpoint import flip_a_bit

from pathjax.parallel.collective import (
    MeshSlice,
    ProcessError,
    barrier,
    first_does,
    first_said,
    is_first,
    require_same,
    rows_of_all,
    to_host,
)
from pathjax.parallel.launch import launch_of, session
from pathjax.parallel.mesh import AXES, to_global
from pathjax.train import checkpoint, seal
from pathjax.train.state import TrainState


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
        checkpoints(me, Path(os.environ["FOLDER"]))
        print("all is well")


def agreement(me: int) -> None:
    assert is_first() == (me == 0)
    assert first_does(lambda: 7) == (None if me else 7)
    assert rows_of_all(np.arange(2) + 2 * me).tolist() == [0, 1, 2, 3]
    assert [first_said(""), first_said(f"by {me}"), first_said("b" * me)] == [
        *("", "by 0", "b")
    ]
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


def checkpoints(me: int, folder: Path) -> None:
    """Each process hashes what it wrote; what one finds damaged, no process uses."""
    hashed: list[str] = []
    digests = seal.digests

    def noted(where: Path, names) -> dict[str, str]:
        found = digests(where, names)
        hashed.extend((where / name).as_posix() for name in found)
        return found

    checkpoint.digests = seal.digests = noted
    seal.SMALL = 0
    mesh = Mesh(
        np.array(jax.devices()).reshape(1, 4), AXES, axis_types=(AxisType.Auto,) * 2
    )

    def state(number: int) -> TrainState:
        wide = number + np.arange(4096.0, dtype=np.float32).reshape(64, 64)
        placed = jax.make_array_from_callback(
            wide.shape,
            NamedSharding(mesh, PartitionSpec("fsdp")),
            lambda index: wide[index],
        )
        zero = jax.make_array_from_callback(
            (), NamedSharding(mesh, PartitionSpec()), lambda index: np.int32(0)
        )
        return TrainState(zero, {"a": placed}, {}, {}, ())

    with checkpoint.Checkpoints(folder, keep=2) as found:
        for step in (1, 2):
            found.save(step, state(step), {"at": step})
    assert hashed and {seal.writer(name) for name in hashed} == {me}, hashed
    if me == 0:
        assert seal.damage(folder / "1") is seal.damage(folder / "2") is None
        flip_a_bit(folder / "2" / "state" / "ocdbt.process_1")
    hashed.clear()
    with checkpoint.Checkpoints(folder, keep=2) as found:
        step, back = found.resume(state(9))
    assert step == 1
    assert np.array_equal(to_host(back.params["a"]), to_host(state(1).params["a"]))
    assert hashed and {seal.writer(name) for name in hashed} == {me}, hashed
    if me == 0:
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2.damaged"]


if __name__ == "__main__":
    main()
