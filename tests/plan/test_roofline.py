"""Bytes accessed against known sizes and XLA's count; the roofline by hand."""

import jax
import jax.numpy as jnp
import pytest

from pathjax.parallel.hardware import CHIPS
from pathjax.plan.collectives import Collective
from pathjax.plan.hlo import parse
from pathjax.plan.roofline import bound, bytes_accessed, main_memory_bytes


def compiled(function, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arrays).compile()


def test_on_chip_memory_is_free():
    shape = "(bf16[64]{0:T(256)S(1)}, f32[8]{0:T(128)}, u32[]{:S(2)})"
    assert main_memory_bytes(shape) == 32


def test_a_product_reads_and_writes_each_array_once():
    program = compiled(jnp.matmul, (64, 32), (32, 128))
    found = bytes_accessed(parse(program.as_text()))
    assert found == 4 * (64 * 32 + 32 * 128 + 64 * 128)
    assert found == program.cost_analysis()["bytes accessed"]


@pytest.mark.parametrize("length", [3, 30])
def test_a_loop_reads_its_slices_and_not_the_stack_each_time(length):
    def f(x, stack):
        return jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), c), x, stack)

    program = compiled(f, (256, 256), (length, 256, 256))
    found = bytes_accessed(parse(program.as_text()))
    array = 4 * 256 * 256
    # Each round at least reads c and w and writes c, and keeps c; and does not touch
    # more than a few arrays of this size.
    assert 4 * length * array < found < 14 * length * array


FUSION = """HloModule m

%fused (a: f32[10,8], i: s32[], b: f32[8]) -> f32[10,8] {
  %a = f32[10,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %b = f32[8]{0} parameter(2)
  %row = f32[1,8]{1,0} bitcast(%b)
  %zero = s32[] constant(0)
  ROOT %put = f32[10,8]{1,0} dynamic-update-slice(%a, %row, %i, %zero)
}

ENTRY %main (x: f32[10,8], i: s32[], b: f32[8]) -> f32[10,8] {
  %x = f32[10,8]{1,0} parameter(0)
  %i.1 = s32[] parameter(1)
  %b.1 = f32[8]{0} parameter(2)
  ROOT %f = f32[10,8]{1,0} fusion(%x, %i.1, %b.1), kind=kLoop, calls=%fused
}
"""


def test_an_update_of_a_row_moves_a_row():
    assert bytes_accessed(parse(FUSION)) == 4 + 2 * 8 * 4


def gather(size, group, repeats=1):
    return Collective(
        "all-gather", "g", "", size // group, size, group, repeats, exact=True
    )


def test_the_longest_time_is_the_bound():
    chip = CHIPS["v5e"]
    common = {"dtype": "bfloat16", "model": int(197e12)}
    one = bound(chip, 2, executed=int(4 * 197e12), accessed=1, sent=[], **common)
    assert (one.limited_by, one.seconds, one.mfu) == ("compute", 2.0, 0.25)
    two = bound(
        chip, 2, executed=1, accessed=int(819e9 * 4), sent=[gather(8, 2)], **common
    )
    assert (two.limited_by, two.seconds) == ("memory", 4.0)
    assert two.mfu == 0.125
    # 3/4 of 400 GB, twice, over 200 GB/s of links.
    three = bound(
        chip, 2, executed=1, accessed=1, sent=[gather(400 * 10**9, 4, 2)], **common
    )
    assert (three.limited_by, three.links) == ("links", 3.0)


def test_groups_across_machines_use_the_network():
    chip, size = CHIPS["h100"], 8 * 10**9
    inside = bound(
        chip,
        8,
        dtype="bfloat16",
        executed=1,
        model=1,
        accessed=1,
        sent=[gather(size, 8)],
    )
    beyond = bound(
        chip,
        16,
        dtype="bfloat16",
        executed=1,
        model=1,
        accessed=1,
        sent=[gather(size, 16)],
    )
    assert inside.links == pytest.approx(7e9 / 450e9)
    assert beyond.links == pytest.approx(7.5e9 / 50e9)


def test_a_chip_without_figures_has_no_bound():
    none = bound(
        CHIPS["cpu"], 8, dtype="float32", executed=1, model=1, accessed=1, sent=[]
    )
    assert none.seconds is None and none.mfu is None
