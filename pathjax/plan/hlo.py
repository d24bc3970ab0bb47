"""Parses the text of a compiled module (HLO): instructions, and how often each runs.

Just enough of XLA's text form to follow calls, trip counts of loops and sizes of arrays:
`cost_analysis()` counts a loop's body once and no collectives. For `Compiled.as_text()` of
CPUs, GPUs and TPUs; the grammar is that of XLA's parser (xla/hlo/parser/hlo_parser.cc).
Instructions are not interpreted.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator

from pathjax.plan import PlanError

# Bits of an element, where the name does not start with a letter and their number.
_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16}
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([0-9,<=]*)\]")
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_NAME = re.compile(r"%([\w.\-]+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
# Instructions that pass a loop's counter on unchanged.
_UNCHANGED = ("copy", "bitcast", "convert", "copy-start", "copy-done", "reshape")
_MIRRORED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str  # unique in its module
    shape: str  # as printed, with layouts; a tuple's in parentheses
    opcode: str  # such as "all-gather" or "fusion"
    operands: tuple[str, ...]  # names, in order
    text: str  # the operands as printed; of a constant its value
    attributes: str  # all that follows the operands
    root: bool  # whether its computation returns it

    @property
    def bytes(self) -> int:
        return shape_bytes(self.shape)

    @property
    def op_name(self) -> str:
        """The name of the JAX operation it was compiled from; "" if not given."""
        match = re.search(r'op_name="([^"]*)"', self.attributes)
        return match[1] if match else ""

    def attribute(self, name: str) -> str:
        """The computation that an attribute names; "" without that attribute."""
        match = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return match[1] if match else ""

    @property
    def called(self) -> tuple[str, ...]:
        """Computations that run once each time this does; not those of a loop."""
        if self.opcode == "while":
            return ()
        single = ["calls", "true_computation", "false_computation"]
        if self.opcode in ("call", "call-start", "async-start"):
            single.append("to_apply")
        names = [self.attribute(name) for name in single]
        several = r"\b(?:branch|called)_computations=\{([^}]*)\}"
        for listed in re.findall(several, self.attributes):
            names += _NAME.findall(listed)
        return tuple(filter(None, names))


@dataclasses.dataclass(frozen=True)
class Computation:
    """A named list of instructions."""

    name: str
    instructions: tuple[Instruction, ...]

    @functools.cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {each.name: each for each in self.instructions}

    @functools.cached_property
    def root(self) -> Instruction:
        return next(each for each in self.instructions if each.root)


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program, as each device runs it."""

    computations: dict[str, Computation]
    entry: str  # the computation that runs first
    devices: int  # partitions times replicas

    def trip_count(self, where: Computation, loop: Instruction) -> int | None:
        """How often a while loop's body runs; None if the text does not say.

        XLA's CPU and GPU compilers write it down. For TPUs it follows from the counter's
        start, step and limit.
        """
        if known := _TRIP_COUNT.search(loop.attributes):
            return int(known[1])
        compare, left, right = self._condition(loop)
        if compare is None:
            return None
        direction = re.search(r"direction=(\w+)", compare.attributes)[1]
        if left.opcode == "constant":
            left, right, direction = right, left, _MIRRORED.get(direction, direction)
        if left.opcode != "get-tuple-element":
            return None
        index = _index(left)
        start = _initial(where, loop, index)
        step = _step(self.computations[loop.attribute("body")], index)
        limit = _constant(right)
        if right.opcode == "get-tuple-element":  # the limit is part of the loop's tuple
            limit = _initial(where, loop, _index(right))
        if start is None or not step or limit is None:
            return None
        return _count(start, step, direction, limit)

    def _condition(self, loop: Instruction):
        """The comparison that ends a loop and its two sides, or Nones."""
        condition = self.computations[loop.attribute("condition")]
        compare, sides = condition.root, condition.root.operands
        if compare.opcode == "fusion":
            inner = self.computations[compare.attribute("calls")]
            operands = [inner.by_name[name] for name in inner.root.operands]
            if any(each.opcode != "parameter" for each in operands):
                return None, None, None
            sides = [compare.operands[int(each.text)] for each in operands]
            compare = inner.root
        if compare.opcode != "compare" or len(sides) != 2:
            return None, None, None
        return compare, *(_source(condition, name) for name in sides)


def _initial(where: Computation, loop: Instruction, index: int) -> int | None:
    """The constant that element `index` of a loop's tuple starts from, or None."""
    state = _source(where, loop.operands[0])
    if state.opcode != "tuple":
        return None
    return _constant(_source(where, state.operands[index]))


