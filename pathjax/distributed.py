"""What the processes of one run say to each other outside the compiled steps.

Agreement, barriers and arrays brought to the host; starting and ending the processes
is `processes.py`'s. With one process every function here is trivial, so that callers
need not ask. All of them except `is_first` are collective: each process calls them, in
the same order.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

T = TypeVar("T")

# Names of barriers and answers may be used once in a coordinator's life.
_turns = itertools.count()


class ProcessError(RuntimeError):
    """The processes of a run do not agree, or one of them was lost or failed."""


def is_first() -> bool:
    """True on the one process that writes what is written once."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """True on all processes when `flag` is true on any of them.

    It goes over the devices, behind the step that is running there, and waits for it.
    """
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def barrier(name: str) -> None:
    """Returns on all processes once all have come here, however long one takes.

    A process that fails meanwhile ends the others (`processes.py`), so that nobody
    waits for the dead.

    Args:
      name: of the place, for the error when they meet at different ones.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def first_does(work: Callable[[], T]) -> T | None:
    """Runs `work` on the first process while the others wait; its result there.

    The others wait at the coordinator, not in a collective, whose timeouts are short.
    """
    if jax.process_count() == 1:
        return work()
    done = f"pathjax/done/{next(_turns)}"
    if is_first():
        result = work()
        coordinator().key_value_set(done, "1")
        return result
    while not _answered(done):
        time.sleep(0.05)
    return None


def to_host(tree: Any) -> Any:
    """Global arrays as NumPy arrays on every process, one leaf at a time.

    A leaf that is divided over processes is gathered, copied and let go before the
    next, so that beyond the result no more than one whole leaf is on a device.
    """

    def fetch(leaf):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return jax.device_get(leaf)
        if not leaf.is_fully_replicated:
            leaf = _replicate(leaf)
        return np.asarray(leaf.addressable_data(0))

    return jax.tree.map(fetch, tree)


def _replicate(leaf: jax.Array) -> jax.Array:
    whole = NamedSharding(leaf.sharding.mesh, PartitionSpec())
    return jax.jit(_same, out_shardings=whole)(leaf)


def _same(leaf):
    """At the top level, so that jit knows it again."""
    return leaf


def coordinator():
    """The client of JAX's key-value store.

    JAX has no public name for it; Orbax takes it from the same place.
    """
    from jax._src import distributed

    return distributed.global_state.client


def _answered(key: str) -> bool:
    try:
        coordinator().key_value_try_get(key)
    except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" in str(error):
            return False
        raise
    return True
