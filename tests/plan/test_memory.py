"""Memory by kind, and compilers' errors when it is exceeded."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pathjax.parallel.mesh import make_mesh
from pathjax.plan.memory import (
    Memory,
    device_bytes,
    largest_leaves,
    largest_values,
    read_memory,
    read_overflow,
)

GIB = 1 << 30


def placed(shape, *spec):
    sharding = NamedSharding(make_mesh(2, 4), PartitionSpec(*spec))
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)


def test_a_device_s_part_and_the_largest_leaves():
    tree = {"a": {"kernel": placed((8, 16), None, "fsdp")}, "b": placed((5,))}
    assert device_bytes(tree) == 8 * 4 * 4 + 5 * 4
    assert largest_leaves({"parameters": tree}, 1) == [
        (128, "parameters a/kernel float32[8, 16]")
    ]


def test_the_compiler_s_figures_are_those_of_the_arrays():
    x, w = placed((64, 16), ("data", "fsdp")), placed((16, 32), None, "fsdp")
    step = jax.jit(jnp.matmul, out_shardings=x.sharding)
    memory = read_memory(step.lower(x, w).compile(), {"batch": device_bytes(x)})
    assert memory.arguments == 64 * 16 * 4 // 8 + 16 * 32 * 4 // 4
    assert memory.outputs == 64 * 32 * 4 // 8
    assert memory.kinds == {"batch": 512}
    given = memory.arguments + memory.outputs
    assert given <= memory.live <= given + memory.temporaries + 64
    assert Memory(100, {}, 80, 70, 5, 1, 112).peak == 113


def test_arrays_of_a_trace_by_size():
    def f(x):
        def body(carry, _):
            return jnp.sin(carry), carry

        return jax.lax.scan(body, x, None, 6)[1].sum() + (x @ x.T).max()

    traced = jax.jit(f).trace(jax.ShapeDtypeStruct((64, 10), jnp.float32))
    found = largest_values(traced.jaxpr, 8, [64], 2)
    assert [size for size, _ in found] == [64 * 64 * 4 // 8, 6 * 64 * 10 * 4 // 8]
    assert found[1][1].startswith("float32[6, 64, 10]")


# The two forms in which XLA's TPU compiler refuses a program, shortened.
TEMPORARIES = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (87.97G) exceeds available HBM (15.75G)."
)
BUFFERS = """RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in \
memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.

Largest program allocations in hbm:

  1. Size: 12.00G
     Operator: op_name="jit(train_step)/jvp(ViT)/dot_general" source_file="vit.py"
     Shape: bf16[24,128,197,1024]{3,2,1,0:T(8,128)(2,1)}
     Unpadded size: 11.9G

  2. Size: 512.00M
     Shape: f32[1024]{0}
"""


def test_errors_of_too_large_programs():
    one = read_overflow(TEMPORARIES)
    assert one.needed == int(87.97 * GIB) and one.limit == int(15.75 * GIB)
    assert one.buffers == []
    two = read_overflow(BUFFERS)
    assert (two.needed, two.limit) == (int(20.5 * GIB), int(15.75 * GIB))
    assert [size for size, _ in two.buffers] == [12 * GIB, GIB // 2]
    assert "bf16[24,128,197,1024]" in two.buffers[0][1]
    assert "jvp(ViT)" in two.buffers[0][1]
    assert two.message.endswith("capacity by 4.75G.")


@pytest.mark.parametrize("message", ["INTERNAL: broken", "INVALID_ARGUMENT: no"])
def test_other_errors_are_ignored(message):
    assert read_overflow(message) is None
