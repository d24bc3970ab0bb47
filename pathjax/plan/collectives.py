"""The collectives of a compiled program: what devices send each other in one step.

Read from the compiler's output, and counted as often as a loop repeats them. Time is not
estimated here.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable

from pathjax.plan.hlo import Computation, Instruction, Module, Run, parse, running

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_KINDS = {"ragged-all-to-all": "all-to-all"}
_KINDS |= {f"{kind}{form}": kind for kind in KINDS for form in ("", "-start")}


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    Attributes:
      kind: Of `KINDS`.
      name: Of the instruction.
      source: Its `op_name`, "" where the compiler dropped it.
      operand_bytes, result_bytes: What a device puts in and gets out; of a combined
        collective the sum.
      group: Number of devices that take part together.
      repeats: How often it runs in a step.
      exact: False inside a loop whose trip count is unknown; `repeats` counts that loop
        once.
    """

    kind: str
    name: str
    source: str
    operand_bytes: int
    result_bytes: int
    group: int
    repeats: int
    exact: bool

    @property
    def size(self) -> int:
        """Bytes of the whole array on one chip: the larger of operand and result."""
        return max(self.operand_bytes, self.result_bytes)

    @property
    def moved_bytes(self) -> int:
        """Bytes that a device sends in a step, all repeats, by the ring algorithm.

        (n-1)/n of the array for a gather or scatter and twice that for an all-reduce,
        which is optimal (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce
        algorithms"). An all-to-all sends (n-1)/n of its operand, hops not counted; a
        permutation all of it.
        """
        n = self.group
        if self.kind in ("collective-permute", "collective-broadcast"):
            once = self.operand_bytes if n > 1 else 0
        else:
            rounds = 2 if self.kind == "all-reduce" else 1
            once = rounds * self.size * (n - 1) // n
        return once * self.repeats


def collectives(compiled: str | Module) -> list[Collective]:
    """All collectives that run in one call of a compiled program, in its order.

    A pair of -start and -done counts once. An all-reduce of which a device keeps only its
    part, as the TPU compiler writes it, is a reduce-scatter.

    Args:
      compiled: `Compiled.as_text()`, or the module parsed from it.
    """
    module = parse(compiled) if isinstance(compiled, str) else compiled
    result: list[Collective] = []
    channels: set[str] = set()
    for run in running(module, _reaches_collectives(module)):
        instruction = run.instruction
        if instruction.opcode not in _KINDS:
            continue
        # Several fusions that overlap one collective with computing each contain it
        # whole, under the same channel.
        channel = re.search(r"\bchannel_id=\d+", instruction.attributes)
        if run.fused and channel:
            if channel[0] in channels:
                continue
            channels.add(channel[0])
        result.append(_collective(module, run))
    return result


def _reaches_collectives(module: Module) -> Callable[[Instruction, str], bool]:
    """Whether a computation contains a collective, itself or in what it calls."""

    @functools.cache
    def reaches(name: str) -> bool:
        return any(
            each.opcode in _KINDS
            or any(map(reaches, each.called))
            or (each.opcode == "while" and reaches(each.attribute("body")))
            for each in module.computations[name].instructions
        )

    return lambda caller, name: reaches(name)


def _collective(module: Module, run: Run) -> Collective:
    instruction, where = run.instruction, module.computations[run.where]
    kind = _KINDS[instruction.opcode]
    if _scattered(where, instruction):
        kind = "reduce-scatter"
    group = group_size(instruction.attributes, module.devices)
    # From operands, because results of -start forms contain the operands and more.
    size = sum(where.by_name[name].bytes for name in instruction.operands)
    result = size
    if kind == "all-gather":
        result = size * group
    elif kind == "reduce-scatter":
        result = size // group
    return Collective(
        kind=kind,
        name=instruction.name,
        source=instruction.op_name or run.source,
        operand_bytes=size,
        result_bytes=result,
        group=group,
        repeats=run.repeats,
        exact=run.exact,
    )


def _scattered(where: Computation, instruction: Instruction) -> bool:
    """Whether an all-reduce is inside a fusion that returns a slice of it.

    A combined all-reduce, which returns a tuple of slices, is recognised by the name that
    the TPU compiler gives such fusions.
    """
    if instruction.opcode != "all-reduce":
        return False
    if where.name.startswith("all-reduce-scatter"):
        return True
    root = where.root
    return root.opcode == "dynamic-slice" and root.operands[0] == instruction.name


def group_size(attributes: str, devices: int) -> int:
    """Devices in a group, from `replica_groups` or `source_target_pairs`.

    Groups are written as lists `{{0,1},{2,3}}`, as iota `[2,2]<=[4]` (groups, size), or
    by axes of a mesh, `mesh['a'=2,'b'=2] {'a'}`; missing or `{}` means all devices.
    """
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", attributes):
        ends = re.findall(r"\{?(\d+),(\d+)", pairs[1])
        return 2 if any(source != target for source, target in ends) else 1
    if lists := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return lists[1].count(",") + 1
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(iota[1])
    mesh = re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^{]*)?\s*\{([^}]*)\}",
        attributes,
    )
    if mesh:
        sizes = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        # A part of an axis is written 'axis':(before)size.
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part) if part else sizes[axis] for axis, part in parts)
    return devices
