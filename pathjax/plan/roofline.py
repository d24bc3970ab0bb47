"""The shortest time that a step can take (roofline, Williams et al. 2009), and the
bytes of main memory that a compiled program accesses, which the bound needs.

Computing, memory traffic and links are assumed to overlap perfectly, so a step takes the
longest of the three: an upper bound on speed, no forecast. Memory traffic is operands and
results of every instruction that runs, with loops multiplied, where XLA's cost analysis
counts a loop's body once. A fusion is one instruction; of an operand that it slices, the
slices count. Arrays in a TPU's on-chip memory are free. Caches are not modelled.
"""

import dataclasses
import re
from collections.abc import Sequence

from pathjax.parallel.hardware import Chip
from pathjax.plan.collectives import Collective
from pathjax.plan.hlo import Computation, Instruction, Module, running, shape_bytes

# They move nothing, or what they call is counted in their place.
_FREE = frozenset(
    (
        "parameter",
        "constant",
        "get-tuple-element",
        "tuple",
        "bitcast",
        "while",
        "conditional",
        "call",
        "call-start",
        "call-done",
        "async-start",
        "async-update",
        "async-done",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "copy-done",
        "all-gather-done",
        "all-reduce-done",
        "collective-permute-done",
        "send",
        "send-done",
        "recv",
        "recv-done",
        "domain",
    )
)
# Fusions that overlap a collective with computing hand its arrays from one to the next;
# they lie where they are.
_PASSED_ON = frozenset(
    ("tuple", "get-tuple-element", "custom-call", "all-gather", "all-reduce")
    + ("reduce-scatter", "all-to-all", "collective-permute")
)
# `S(1)` in a layout is the fast memory beside a TPU's core; 0, left out, is HBM.
_ON_CHIP = re.compile(r"\b[a-z][a-z0-9]*\[[0-9,<=]*\]\{[^}]*S\([1-9]\d*\)[^}]*\}")


def main_memory_bytes(shape: str) -> int:
    """Bytes of a shape's arrays that lie in main memory."""
    return shape_bytes(_ON_CHIP.sub("", shape))


def bytes_accessed(module: Module) -> int:
    """Bytes that one chip reads and writes in one call of a program."""
    total = 0
    fusions: dict[str, Computation] = module.computations
    for run in running(module, lambda caller, _: caller.opcode != "fusion"):
        one = run.instruction
        if one.opcode in _FREE:
            continue
        where = module.computations[run.where]
        if one.opcode == "fusion":
            moved = _of_fusion(where, one, fusions[one.attribute("calls")])
        else:
            moved = _of_instruction(where, one)
        total += moved * run.repeats
    return total


def _of_instruction(where: Computation, one: Instruction) -> int:
    operands = [where.by_name[name] for name in one.operands]
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * main_memory_bytes(one.shape)
    if one.opcode == "dynamic-update-slice":
        return 2 * main_memory_bytes(operands[1].shape)
    if one.opcode.endswith("-start"):  # its result repeats the operands
        read = sum(main_memory_bytes(each.shape) for each in operands)
        return read + max(main_memory_bytes(one.shape) - read, 0)
    given = sum(main_memory_bytes(each.shape) for each in operands)
    return given + main_memory_bytes(one.shape)


def _of_fusion(where: Computation, one: Instruction, inside: Computation) -> int:
    """Operands as far as they are used, and results as far as they are new."""
    users: dict[str, list[Instruction]] = {}
    for each in inside.instructions:
        for name in each.operands:
            users.setdefault(name, []).append(each)
    total = 0
    for each in inside.instructions:
        if each.opcode == "parameter":
            given = where.by_name[one.operands[int(each.text)]]
            whole = main_memory_bytes(given.shape)
            total += min(whole, _read(each, users)) if whole else 0
    results = [inside.root]
    if inside.root.opcode == "tuple":
        results = [inside.by_name[name] for name in inside.root.operands]
    written = 0
    for result in results:
        if result.opcode in _PASSED_ON or result.opcode == "parameter":
            continue
        updated = _update(inside, result)
        written += shape_bytes(updated.shape if updated else result.shape)
    return total + min(written, main_memory_bytes(one.shape))


def _read(parameter: Instruction, users: dict[str, list[Instruction]]) -> int:
    """Bytes of a fusion's parameter that the fusion looks at."""
    total = 0
    waiting = [parameter]
    while waiting:
        current = waiting.pop()
        for user in users.get(current.name, []):
            if user.opcode == "bitcast":
                waiting.append(user)
            elif user.opcode in ("dynamic-slice", "slice", "gather"):
                total += shape_bytes(user.shape)
            elif user.opcode in _PASSED_ON:
                continue
            elif (
                user.opcode != "dynamic-update-slice"
                or user.operands[0] != current.name
            ):
                return parameter.bytes
    return total


def _update(inside: Computation, result: Instruction) -> Instruction | None:
    """What a dynamic-update-slice writes, if the result is one."""
    while result.opcode == "bitcast":
        result = inside.by_name[result.operands[0]]
    if result.opcode != "dynamic-update-slice":
        return None
    return inside.by_name[result.operands[1]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """Attributes:
    compute, memory, links: seconds that each takes at the chip's peak; None where the
      chip has no figure.
    seconds: the longest.
    limited_by: which that is.
    mfu: model FLOPs over what the chips could do in that time.
    """

    compute: float | None
    memory: float | None
    links: float | None
    seconds: float | None
    limited_by: str
    mfu: float | None


def bound(
    chip: Chip,
    devices: int,
    *,
    dtype: str,
    executed: int,
    model: int,
    accessed: int,
    sent: Sequence[Collective],
) -> Bound:
    """The bound of one step.

    Args:
      chip, devices: the target.
      dtype: of matrix products.
      executed: FLOPs on all devices, what is computed twice counted twice.
      model: FLOPs that the model needs, each once.
      accessed: bytes that a device moves in main memory.
      sent: collectives of the program.
    """
    peak = chip.peak_of(dtype)
    if peak is None:
        return Bound(None, None, None, None, "", None)
    times = {
        "compute": executed / devices / peak,
        "memory": accessed / chip.bandwidth,
        "links": sum(_seconds(chip, one) for one in sent),
    }
    limited_by = max(times, key=times.get)
    seconds = times[limited_by]
    mfu = model / devices / peak / seconds if seconds else None
    return Bound(**times, seconds=seconds, limited_by=limited_by, mfu=mfu)


def _seconds(chip: Chip, one: Collective) -> float:
    """Over all links at once, which flatters small groups; beyond a machine, over its
    network."""
    beyond = chip.machine and one.group > chip.machine
    return one.moved_bytes / (chip.network if beyond else chip.link)