def _step(body: Computation, index: int) -> int | None:
    """What one iteration adds to the counter, or None."""
    if body.root.opcode != "tuple":
        return None
    new = _source(body, body.root.operands[index])
    if new.opcode not in ("add", "subtract"):
        return None
    left, right = (_source(body, name) for name in new.operands)
    if left.opcode == "constant" and new.opcode == "add":
        left, right = right, left
    step = _constant(right)
    if left.opcode != "get-tuple-element" or _index(left) != index or step is None:
        return None
    return step if new.opcode == "add" else -step


def _count(start: int, step: int, direction: str, limit: int) -> int | None:
    """Iterations of `while start DIRECTION limit: start += step`; None if endless."""
    if direction == "NE":
        count, rest = divmod(limit - start, step)
        return count if count >= 0 and not rest else None
    sign = {"LT": 1, "LE": 1, "GT": -1, "GE": -1}.get(direction)
    if sign is None:
        return None
    limit += sign * direction.endswith("E")
    if sign * (limit - start) <= 0:
        return 0
    return len(range(start, limit, step)) if sign * step > 0 else None


def _index(element: Instruction) -> int:
    """The index of a get-tuple-element."""
    return int(re.search(r"\bindex=(\d+)", element.attributes)[1])


def _constant(instruction: Instruction) -> int | None:
    return int(instruction.text) if instruction.opcode == "constant" else None


def _source(where: Computation, name: str) -> Instruction:
    """The instruction that computes a value, past those that pass it on unchanged."""
    source = where.by_name[name]
    while source.opcode in _UNCHANGED:
        source = where.by_name[source.operands[0]]
    return source


def shape_bytes(shape: str) -> int:
    """Bytes of an array, or of all arrays of a tuple, without padding."""
    total = 0
    for dtype, dims in _ARRAY.findall(shape):
        bits = _BITS.get(dtype)
        if bits is None:
            number = re.match(r"[sufc](\d+)", dtype)
            bits = int(number[1]) if number else 0
        sizes = (int(size.removeprefix("<=")) for size in dims.split(",") if size)
        total += -(-math.prod(sizes) * bits // 8)
    return total


def parse(text: str) -> Module:
    """Reads a module.

    Raises:
      PlanError: the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, name, lines = "", "", []
    for line in text.splitlines():
        if not name:
            start = _COMPUTATION.match(line)
            if start and " -> " in line:
                name, lines = start[2], []
                entry = name if start[1] else entry
        elif line.startswith("}"):
            computations[name] = Computation(name, tuple(lines))
            name = ""
        elif instruction := parse_instruction(line):
            lines.append(instruction)
    if not entry:
        raise PlanError(
            f"no entry computation in {len(text)} characters: expected the text of a "
            "compiled module, from Compiled.as_text()"
        )
    head = text[: text.find("\n")]
    devices = 1
    for count in re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", head):
        devices *= int(count)
    return Module(computations, entry, devices)


def parse_instruction(line: str) -> Instruction | None:
    """Parses one instruction; None for any other line."""
    match = _INSTRUCTION.match(line)
    if not match:
        return None
    start = match.end()
    stop = _closing(line, start) if line[start] == "(" else line.find(" ", start)
    opening = line.find("(", stop)
    closing = _closing(line, opening)
    inside = line[opening + 1 : closing - 1]
    return Instruction(
        name=match[2],
        shape=line[start:stop],
        opcode=line[stop:opening].strip(),
        operands=tuple(_NAME.findall(inside)),
        text=inside,
        attributes=line[closing:],
        root=bool(match[1]),
    )


def _closing(line: str, start: int) -> int:
    """One past the parenthesis that closes the one at `start`."""
    depth = 0
    for at in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[at], 0)
        if depth == 0:
            return at + 1
    return len(line)


@dataclasses.dataclass(frozen=True)
class Run:
    """An instruction as it runs.

    `repeats` counts a loop of unknown trip count once; `exact` is False inside it.
    """

    where: str  # name of its computation
    instruction: Instruction
    repeats: int
    exact: bool
    source: str  # op_name of what called its computation
    fused: bool  # whether it is part of a fusion


def running(module: Module, enter: Callable[[Instruction, str], bool]) -> Iterator[Run]:
    """Yields every instruction that runs, through calls, branches and loops.

    All branches of a conditional count, because the choice is made at run time.

    Args:
      module: The program.
      enter: (caller, name of a computation) -> whether to descend into it.
    """

    def within(name, repeats, exact, source, fused):
        for each in module.computations[name].instructions:
            yield Run(name, each, repeats, exact, source, fused)
            caller = each.op_name or source
            for inner in filter(lambda inner: enter(each, inner), each.called):
                is_fusion = each.opcode == "fusion"
                yield from within(inner, repeats, exact, caller, is_fusion)
            if each.opcode == "while" and enter(each, each.attribute("body")):
                trips = module.trip_count(module.computations[name], each)
                known = exact and trips is not None
                times = repeats * (1 if trips is None else trips)
                body = each.attribute("body")
                yield from within(body, times, known, caller, False)

    yield from within(module.entry, 1, True, "", False)
