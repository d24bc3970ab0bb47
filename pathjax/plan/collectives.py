"""The collectives of a compiled program: what chips send each other in one step.

From the compiler's own output, so they are those that will run, whatever the shardings
were meant to do. What a loop repeats is counted as often as it runs. Time is not
estimated here.
"""

import dataclasses
import math
import re
from collections.abc import Iterable

from pathjax.plan.hlo import Computation, Instruction, Module, Run, parse, running

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_KINDS = {
    **{kind: kind for kind in KINDS},
    **{f"{kind}-start": kind for kind in KINDS},
    "ragged-all-to-all": "all-to-all",
}


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    Attributes:
      kind: of `KINDS`.
      name: of the instruction.
      source: what it was made for (`op_name`), "" where the compiler forgot.
      operand_bytes: what a chip puts in, all operands of a combined one together.
      result_bytes: what a chip gets out.
      group: chips that take part together.
      repeats: times that it runs in a step.
      exact: False if it is in a loop whose length the text does not tell; `repeats`
        counts that loop once.
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
        """Bytes that a chip sends in a step, all repeats, by the ring algorithm.

        (n-1)/n of the array for a gather or scatter, twice that for an all-reduce,
        which is both: the least that is possible (Patarasuk and Yuan 2009, "Bandwidth
        optimal all-reduce algorithms"). An all-to-all sends (n-1)/n of its operand,
        without counting that it may pass other chips; a permutation all of it.
        """
        n = self.group
        if self.kind in ("collective-permute", "collective-broadcast"):
            once = self.operand_bytes if n > 1 else 0
        else:
            rounds = 2 if self.kind == "all-reduce" else 1
            once = rounds * self.size * (n - 1) // n
        return once * self.repeats


def collectives(compiled: str | Module) -> list[Collective]:
    """All collectives that run in one call of a compiled program.

    Args:
      compiled: `Compiled.as_text()` of `jax.jit(f).lower(...).compile()`, or the module
        read from it.

    Returns:
      In the order of the program. A pair of -start and -done is one; an all-reduce of
      which a chip keeps its part only, as the TPU compiler writes it, is a
      reduce-scatter.

    Raises:
      PlanError: the text is no module.
    """
    module = parse(compiled) if isinstance(compiled, str) else compiled
    found: list[Collective] = []
    phases: set[str] = set()
    holders = _holders(module)
    for run in running(module, lambda caller, name: name in holders):
        instruction = run.instruction
        if instruction.opcode not in _KINDS:
            continue
        # A fusion that overlaps a collective with computing is one of several, each of
        # which shows the whole collective under the same number of a channel.
        channel = re.search(r"\bchannel_id=\d+", instruction.attributes)
        if run.fused and channel:
            if channel[0] in phases:
                continue
            phases.add(channel[0])
        found.append(_collective(module, run))
    return found


def total_bytes(found: Iterable[Collective]) -> int:
    """Bytes that a chip sends in a step."""
    return sum(one.moved_bytes for one in found)


def _holders(module: Module) -> frozenset[str]:
    """Computations that hold a collective, or call one that does."""
    known: dict[str, bool] = {}

    def holds(name: str) -> bool:
        if name not in known:
            lines = module.computations[name].instructions
            # All are asked, not only up to the first: each answer is kept.
            below = [holds(inner) for one in lines for inner in _inner(one)]
            known[name] = any(below) or any(one.opcode in _KINDS for one in lines)
        return known[name]

    holds(module.entry)
    return frozenset(name for name, held in known.items() if held)


def _inner(one: Instruction) -> tuple[str, ...]:
    return (one.attribute("body"),) if one.opcode == "while" else one.called


def _collective(module: Module, run: Run) -> Collective:
    instruction, where = run.instruction, module.computations[run.where]
    kind = _KINDS[instruction.opcode]
    if _scattered(where, instruction):
        kind = "reduce-scatter"
    group = group_size(instruction.attributes, module.devices)
    # Of operands, since results of -start forms hold the operands and more.
    given = sum(where.by_name[name].bytes for name in instruction.operands)
    result = given
    if kind == "all-gather":
        result = given * group
    elif kind == "reduce-scatter":
        result = given // group
    return Collective(
        kind=kind,
        name=instruction.name,
        source=instruction.op_name or run.source,
        operand_bytes=given,
        result_bytes=result,
        group=group,
        repeats=run.repeats,
        exact=run.exact,
    )


def _scattered(where: Computation, instruction: Instruction) -> bool:
    """An all-reduce inside a fusion that returns a slice of it.

    One that was combined of several returns a tuple of slices, some by way of others;
    it is recognised by the name that the TPU compiler gives such fusions.
    """
    if instruction.opcode != "all-reduce":
        return False
    if where.name.startswith("all-reduce-scatter"):
        return True
    root = where.root
    return root.opcode == "dynamic-slice" and root.operands[0] == instruction.name


def group_size(attributes: str, devices: int) -> int:
    """Chips in a group, from `replica_groups` or `source_target_pairs`.

    Groups are written as lists `{{0,1},{2,3}}`, as iota `[2,2]<=[4]` (groups, size), or
    by axes of a mesh, `mesh['a'=2,'b'=2] {'a'}`; none or `{}` are all devices.
    """
    pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", attributes)
    if pairs:
        ends = re.findall(r"\{?(\d+),(\d+)", pairs[1])
        return 2 if any(source != target for source, target in ends) else 1
    lists = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    if lists:
        return lists[1].count(",") + 1
    iota = re.search(r"replica_groups=\[\d+,(\d+)\]", attributes)
    if iota:
        return int(iota[1])
    mesh = re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^{]*)?\s*\{([^}]*)\}",
        attributes,
    )
    if mesh:
        sizes = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        # A part of an axis is 'axis':(before)size.
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part) if part else sizes[axis] for axis, part in parts)
    return devices
