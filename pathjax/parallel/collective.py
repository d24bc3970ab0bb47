"""Communication between the processes of one run outside the compiled steps.

Agreement, barriers and arrays brought to the host; `launch.py` starts and ends the
processes. With one process every function here is trivial. All of them except
`is_first` are collective: each process calls them, in the same order.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from pathjax.parallel.mesh import batch_sharding
from pathjax.parallel.preemption import EXIT_PREEMPTED
from pathjax.parallel.slice import Slice

T = TypeVar("T")

GATHERED_BYTES = 1 << 28

# A barrier's name may be used once in a coordinator's life.
_turns = itertools.count()
# JAX wants a number; `launch.py` ends a wait for a dead process.
ANY_TIME_MS = 7 * 24 * 3600 * 1000


class ProcessError(RuntimeError):
    """The processes of a run do not agree, or one of them was lost or failed."""


class LostProcessError(ProcessError):
    """Another process is gone; the same command on all resumes, and may do so at once."""

    exit_status = EXIT_PREEMPTED


class MeshSlice(Slice):
    """The rows of a global batch that this process's devices hold, in the mesh's order.

    A mesh follows the physical links between chips, so a process's devices need not be
    contiguous in it. Whatever the order, row i of the batch is then the same sample for
    any number of processes.
    """

    def __init__(self, mesh: Mesh):
        super().__init__(jax.process_index(), jax.process_count())
        object.__setattr__(self, "mesh", mesh)  # the base class is frozen

    def of(self, size: int) -> Int[np.ndarray, "rows"]:
        held = batch_sharding(self.mesh).addressable_devices_indices_map((size,))
        rows = np.arange(size)
        return np.unique(np.concatenate([rows[index] for index in held.values()]))


def is_first() -> bool:
    """True on the one process that writes what is written once."""
    return jax.process_index() == 0


def rows_of_all(rows: Int[np.ndarray, "mine"]) -> Int[np.ndarray, "B"]:
    """The row numbers of all processes, joined in the processes' order."""
    if jax.process_count() == 1:
        return rows
    return np.asarray(multihost_utils.process_allgather(rows, tiled=True))


def barrier(name: str) -> None:
    """Returns on all processes once all have called it, however long one takes.

    Nothing is sent over the devices. `launch.py` ends the wait for a process that died.
    `name` is for logs.
    """
    if jax.process_count() > 1:
        turn = f"pathjax/{name}/{next(_turns)}"
        coordinator().wait_at_barrier(turn, ANY_TIME_MS)


def first_does(work: Callable[[], T]) -> T | None:
    """Runs `work` on the first process while the others wait; its result there."""
    result = work() if is_first() else None
    barrier("first")
    return result


def first_said(text: str) -> str:
    """On every process, the first text that is not empty, in their order; "" if all are."""
    if jax.process_count() == 1:
        return text
    client, folder = coordinator(), f"pathjax/said/{next(_turns)}"
    client.key_value_set(f"{folder}/{jax.process_index():06}", json.dumps(text))
    barrier("said")
    said = sorted(client.key_value_dir_get(f"{folder}/"))
    return next(filter(None, (json.loads(value) for _, value in said)), "")


def require_same(values: Mapping[str, Any]) -> None:
    """Refuses to continue when a process has other values than the first.

    Args:
      values: JSON values by name, such as versions and the keys of a config.

    Raises:
      ProcessError: On every process, naming a process that differs and in what.
    """
    if jax.process_count() == 1:
        return
    client, folder = coordinator(), f"pathjax/same/{next(_turns)}"
    text = json.dumps(dict(values), sort_keys=True)
    me, digest = jax.process_index(), hashlib.sha256(text.encode()).hexdigest()
    client.key_value_set(f"{folder}/text/{me}", text)
    client.key_value_set(f"{folder}/digest/{me}", digest)
    barrier("same")
    digests = {
        int(key.rsplit("/", 1)[1]): value
        for key, value in client.key_value_dir_get(f"{folder}/digest/")
    }
    others = sorted(i for i, value in digests.items() if value != digests[0])
    if not others:
        return
    there, here = (
        json.loads(client.blocking_key_value_get(f"{folder}/text/{i}", 10_000))
        for i in (0, others[0])
    )
    lines = [
        f"{key}: {here.get(key)!r} there, {there.get(key)!r} on process 0"
        for key in dict.fromkeys([*there, *here])
        if here.get(key) != there.get(key)
    ]
    more = f" (so do processes {others[1:]})" if others[1:] else ""
    raise ProcessError(
        f"process {others[0]} of {len(digests)} differs from process 0{more}:\n  - "
        + "\n  - ".join(lines)
        + "\nStart all processes with the same command, data and packages"
    )


def to_host(tree: Any, at_once: int = GATHERED_BYTES) -> Any:
    """Global arrays as NumPy arrays on every process.

    Leaves that are divided over processes are gathered some at a time, copied and
    freed, so that beyond the result a device holds no more than `at_once` bytes of whole
    leaves, or one leaf if that is larger.
    """
    leaves, structure = jax.tree.flatten(tree)
    divided = [i for i, leaf in enumerate(leaves) if _is_divided(leaf)]
    while divided:
        group = [divided.pop(0)]
        size = leaves[group[0]].nbytes
        while divided and size + leaves[divided[0]].nbytes <= at_once:
            size += leaves[divided[0]].nbytes
            group.append(divided.pop(0))
        whole = NamedSharding(leaves[group[0]].sharding.mesh, PartitionSpec())
        # One program for a group: compiling costs more than gathering small leaves.
        gathered = jax.jit(_same, out_shardings=whole)([leaves[i] for i in group])
        for i, leaf in zip(group, gathered, strict=True):
            leaves[i] = _fetch(leaf)
    return jax.tree.unflatten(structure, [_fetch(leaf) for leaf in leaves])


def _is_divided(leaf: Any) -> bool:
    """Whether no process has all of it."""
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )


def _fetch(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        leaf = leaf.addressable_data(0)
    return jax.device_get(leaf)


def _same(leaves):
    """At the top level, so that jit recognises it."""
    return leaves


def connection() -> tuple[Any, int, int]:
    """JAX's key-value client, this process's number, and the number of processes.

    Unlike `jax.process_index` it does not look for devices. JAX has no public name for
    the client; Orbax takes it from the same place.
    """
    from jax._src import distributed

    state = distributed.global_state
    return state.client, state.process_id, state.num_processes


def coordinator() -> Any:
    """The client of JAX's key-value store."""
    return connection()[0]


def is_lost_connection(error: BaseException) -> bool:
    """Whether a collective failed since another process is gone, by JAX's words."""
    return isinstance(error, jax.errors.JaxRuntimeError) and any(
        word in str(error).lower()
        for word in ("gloo", "connection", "coordinator", "coordination")
    )
