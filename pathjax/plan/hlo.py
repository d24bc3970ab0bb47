"""Parses the text of a compiled module (HLO): instructions, and how often each runs.

Just enough of XLA's text form to follow calls, trip counts of loops and sizes of arrays,
which `cost_analysis()` does not give: it counts a loop's body once and no collectives.
For `Compiled.as_text()` of CPUs, GPUs and TPUs; the grammar is that of XLA's parser
(xla/hlo/parser/hlo_parser.cc). Instructions are not interpreted.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator

from pathjax.plan import PlanError

# Bits of an element; F8 types differ in name only, so they are matched by prefix.
_BITS = {
    "pred": 8,
    "token": 0,
    "opaque": 0,
    "bf16": 16,
    "c64": 64,
    "c128": 128,
}
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([0-9,<=]*)\]")
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_NAME = re.compile(r"%([\w.\-]+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
# Instructions through which a loop's counter passes unchanged.
_SAME = ("copy", "bitcast", "convert", "copy-done", "reshape")
_LEFT_FOR = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE", "EQ": "EQ"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line.

    Attributes:
      name: unique in its module.
      shape: as printed, with layouts; a tuple's in parentheses.
      opcode: such as "all-gather" or "fusion".
      operands: names, in order.
      text: the operands as printed, which for a constant is its value.
      attributes: all that follows the operands.
      root: whether its computation returns it.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    text: str
    attributes: str
    root: bool

    @property
    def bytes(self) -> int:
        return shape_bytes(self.shape)

    @property
    def op_name(self) -> str:
        """The Python-side name of what it was made for; "" if there is none."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def attribute(self, name: str) -> str:
        """The computation that an attribute names; "" if there is no such attribute."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else ""

    @property
    def called(self) -> tuple[str, ...]:
        """Computations that run once each time this does; a loop's are not these."""
        if self.opcode == "while":
            return ()
        names = [self.attribute("calls")]
        if self.opcode in ("call", "call-start", "async-start"):
            names.append(self.attribute("to_apply"))
        for name in ("branch_computations", "called_computations"):
            found = re.search(rf"\b{name}=\{{([^}}]*)\}}", self.attributes)
            names += _NAME.findall(found[1]) if found else []
        for name in ("true_computation", "false_computation"):
            names.append(self.attribute(name))
        return tuple(name for name in names if name)


