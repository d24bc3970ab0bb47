"""Devices: the mesh, which array lies where, and host batches made global.

The mesh has the axes ("data", "fsdp"). A batch is divided over both; parameters and
optimiser state are replicated over "data" and divided over "fsdp". What used to be
called pjit is `jax.jit` with these shardings; XLA inserts the communication.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp")
# Below this a leaf is replicated: gathering it costs more than keeping it.
MIN_SHARDED_BYTES = 1 << 20


class MeshError(ValueError):
    """A mesh or batch that does not fit the devices."""


def make_mesh(
    data: int = -1, fsdp: int = 1, among: Sequence[jax.Device] | None = None
) -> Mesh:
    """The mesh over all devices.

    Args:
      data: devices along "data"; -1 takes what `fsdp` leaves.
      fsdp: devices along "fsdp".
      among: the devices, if not those that are here (`plan`).

    Raises:
      MeshError: the product is not the number of devices. (`jax.make_mesh` would
        silently leave devices idle.)
    """
    devices = jax.device_count() if among is None else len(among)
    if data == -1 and fsdp > 0 and devices % fsdp == 0:
        data = devices // fsdp
    if data * fsdp != devices:
        raise MeshError(
            f"mesh.data={data} x mesh.fsdp={fsdp} is not the {devices} devices there "
            f"are: choose mesh.fsdp among the divisors of {devices} and mesh.data=-1"
        )
    return jax.make_mesh(
        (data, fsdp), AXES, axis_types=(AxisType.Auto,) * 2, devices=among
    )


def require_divisible(batch: int, mesh: Mesh, name: str = "data.batch") -> None:
    """Refuses a batch size that does not divide over the devices.

    Raises:
      MeshError: naming the nearest sizes that do.
    """
    devices = mesh.size
    if batch < 1 or batch % devices:
        below = batch // devices * devices
        sizes = " or ".join(str(s) for s in (below, below + devices) if s > 0)
        raise MeshError(
            f"{name}={batch} does not divide over {devices} devices: use {sizes}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that keeps a full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def state_sharding(mesh: Mesh, abstract: Any, min_bytes: int = MIN_SHARDED_BYTES):
    """Shardings for any tree of parameters, moments or teacher weights.

    A leaf of at least `min_bytes` is divided along its largest dimension that "fsdp"
    divides; all else is replicated. It looks at shapes alone, so a moment lies where
    its parameter does.
    """
    size = mesh.shape["fsdp"]

    def place(leaf) -> NamedSharding:
        whole = leaf.size * leaf.dtype.itemsize
        fits = [d for d, n in enumerate(leaf.shape) if n % size == 0]
        if size == 1 or whole < min_bytes or not fits:
            return replicated(mesh)
        axis = max(fits, key=lambda d: leaf.shape[d])
        spec = [None] * len(leaf.shape)
        spec[axis] = "fsdp"
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(place, abstract)


_DIVIDED: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar(
    "divided", default=None
)


@contextlib.contextmanager
def rows_divided(mesh: Mesh | None) -> Iterator[None]:
    """Inside, what is traced keeps its rows where `keep_rows` says."""
    token = _DIVIDED.set(mesh)
    try:
        yield
    finally:
        _DIVIDED.reset(token)


def keep_rows(x: jax.Array) -> jax.Array:
    """Activations whose rows stay divided over all devices, as the batch's are.

    Inside loops (blocks that are scanned, a batch in parts) XLA otherwise may divide
    activations as FSDP divides the parameters, and gather them in every round instead
    of the much smaller parameters. Does nothing outside `rows_divided`.
    """
    mesh = _DIVIDED.get()
    if mesh is None or mesh.size == 1 or x.shape[0] % mesh.size:
        return x
    return jax.lax.with_sharding_constraint(x, batch_sharding(mesh))


def over_rows(
    compare: Callable[[Any, Any, Callable[[Any], Any]], Any], mesh: Mesh | None
) -> Callable[[Any, Any], Any]:
    """Returns compare(whole, rows, gather) as (whole, rows), on each device's own rows.

    Left to itself, XLA may gather more than the rows, or once in every pass of a loop.
    Here each device compares its own rows with those that `gather` brings together,
    once, and the gradient goes back the same way, once, summed.

    Args:
      compare: (whole, rows, gather) -> arrays with a row for each of `rows`. `whole` is
        the same on each device, `rows` this device's, and `gather` makes of a tree of
        the rows here that of all devices' rows, in the batch's order.
      mesh: that the batch is divided over; None, or a mesh of one device, is no
        division, and `gather` then gives what it is given.
    """
    if mesh is None or mesh.size == 1:
        return lambda whole, rows: compare(whole, rows, lambda tree: tree)

    def gather(tree):
        return jax.tree.map(lambda x: jax.lax.all_gather(x, AXES, tiled=True), tree)

    return jax.shard_map(
        lambda whole, rows: compare(whole, rows, gather),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXES)),
        out_specs=PartitionSpec(AXES),
    )


def to_global(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's rows of a batch to global arrays on the mesh.

    `sample` stays behind: it names rows for a person.
    """
    sharding = batch_sharding(mesh)
    return {
        key: jax.make_array_from_process_local_data(sharding, value)
        for key, value in batch.items()
        if key != "sample"
    }
