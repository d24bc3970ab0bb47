"""Collectives of programs whose collectives are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pathjax.parallel.mesh import make_mesh
from pathjax.plan.collectives import collectives, group_size

ROWS, WIDTH = 16, 32
BYTES = ROWS * WIDTH * 4  # of the whole array, float32


DIVIDED = PartitionSpec("fsdp")


def compiled(function, specs=DIVIDED, out=None):
    """Text of a function of one [16, 32] array, mapped over a 2 x 4 mesh."""
    mesh = make_mesh(2, 4)
    out = specs if out is None else out
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False
    )
    x = jax.ShapeDtypeStruct(
        (ROWS, WIDTH), jnp.float32, sharding=NamedSharding(mesh, specs)
    )
    return jax.jit(mapped).lower(x).compile().as_text()


def found(text):
    return [
        (one.kind, one.operand_bytes, one.result_bytes, one.group, one.repeats)
        for one in collectives(text)
    ]


def total_bytes(items):
    return sum(item.moved_bytes for item in items)


def test_all_gather():
    text = compiled(
        lambda x: jax.lax.all_gather(x, "fsdp", tiled=True), out=PartitionSpec()
    )
    assert found(text) == [("all-gather", BYTES // 4, BYTES, 4, 1)]
    assert total_bytes(collectives(text)) == BYTES * 3 // 4
    assert "all_gather" in collectives(text)[0].source


def test_all_reduce_over_each_axis():
    for axis, n in (("data", 2), ("fsdp", 4), (("data", "fsdp"), 8)):
        text = compiled(functools.partial(jax.lax.psum, axis_name=axis))
        assert found(text) == [("all-reduce", BYTES // 4, BYTES // 4, n, 1)]
        moved = 2 * (BYTES // 4) * (n - 1) // n
        assert total_bytes(collectives(text)) == moved


def test_reduce_scatter():
    text = compiled(lambda x: jax.lax.psum_scatter(x, "fsdp", tiled=True))
    assert found(text) == [("reduce-scatter", BYTES // 4, BYTES // 16, 4, 1)]
    assert total_bytes(collectives(text)) == BYTES // 4 * 3 // 4


def test_all_to_all_and_permutation():
    text = compiled(lambda x: jax.lax.all_to_all(x, "fsdp", 0, 1, tiled=True))
    (one,) = collectives(text)
    assert (one.kind, one.size, one.group) == ("all-to-all", BYTES // 4, 4)
    assert one.moved_bytes == BYTES // 4 * 3 // 4
    turn = [(i, (i + 1) % 4) for i in range(4)]
    text = compiled(lambda x: jax.lax.ppermute(x, "fsdp", turn))
    (one,) = collectives(text)
    assert (one.kind, one.moved_bytes) == ("collective-permute", BYTES // 4)


def test_loops_multiply_repeats():
    def inner(x, _):
        return jnp.sin(jax.lax.psum(x, "fsdp")), None

    def outer(x, _):
        x = jax.lax.scan(inner, x, None, 3)[0]
        return jnp.cos(jax.lax.ppermute(x, "data", [(0, 1), (1, 0)])), None

    text = compiled(lambda x: jax.lax.scan(outer, x, None, 5)[0])
    repeats = {one.kind: one.repeats for one in collectives(text)}
    assert repeats == {"all-reduce": 15, "collective-permute": 5}
    assert all(one.exact for one in collectives(text))


def test_collectives_that_shardings_imply():
    """A product with a kernel divided over four: each device gathers the rest."""
    mesh = make_mesh(2, 4)
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    kernel = NamedSharding(mesh, PartitionSpec("fsdp"))
    text = (
        jax.jit(jnp.matmul, in_shardings=(rows, kernel), out_shardings=rows)
        .lower(np.ones((512, 16), np.float32), np.ones((16, 64), np.float32))
        .compile()
        .as_text()
    )
    assert found(text) == [("all-gather", 16 * 64, 16 * 64 * 4, 4, 1)]


def test_one_device_sends_nothing():
    text = jax.jit(jnp.sin).lower(jnp.ones(8)).compile().as_text()
    assert collectives(text) == []


# As XLA's TPU and GPU compilers write them: an asynchronous all-gather, an all-reduce of
# which a fusion keeps a slice, an all-gather called on another core, an all-gather that
# fusions overlap with computing, and a combined all-reduce.
FORMS = """HloModule jit_f, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (input: f32[64]) -> f32[16] {
  %input = f32[64]{0} parameter(0)
  %all-reduce.5 = f32[64]{0} all-reduce(%input), channel_id=5, \
replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %offset = s32[] constant(0)
  ROOT %dynamic-slice.2 = f32[16]{0} dynamic-slice(%all-reduce.5, %offset), \
dynamic_slice_sizes={16}
}

