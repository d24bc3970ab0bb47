"""The shortest time that a step can take (roofline, Williams et al. 2009), and the
bytes of main memory that a compiled program accesses, which the bound needs.

Computing, memory traffic and links are assumed to overlap perfectly, so a step takes the
longest of the three: an upper bound on speed, not a forecast. Memory traffic is the
operands and results of every instruction that runs, loops multiplied. A fusion is one
instruction; where it slices an operand, the slices count. Arrays in a TPU's on-chip
memory are free. Caches are not modelled.
"""

import dataclasses
import re
from collections.abc import Sequence

from pathjax.parallel.hardware import Chip
from pathjax.plan.collectives import Collective
from pathjax.plan.hlo import Computation, Instruction, Module, running, shape_bytes

# They move nothing, or what they call is counted instead.
_FREE = re.compile(
    "parameter|constant|get-tuple-element|tuple|bitcast|while|conditional|call(-start)?|"
    "async-.*|after-all|partition-id|replica-id|opt-barrier|send|recv|domain|.*-done"
)
# Fusions that overlap a collective with computing pass its arrays on without a copy.
_PASSED_ON = frozenset(
    ("tuple", "get-tuple-element", "custom-call", "all-gather", "all-reduce")
    + ("reduce-scatter", "all-to-all", "collective-permute")
)
_SLICES = ("dynamic-slice", "slice", "gather")
# `S(1)` in a layout is a TPU's on-chip memory; 0, left out, is HBM.
_ON_CHIP = re.compile(r"\b[a-z][a-z0-9]*\[[0-9,<=]*\]\{[^}]*S\([1-9]\d*\)[^}]*\}")


def main_memory_bytes(shape: str) -> int:
    """Bytes of a shape's arrays in main memory."""
    return shape_bytes(_ON_CHIP.sub("", shape))


def bytes_accessed(module: Module) -> int:
    """Bytes that one device reads and writes in one call of a program."""
    total = 0
    for run in running(module, lambda caller, _: caller.opcode != "fusion"):
        instruction, where = run.instruction, module.computations[run.where]
        if instruction.opcode == "fusion":
            inside = module.computations[instruction.attribute("calls")]
            total += run.repeats * _of_fusion(where, instruction, inside)
        elif not _FREE.fullmatch(instruction.opcode):
            total += run.repeats * _of_instruction(where, instruction)
    return total


def _of_instruction(where: Computation, instruction: Instruction) -> int:
    operands = [where.by_name[name] for name in instruction.operands]
    written = main_memory_bytes(instruction.shape)
    if instruction.opcode in _SLICES:
        return 2 * written
    if instruction.opcode == "dynamic-update-slice":
        return 2 * main_memory_bytes(operands[1].shape)
    read = sum(main_memory_bytes(each.shape) for each in operands)
    if instruction.opcode.endswith("-start"):  # its result repeats the operands
        return max(read, written)
    return read + written


def _of_fusion(where: Computation, fusion: Instruction, inside: Computation) -> int:
    """The parts of operands that are used, and of results that are new."""
    users: dict[str, list[Instruction]] = {}
    for each in inside.instructions:
        for name in each.operands:
            users.setdefault(name, []).append(each)
    total = 0
    for each in inside.instructions:
        if each.opcode == "parameter":
            operand = where.by_name[fusion.operands[int(each.text)]]
            whole = main_memory_bytes(operand.shape)
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
    return total + min(written, main_memory_bytes(fusion.shape))


def _read(parameter: Instruction, users: dict[str, list[Instruction]]) -> int:
    """Bytes of a fusion's parameter that the fusion reads."""
    total = 0
    todo = [parameter]
    while todo:
        current = todo.pop()
        for user in users.get(current.name, []):
            if user.opcode == "bitcast":
                todo.append(user)
            elif user.opcode in _SLICES:
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
    """The least time of a step; None where the chip has no figures.

    Attributes:
      compute, memory, links: Seconds that each takes at the chip's peak.
      seconds: The longest of them.
      limited_by: Which that is.
      mfu: Model FLOPs over what the chips could do in that time.
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
      chip, devices: The target.
      dtype: Of matrix products.
      executed, model: FLOPs on all devices, recomputation included and excluded.
      accessed: Bytes that a device moves in main memory.
      sent: Collectives of the program.
    """
    peak = chip.peak_of(dtype)
    if peak is None:
        return Bound(None, None, None, None, "", None)
    times = {
        "compute": executed / devices / peak,
        "memory": accessed / chip.bandwidth,
        "links": sum(_seconds(chip, item) for item in sent),
    }
    limited_by = max(times, key=times.get)
    seconds = times[limited_by]
    mfu = model / devices / peak / seconds if seconds else None
    return Bound(**times, seconds=seconds, limited_by=limited_by, mfu=mfu)


def _seconds(chip: Chip, item: Collective) -> float:
    """Over all links at once, an optimistic figure for small groups; over the network
    for a group that spans machines."""
    beyond = chip.machine and item.group > chip.machine
    return item.moved_bytes / (chip.network if beyond else chip.link)
