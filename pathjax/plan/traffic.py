"""Bytes that a compiled program reads from and writes to a chip's main memory.

Operands and results of every instruction that runs, each once, loops multiplied: what
XLA's cost analysis calls bytes accessed, which counts a loop's body once. A fusion is
one instruction; of an operand that it slices, the slices count. Arrays that the
compiler put into a TPU's on-chip memory are free. Caches are not modelled.
"""

import re

from pathjax.plan.hlo import Computation, Instruction, Module, shape_bytes
from pathjax.plan.walk import running

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
