"""The parser of compiled programs: sizes, callers, trip counts."""

import jax
import jax.numpy as jnp
import pytest

from pathjax.plan import PlanError
from pathjax.plan.hlo import parse, parse_instruction, shape_bytes


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[]", 4),
        ("bf16[64,1024]{1,0:T(8,128)(2,1)S(1)}", 64 * 1024 * 2),
        ("(f32[8]{0}, /*index=1*/pred[3]{0}, u32[]{:S(2)})", 32 + 3 + 4),
        ("s4[7]{0:E(4)}", 4),
        ("f8e4m3fn[10]", 10),
        ("c64[2,2]{1,0}", 32),
        ("((bf16[4]{0}, token[]), bf16[8]{0})", 24),
        ("f32[0,4]{1,0}", 0),
    ],
)
def test_bytes_of_shapes(shape, size):
    assert shape_bytes(shape) == size


def test_parts_of_an_instruction():
    line = (
        "  ROOT %fusion.48 = (bf16[2]{0:T(256)}, s32[]{:T(128)}) "
        "fusion(%fusion.47, /*index=1*/%copy.1), kind=kCustom, calls=%scatter.1, "
        'metadata={op_name="jit(f)/a (b)" stack_frame_id=13}'
    )
    found = parse_instruction(line)
    assert (found.name, found.opcode, found.root) == ("fusion.48", "fusion", True)
    assert found.operands == ("fusion.47", "copy.1")
    assert (found.called, found.op_name) == (("scatter.1",), "jit(f)/a (b)")
    assert found.bytes == 8
    assert parse_instruction("// a remark") is None


def test_a_reducer_is_not_called_and_a_branch_is():
    reduced = parse_instruction("  %r = f32[] all-reduce(%x), to_apply=%add")
    assert reduced.called == ()
    branch = parse_instruction(
        "  %c = f32[] conditional(%p, %a, %b), branch_computations={%left, %right}"
    )
    assert branch.called == ("left", "right")


@pytest.mark.parametrize("length", [1, 5, 12])
def test_trip_counts_are_those_of_the_scans(length):
    def f(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, None, length)[0]

    text = jax.jit(f).lower(jnp.ones((4, 4))).compile().as_text()
    module = parse(text)
    loops = [
        module.trip_count(computation, one)
        for computation in module.computations.values()
        for one in computation.instructions
        if one.opcode == "while"
    ]
    assert loops == ([length] if length > 1 else [])


# As the TPU compiler writes it, without a count: the limit is a constant of the
# condition, or an entry of the tuple.
TPU_LOOP = """HloModule jit_f, num_partitions=4

%body (p: (s32[], f32[8], s32[])) -> (s32[], f32[8], s32[]) {{
  %p = (s32[]{{:T(128)}}, f32[8]{{0}}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %copy.5 = s32[]{{:T(128)S(6)}} copy(%i)
  %step = s32[] constant({step})
  %next = s32[] add(%copy.5, %step)
  %x = f32[8]{{0}} get-tuple-element(%p), index=1
  %n = s32[] get-tuple-element(%p), index=2
  ROOT %t = (s32[], f32[8]{{0}}, s32[]) tuple(%next, %x, %n)
}}

%cond (q: (s32[], f32[8], s32[])) -> pred[] {{
  %q = (s32[], f32[8]{{0}}, s32[]) parameter(0)
  %limit = s32[] constant(6)
  %j = s32[] get-tuple-element(%q), index=0
  %m = s32[] get-tuple-element(%q), index=2
  ROOT %lt = pred[] {compare}
}}

ENTRY %main (x: f32[8], seen: s32[]) -> f32[8] {{
  %x.1 = f32[8]{{0}} parameter(0)
  %seen = s32[] parameter(1)
  %zero = s32[] constant(0)
  %copy.9 = s32[] copy(%zero)
  %nine = s32[] constant(9)
  %given = (s32[], f32[8]{{0}}, s32[]) tuple({start}, %x.1, %nine)
  %w = (s32[], f32[8]{{0}}, s32[]) while(%given), condition=%cond, body=%body
  ROOT %out = f32[8]{{0}} get-tuple-element(%w), index=1
}}
"""


@pytest.mark.parametrize(
    ("compare", "step", "start", "count"),
    [
        ("compare(%j, %limit), direction=LT", 1, "%copy.9", 6),
        ("compare(%limit, %j), direction=GT", 1, "%copy.9", 6),
        ("compare(%j, %limit), direction=LE", 1, "%copy.9", 7),
        ("compare(%j, %limit), direction=LT", 4, "%copy.9", 2),
        ("compare(%j, %m), direction=LT", 1, "%copy.9", 9),
        ("compare(%j, %limit), direction=LT", 1, "%nine", 0),
        ("compare(%j, %limit), direction=LT", -1, "%copy.9", None),
        ("compare(%j, %limit), direction=NE", 2, "%copy.9", 3),
        ("compare(%j, %limit), direction=NE", 4, "%copy.9", None),
        ("compare(%j, %limit), direction=GT", -1, "%nine", 3),
        ("compare(%j, %limit), direction=LT", 1, "%seen", None),
    ],
)
def test_trip_counts_that_are_not_written_down(compare, step, start, count):
    module = parse(TPU_LOOP.format(compare=compare, step=step, start=start))
    entry = module.computations[module.entry]
    assert module.devices == 4
    assert module.trip_count(entry, entry.by_name["w"]) == count


def test_other_text_is_an_error():
    with pytest.raises(PlanError, match="no entry computation in 5 characters"):
        parse("hello")