@dataclasses.dataclass(frozen=True)
class Computation:
    """A named list of instructions."""

    name: str
    instructions: tuple[Instruction, ...]

    @functools.cached_property
    def by_name(self) -> dict[str, Instruction]:
        return {one.name: one for one in self.instructions}

    @functools.cached_property
    def root(self) -> Instruction:
        return next(one for one in self.instructions if one.root)


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program: the part that each device runs.

    Attributes:
      computations: by name.
      entry: name of the one that runs first.
      devices: partitions times replicas.
    """

    computations: dict[str, Computation]
    entry: str
    devices: int

    def trip_count(self, where: Computation, loop: Instruction) -> int | None:
        """How often a while loop's body runs; None if the text does not say.

        XLA's CPU and GPU compilers write it down. TPU's does not: there it follows from
        the counter's start, step and limit.
        """
        known = _TRIP_COUNT.search(loop.attributes)
        if known:
            return int(known[1])
        limit = self._limit(loop)
        if limit is None:
            return None
        index, direction, bound = limit
        body = self.computations[loop.attribute("body")]
        start = self._entry_value(where, loop, index)
        step = self._step(body, index)
        if isinstance(bound, str):  # it travels with the loop, as entry of the tuple
            bound = self._entry_value(where, loop, int(bound))
        if start is None or not step or bound is None:
            return None
        return _rounds(start, step, direction, bound)

    def _limit(self, loop: Instruction) -> tuple[int, str, int | str] | None:
        """(the counter's place in the tuple, direction, limit or its place)."""
        condition = self.computations[loop.attribute("condition")]
        compare, sides = condition.root, condition.root.operands
        if compare.opcode == "fusion":
            inner = self.computations[compare.attribute("calls")]
            places = [
                int(inner.by_name[name].text)
                for name in inner.root.operands
                if inner.by_name[name].opcode == "parameter"
            ]
            if inner.root.opcode != "compare" or len(places) != 2:
                return None
            sides = [compare.operands[place] for place in places]
            compare = inner.root
        if compare.opcode != "compare" or len(sides) != 2:
            return None
        direction = re.search(r"direction=(\w+)", compare.attributes)[1]
        left, right = (_through(condition, name) for name in sides)
        if left.opcode == "constant":
            left, right, direction = right, left, _LEFT_FOR[direction]
        if left.opcode != "get-tuple-element" or direction == "EQ":
            return None
        if right.opcode == "constant":
            return _place(left), direction, int(right.text)
        if right.opcode == "get-tuple-element":
            return _place(left), direction, str(_place(right))
        return None

    def _entry_value(self, where: Computation, loop: Instruction, index: int):
        """The constant with which entry `index` of the loop's tuple starts, or None."""
        given = _through(where, loop.operands[0])
        if given.opcode != "tuple":
            return None
        value = _through(where, given.operands[index])
        return int(value.text) if value.opcode == "constant" else None

    def _step(self, body: Computation, index: int) -> int | None:
        """What one round adds to the counter."""
        if body.root.opcode != "tuple":
            return None
        new = _through(body, body.root.operands[index])
        if new.opcode not in ("add", "subtract"):
            return None
        left, right = (_through(body, name) for name in new.operands)
        if left.opcode == "constant" and new.opcode == "add":
            left, right = right, left
        counter = left.opcode == "get-tuple-element" and _place(left) == index
        if not counter or right.opcode != "constant":
            return None
        return int(right.text) * (1 if new.opcode == "add" else -1)


def _rounds(start: int, step: int, direction: str, bound: int) -> int | None:
    """Rounds of `while start DIRECTION bound: start += step`; None if without end."""
    if direction in ("GT", "GE"):
        mirrored = {"GT": "LT", "GE": "LE"}[direction]
        return _rounds(-start, -step, mirrored, -bound)
    if direction == "NE":
        rounds, left = divmod(bound - start, step)
        return rounds if rounds >= 0 and not left else None
    span = bound + (direction == "LE") - start
    if span <= 0:
        return 0
    return -(-span // step) if step > 0 else None


def _place(instruction: Instruction) -> int:
    """Of a get-tuple-element."""
    return int(re.search(r"\bindex=(\d+)", instruction.attributes)[1])


def _through(where: Computation, name: str) -> Instruction:
    """What a name stands for, past instructions that change nothing."""
    found = where.by_name[name]
    while found.opcode in _SAME:
        found = where.by_name[found.operands[0]]
        if found.opcode == "copy-start":
            found = where.by_name[found.operands[0]]
    return found


def shape_bytes(shape: str) -> int:
    """Bytes of an array, or of a tuple's arrays together, without padding."""
    total = 0
    for dtype, dims in _ARRAY.findall(shape):
        bits = element_bits(dtype)
        if bits is None:
            continue
        count = 1
        for size in filter(None, dims.split(",")):
            count *= int(size.removeprefix("<="))
        total += -(-count * bits // 8)
    return total


def element_bits(dtype: str) -> int | None:
    """Bits of an element of a dtype as XLA spells it; None for what is no dtype."""
    if dtype in _BITS:
        return _BITS[dtype]
    found = re.match(r"^[suf](\d+)", dtype)
    return int(found[1]) if found else None


def parse(text: str) -> Module:
    """Reads a module.

    Raises:
      PlanError: the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, name, lines = "", "", []
    for line in text.splitlines():
        if not name:
            found = _COMPUTATION.match(line)
            if found and " -> " in line:
                name, lines = found[2], []
                entry = name if found[1] else entry
        elif line.startswith("}"):
            computations[name] = Computation(name, tuple(lines))
            name = ""
        else:
            instruction = parse_instruction(line)
            if instruction:
                lines.append(instruction)
    if not entry:
        raise PlanError(
            f"no entry computation in {len(text)} characters: expected the text of a "
            "compiled module, from Compiled.as_text()"
        )
    head = text[: text.find("\n")]
    devices = 1
    for key in ("num_partitions", "replica_count"):
        found = re.search(rf"\b{key}=(\d+)", head)
        devices *= int(found[1]) if found else 1
    return Module(computations, entry, devices)


def parse_instruction(line: str) -> Instruction | None:
    """One instruction; None for a line that is none."""
    found = _INSTRUCTION.match(line)
    if not found:
        return None
    start = found.end()
    if line[start] == "(":
        stop = _closing(line, start)
    else:
        stop = line.find(" ", start)
    shape = line[start:stop]
    opening = line.find("(", stop)
    opcode = line[stop:opening].strip()
    closing = _closing(line, opening)
    inside = line[opening + 1 : closing - 1]
    return Instruction(
        name=found[2],
        shape=shape,
        opcode=opcode,
        operands=tuple(_NAME.findall(inside)),
        text=inside,
        attributes=line[closing:],
        root=bool(found[1]),
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

    Attributes:
      where: name of its computation.
      instruction: the instruction.
      repeats: times that it runs.
      exact: False inside a loop whose length the text does not tell; `repeats` counts
        that loop once.
      source: op_name of what called its computation.
      fused: whether a fusion called it.
    """

    where: str
    instruction: Instruction
    repeats: int
    exact: bool
    source: str
    fused: bool


def running(
    module: Module, enter: Callable[[Instruction, str], bool] | None = None
) -> Iterator[Run]:
    """Every instruction that runs; through calls, branches and loops.

    Args:
      module: the program.
      enter: (caller, name of a computation) -> whether to go into it; all when None.
        Of a conditional all branches run, as which one is known only then.
    """

    def within(name, repeats, exact, source, fused):
        for one in module.computations[name].instructions:
            yield Run(name, one, repeats, exact, source, fused)
            caller = one.op_name or source
            for inner in one.called:
                if enter is None or enter(one, inner):
                    is_fusion = one.opcode == "fusion"
                    yield from within(inner, repeats, exact, caller, is_fusion)
            if one.opcode == "while":
                body = one.attribute("body")
                if enter is None or enter(one, body):
                    times = module.trip_count(module.computations[name], one)
                    known = exact and times is not None
                    rounds = repeats * (1 if times is None else times)
                    yield from within(body, rounds, known, caller, False)

    yield from within(module.entry, 1, True, "", False)
