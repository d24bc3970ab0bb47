"""Bytes accessed against sizes that are known, and XLA's count without loops."""

import jax
import jax.numpy as jnp
import pytest

from pathjax.plan.hlo import parse
from pathjax.plan.traffic import bytes_accessed, main_memory_bytes


def compiled(function, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arrays).compile()


def test_arrays_on_the_chip_are_free():
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


def test_a_row_put_into_an_array_moves_a_row():
    assert bytes_accessed(parse(FUSION)) == 4 + 2 * 8 * 4
