"""Memory of a compiled step on one device, by kind, and what the compiler says if it
does not fit.

Totals are the compiler's own; how arguments divide into kinds follows from shapes and
shardings.
"""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

import jax
from jax.extend import core

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"([\d.]+)([KMGT]?)"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Attributes:
      arguments: all that the step is given.
      kinds: of the arguments, such as parameters and batch, before padding.
      outputs, aliased: what it returns, and how much of that lies where an argument did.
      temporaries: what it needs in between.
      code: the program.
      live: most bytes of arrays that are there at once, by the compiler; at most the
        sum of the above, as temporaries need not all be there together.
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
    return sum(leaf_bytes(leaf) for leaf in jax.tree.leaves(tree))


def leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    shape = leaf.shape
    if leaf.sharding is not None:
        shape = leaf.sharding.shard_shape(shape)
    return math.prod(shape) * leaf.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Overflow:
    """What a compiler said when a program did not fit.

    Attributes:
      needed, limit: bytes, as far as it says.
      buffers: its largest ones, as (bytes, what it is), if it named any.
      message: its words.
    """

    needed: int | None
    limit: int | None
    buffers: tuple[tuple[int, str], ...]
    message: str


def read_overflow(message: str) -> Overflow | None:
    """Reads a compiler's error; None if it is about something else."""
    if "RESOURCE_EXHAUSTED" not in message and "Ran out of memory" not in message:
        return None
    needed = limit = None
    for pattern in (
        rf"required for HLO temporaries \({_SIZE}\) exceeds .*?\({_SIZE}\)",
        rf"Used {_SIZE} of {_SIZE} hbm",
    ):
        found = re.search(pattern, message)
        if found:
            needed, limit = _bytes(*found.groups()[:2]), _bytes(*found.groups()[2:])
            break
    buffers = []
    for block in re.split(r"\n\s*\d+\. (?=Size: )", message)[1:]:
        size = re.match(rf"Size: {_SIZE}", block)
        named = re.search(r'op_name="([^"]*)"', block)
        shape = re.search(r"Shape: (\S+)", block)
        what = " ".join(one[1] for one in (shape, named) if one)
        buffers.append((_bytes(*size.groups()), what))
    return Overflow(needed, limit, tuple(buffers), message.split("\n")[0])


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])


def largest_leaves(trees: dict[str, Any], count: int = 5) -> list[tuple[int, str]]:
    """The largest arguments on one device, as (bytes, what it is)."""
    found = []
    for kind, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            what = f"{kind} {name} {leaf.dtype}{list(leaf.shape)}"
            found.append((leaf_bytes(leaf), what))
    return sorted(found, reverse=True)[:count]


def largest_values(
    jaxpr: Any, devices: int, rows: Iterable[int], count: int = 5
) -> list[tuple[int, str]]:
    """The largest arrays that a traced step computes, as (bytes, what it is).

    Before any fusion, so not all of them need exist. An array with an axis as long as
    a number of rows that the batch divides into is taken to be divided over all
    devices.

    Args:
      jaxpr: of the step.
      devices: that rows are divided over.
      rows: lengths of axes that stand for rows of the batch.
    """
    rows = set(rows)
    found: dict[str, int] = {}

    def look(jaxpr, prefix):
        for one in jaxpr.eqns:
            where = "/".join(
                filter(None, (prefix, str(one.source_info.name_stack)))
            ).strip("/")
            inner = [
                part
                for value in one.params.values()
                for part in (value if isinstance(value, tuple | list) else (value,))
                if isinstance(part, core.Jaxpr | core.ClosedJaxpr)
            ]
            for part in inner:
                look(part.jaxpr if isinstance(part, core.ClosedJaxpr) else part, where)
            if inner and one.primitive.name != "scan":
                continue  # its results were seen inside
            for var in one.outvars:
                shape = getattr(var.aval, "shape", None)
                if shape is None or not hasattr(var.aval.dtype, "itemsize"):
                    continue
                size = math.prod(shape) * var.aval.dtype.itemsize
                if rows.intersection(shape):
                    size //= devices
                what = f"{var.aval.dtype}{list(shape)} {where or one.primitive.name}"
                found[what] = max(size, found.get(what, 0))

    look(jaxpr, "")
    ranked = sorted(((size, what) for what, size in found.items()), reverse=True)
    return ranked[:count]
