"""With one process all of it is trivial; tests/multiprocess has the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from pathjax.parallel.collective import (
    MeshSlice,
    barrier,
    first_does,
    first_said,
    is_first,
    is_lost_connection,
    require_same,
    rows_of_all,
    to_host,
)
from pathjax.parallel.mesh import AXES, make_mesh, state_sharding


def test_one_process_agrees_with_itself():
    assert is_first()
    assert first_does(lambda: 3) == 3
    assert (first_said(""), first_said("why")) == ("", "why")
    assert rows_of_all(np.arange(3)).tolist() == [0, 1, 2]
    barrier("here")
    require_same({"a": 1})


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("UNAVAILABLE: Connection reset by peer", True),
        ("the coordination service agent is in an error state", True),
        ("the Coordinator has left", True),
        ("INTERNAL: no device at coordinates [0, 1, 0]", False),  # would be met again
    ],
)
def test_a_connection_that_is_lost_is_known_by_its_words(text, lost):
    assert is_lost_connection(jax.errors.JaxRuntimeError(text)) == lost
    assert not is_lost_connection(ValueError(text))


def test_arrays_come_to_the_host():
    mesh = make_mesh(fsdp=4)
    tree = {"a": jnp.arange(64.0).reshape(8, 8), "b": [np.ones(3), 7]}
    placed = dict(tree, a=jax.device_put(tree["a"], state_sharding(mesh, tree["a"], 0)))
    for at_once in (1, 1 << 20):
        host = to_host(placed, at_once)
        assert isinstance(host["a"], np.ndarray)
        jax.tree.map(np.testing.assert_array_equal, host, jax.device_get(tree))


@pytest.mark.parametrize("order", [range(8), [0, 4, 1, 5, 2, 6, 3, 7]])
def test_one_process_has_all_rows_in_order(order):
    devices = np.array(jax.devices())[list(order)].reshape(4, 2)
    mesh = Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 2)
    np.testing.assert_array_equal(MeshSlice(mesh).of(16), np.arange(16))
