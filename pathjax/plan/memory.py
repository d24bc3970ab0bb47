"""Memory of a compiled step on one device, by kind, and errors of a step too large.

Totals are the compiler's own; arguments are divided into kinds by shapes and shardings.
"""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

import jax
from jax.extend import core

Buffers = list[tuple[int, str]]  # bytes and description, the largest first

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"([\d.]+)([KMGT]?)"
_TOTALS = re.compile(
    rf"required for HLO temporaries \({_SIZE}\) exceeds .*?\({_SIZE}\)"
    rf"|Used {_SIZE} of {_SIZE} hbm"
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Attributes:
      arguments: Of all arguments of the step.
      kinds: Of arguments by kind, such as parameters and batch, before padding.
      outputs, aliased: Of results, and how much of that reuses an argument's memory.
      temporaries: Of intermediate arrays.
      code: Of the program.
      live: Largest total of simultaneous arrays, by the compiler.
    """

    arguments: int
    kinds: dict[str, int]
    outputs: int
    aliased: int
    temporaries: int
    code: int
    live: int

    @property
    def peak(self) -> int:
        return self.live + self.code


def read_memory(compiled: Any, kinds: dict[str, int]) -> Memory:
    """From `Compiled.memory_analysis()`."""
    stats = compiled.memory_analysis()
    return Memory(
        arguments=stats.argument_size_in_bytes,
        kinds=kinds,
        outputs=stats.output_size_in_bytes,
        aliased=stats.alias_size_in_bytes,
        temporaries=stats.temp_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
        live=stats.peak_memory_in_bytes,
    )


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of `ShapeDtypeStruct`s with shardings, on one device."""
    return sum(map(leaf_bytes, jax.tree.leaves(tree)))


def leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of an array on one device."""
    shape = leaf.shape
    if leaf.sharding is not None:
        shape = leaf.sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Overflow:
    """A program that does not fit, as the compiler reports it.

    Attributes:
      needed, limit: Bytes; None if not reported.
      buffers: The largest reported ones.
      message: The first line of the error.
    """

    needed: int | None
    limit: int | None
    buffers: Buffers
    message: str


def read_overflow(message: str) -> Overflow | None:
    """Parses a compiler's error; None if it is not about memory."""
    if "RESOURCE_EXHAUSTED" not in message and "Ran out of memory" not in message:
        return None
    needed = limit = None
    if totals := _TOTALS.search(message):
        parts = [part for part in totals.groups() if part is not None]
        needed, limit = _bytes(*parts[:2]), _bytes(*parts[2:])
    buffers = []
    for block in re.split(r"\n\s*\d+\. (?=Size: )", message)[1:]:
        size = re.match(rf"Size: {_SIZE}", block)
        patterns = (r"Shape: (\S+)", r'op_name="([^"]*)"')
        parts = [match[1] for p in patterns if (match := re.search(p, block))]
        buffers.append((_bytes(*size.groups()), " ".join(parts)))
    return Overflow(needed, limit, buffers, message.split("\n")[0])


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])


def largest_leaves(trees: dict[str, Any], count: int = 5) -> Buffers:
    """The largest arguments on one device."""
    leaves = []
    for kind, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            what = f"{kind} {name} {leaf.dtype}{list(leaf.shape)}"
            leaves.append((leaf_bytes(leaf), what))
    return sorted(leaves, reverse=True)[:count]


def largest_values(
    jaxpr: Any, devices: int, rows: Iterable[int], count: int = 5
) -> Buffers:
    """The largest arrays that a traced step computes, before fusion.

    Not all of them need exist. Arrays with an axis as long as one of `rows`, the lengths
    of the batch's axes, are taken to be divided over all devices.
    """
    rows = set(rows)
    sizes: dict[str, int] = {}

    def visit(jaxpr, prefix):
        for eqn in jaxpr.eqns:
            name = str(eqn.source_info.name_stack)
            where = "/".join(filter(None, (prefix, name))).strip("/")
            inner = list(core.jaxprs_in_params(eqn.params))
            for part in inner:
                visit(part, where)
            if inner and eqn.primitive.name != "scan":
                continue  # its results were visited inside
            for var in eqn.outvars:
                shape = getattr(var.aval, "shape", None)
                if shape is None or not hasattr(var.aval.dtype, "itemsize"):
                    continue
                size = math.prod(shape) * var.aval.dtype.itemsize
                if rows.intersection(shape):
                    size //= devices
                what = f"{var.aval.dtype}{list(shape)} {where or eqn.primitive.name}"
                sizes[what] = max(size, sizes.get(what, 0))

    visit(jaxpr, "")
    return sorted(((size, what) for what, size in sizes.items()), reverse=True)[:count]
