"""FLOPs of a traced function: those of its matrix products, every repetition counted.

A product of [m, k] and [k, n] is 2 m k n (Chowdhery et al. 2022, "PaLM", appendix B);
elementwise work is left out. Counted in the jaxpr, over all devices: XLA's own cost
analysis counts the body of a loop once.
"""

import dataclasses
import math

from jax.extend import core
from jax.interpreters import partial_eval


@dataclasses.dataclass(frozen=True)
class Flops:
    """FLOPs of one call.

    Attributes:
      total: On all devices together.
      exact: False if there is a loop whose length is known only at run time; its body
        is counted once.
    """

    total: int
    exact: bool

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.total + other.total, self.exact and other.exact)

    def times(self, count: int) -> "Flops":
        return Flops(self.total * count, self.exact)


def jaxpr_flops(closed: core.ClosedJaxpr) -> Flops:
    """FLOPs of a traced function, such as `jax.jit(f).trace(...).jaxpr`.

    What no result depends on is not counted, as a compiler leaves it out.
    """
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return _sum(map(_of_equation, jaxpr.eqns))


def _sum(parts) -> Flops:
    return sum(parts, Flops(0, True))


def _of_jaxpr(jaxpr) -> Flops:
    jaxpr = jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
    return _sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation) -> Flops:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return Flops(_dot_flops(equation), True)
    if name == "conv_general_dilated":
        return Flops(_convolution_flops(equation), True)
    if name == "while":
        total = _of_jaxpr(params["body_jaxpr"]).total
        return Flops(total, total == 0)
    inner = [
        _of_jaxpr(item)
        for value in params.values()
        for item in (value if isinstance(value, tuple | list) else (value,))
        if isinstance(item, core.Jaxpr | core.ClosedJaxpr)
    ]
    if name == "cond":
        return max(inner, key=lambda flops: flops.total)
    if name == "scan":
        return _sum(inner).times(params["length"])
    if name == "shard_map":  # the jaxpr is that of one device
        axes = params.get("manual_axes") or params["mesh"].axis_names
        sizes = params["mesh"].shape
        return _sum(inner).times(math.prod(sizes[axis] for axis in axes))
    return _sum(inner)


def _dot_flops(equation) -> int:
    (contract, _), (batch, _) = equation.params["dimension_numbers"]
    left, right = (var.aval.shape for var in equation.invars)
    shared = math.prod(left[axis] for axis in (*batch, *contract))
    return 2 * math.prod(left) * math.prod(right) // max(shared, 1)


def _convolution_flops(equation) -> int:
    kernel = equation.invars[1].aval.shape
    features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    out = math.prod(equation.outvars[0].aval.shape)
    return 2 * out * math.prod(kernel) // features