%other_core (y: f32[8]) -> f32[64] {
  %y = f32[8]{0} parameter(0)
  ROOT %all-gather.9 = f32[64]{0} all-gather(%y), channel_id=9, \
replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}, dimensions={0}
}

%phase.1 (v: f32[16]) -> f32[32] {
  %v = f32[16]{0} parameter(0)
  ROOT %all-gather.11 = f32[32]{0} all-gather(%v), channel_id=11, \
replica_groups=[4,2]<=[8], dimensions={0}
}

%phase.2 (u: f32[16]) -> f32[32] {
  %u = f32[16]{0} parameter(0)
  ROOT %all-gather.12 = f32[32]{0} all-gather(%u), channel_id=11, \
replica_groups=[4,2]<=[8], dimensions={0}
}

ENTRY %main (p: f32[64], q: f32[8], r: f32[16]) -> f32[16] {
  %p = f32[64]{0} parameter(0)
  %q = f32[8]{0} parameter(1)
  %r = f32[16]{0} parameter(2)
  %ag-start = (f32[8]{0}, f32[32]{0}) all-gather-start(%q), channel_id=1, \
replica_groups=[2,4]<=[8], dimensions={0}, metadata={op_name="jit(f)/gather"}
  %ag-done = f32[32]{0} all-gather-done(%ag-start)
  %scatter = f32[16]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1, \
metadata={op_name="jit(f)/grad"}
  %start.3 = ((f32[8]{0}, token[]), f32[64]{0}) call-start(%q), to_apply=%other_core
  %done.3 = f32[64]{0} call-done(%start.3)
  %first = f32[32]{0} fusion(%r), kind=kCustom, calls=%phase.1
  %second = f32[32]{0} fusion(%r), kind=kCustom, calls=%phase.2
  %both = (f32[64]{0}, f32[8]{0}) all-reduce-start(%p, %q), channel_id=2, \
replica_groups={}, to_apply=%add
  %both-done = (f32[64]{0}, f32[8]{0}) all-reduce-done(%both)
  ROOT %out = f32[16]{0} add(%scatter, %r)
}
"""


# A combined all-reduce of which a fusion keeps slices.
COMBINED = """HloModule jit_f, is_scheduled=true, num_partitions=4

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1.clone (x: f32[64], y: f32[32]) -> (f32[16], f32[8]) {
  %x = f32[64]{0} parameter(0)
  %y = f32[32]{0} parameter(1)
  %all-reduce.7 = (f32[64]{0}, f32[32]{0}) all-reduce(%x, %y), channel_id=7, \
replica_groups={{0,1,2,3}}, to_apply=%add
  %offset = s32[] constant(0)
  %left = f32[64]{0} get-tuple-element(%all-reduce.7), index=0
  %right = f32[32]{0} get-tuple-element(%all-reduce.7), index=1
  %slice.1 = f32[16]{0} dynamic-slice(%left, %offset), dynamic_slice_sizes={16}
  %slice.2 = f32[8]{0} dynamic-slice(%right, %offset), dynamic_slice_sizes={8}
  ROOT %out = (f32[16]{0}, f32[8]{0}) tuple(%slice.1, %slice.2)
}

ENTRY %main (p: f32[64], q: f32[32]) -> (f32[16], f32[8]) {
  %p = f32[64]{0} parameter(0)
  %q = f32[32]{0} parameter(1)
  ROOT %both = (f32[16]{0}, f32[8]{0}) fusion(%p, %q), kind=kCustom, \
calls=%all-reduce-scatter.1.clone
}
"""


def test_combined_reduce_scatters():
    assert found(COMBINED) == [("reduce-scatter", 384, 96, 4, 1)]


def test_forms_of_tpu_and_gpu_compilers():
    assert found(FORMS) == [
        ("all-gather", 32, 128, 4, 1),
        ("reduce-scatter", 256, 64, 4, 1),
        ("all-gather", 32, 256, 8, 1),
        ("all-gather", 64, 128, 2, 1),
        ("all-reduce", 288, 288, 8, 1),
    ]
    sources = [one.source for one in collectives(FORMS)]
    assert sources[:2] == ["jit(f)/gather", "jit(f)/grad"]


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("replica_groups={{0,4},{1,5}}", 2),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups={}, dimensions={0}", 8),
        ("dimensions={0}", 8),
        (
            "replica_groups=mesh['axis_0'=4,'axis_1'=2], device_ids=([4,2]T(1,0))"
            + " {'axis_0'}, dimensions={1}",
            4,
        ),
        ("replica_groups=mesh['a'=4,'b'=2] {'a','b'}", 8),
        ("replica_groups=mesh['a'=4,'b'=2] {'a':(1)2}", 2),
        ("source_target_pairs={{0,1},{1,0}}", 2),
        ("source_target_pairs={{0,0},{1,1}}", 1),
    ],
)
def test_sizes_of_groups(attributes, size):
    assert group_size(attributes, 8) == size
