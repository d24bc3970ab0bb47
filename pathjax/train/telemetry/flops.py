"""FLOPs of a traced function: those of its matrix products, every repetition counted.

A product of [m, k] and [k, n] is 2 m k n, as is usual for utilisation (Chowdhery et
al. 2022, "PaLM", appendix B); what is done element by element is left out. Counted in
the jaxpr, before any compiler, over all devices; XLA's own cost analysis counts the
body of a loop once.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval


@dataclasses.dataclass(frozen=True)
class Flops:
    """Attributes:
    total: of one call, on all devices together.
    exact: False if there is a loop whose length is known only when it runs; its body
      is counted once.
    """

    total: int
    exact: bool

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.total + other.total, self.exact and other.exact)

    def times(self, count: int) -> "Flops":
        return Flops(self.total * count, self.exact)


NONE = Flops(0, True)


def count_flops(function: Callable[..., Any], *arguments: Any) -> Flops:
    """FLOPs of `function(*arguments)`; arrays may be `jax.ShapeDtypeStruct`s."""
    return jaxpr_flops(jax.make_jaxpr(function)(*arguments))


def jaxpr_flops(closed: core.ClosedJaxpr) -> Flops:
    """FLOPs of a traced function, such as `jax.jit(f).trace(...).jaxpr`.

    What no result depends on is not counted, as a compiler leaves it out.
    """
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return _of_jaxpr(jaxpr)


def _of_jaxpr(jaxpr) -> Flops:
    return sum((_of_equation(one) for one in jaxpr.eqns), NONE)


def _of_equation(one) -> Flops:
    name, params = one.primitive.name, one.params
    if name == "dot_general":
        return Flops(_dot_flops(one), True)
    if name == "conv_general_dilated":
        return Flops(_convolution_flops(one), True)
    inner = [_of_jaxpr(_open(jaxpr)) for jaxpr in _jaxprs(params)]
    if name == "scan":
        return sum(inner, NONE).times(params["length"])
    if name == "while":
        found = _of_jaxpr(_open(params["body_jaxpr"]))
        return Flops(found.total, found.total == 0)
    if name == "cond":
        return max(inner, key=lambda flops: flops.total)
    if name == "shard_map":  # the jaxpr is that of one device
        axes = params.get("manual_axes") or params["mesh"].axis_names
        sizes = params["mesh"].shape
        return sum(inner, NONE).times(math.prod(sizes[axis] for axis in axes))
    return sum(inner, NONE)


def _dot_flops(one) -> int:
    (contract, _), (batch, _) = one.params["dimension_numbers"]
    left, right = (var.aval.shape for var in one.invars)
    shared = math.prod(left[axis] for axis in batch)
    summed = math.prod(left[axis] for axis in contract)
    once = max(shared * summed, 1)
    return 2 * math.prod(left) * math.prod(right) // once


def _convolution_flops(one) -> int:
    kernel = one.invars[1].aval.shape
    features = kernel[one.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(one.outvars[0].aval.shape) * math.prod(kernel) // features


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.Jaxpr | core.ClosedJaxpr):
                found.append(one)
    return found


def _open(jaxpr):
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
