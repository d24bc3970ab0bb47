"""L-BFGS of many losses at once, `descend`.

Liu & Nocedal 1989, doi:10.1007/BF01589116. `descend` takes values and gradients of all
its fits from one function, which may go over the rows once for all of them. What is
minimised is up to the probes.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

KEPT = 6  # pairs of a move and the gradient's change, of which the curvature is known
MAX_HALVINGS = 20
ROUNDING = 1e-6  # float32 cannot see a smaller decrease of a loss


class Point(NamedTuple):
    """Where P fits are.

    Attributes:
      params: Parameters.
      value: The loss there.
      gradient: Its gradient.
      more: What else the function gives, for the preconditioner; a leading axis P.
    """

    params: Float[Array, "P A B"]
    value: Float[Array, "P"]
    gradient: Float[Array, "P A B"]
    more: Float[Array, "P ..."]


class Pairs(NamedTuple):
    """The last moves of P fits and how the gradient changed along them; zeros are none."""

    moves: Float[Array, "M P A B"]
    changes: Float[Array, "M P A B"]


def no_pairs(params: Float[Array, "P A B"]) -> Pairs:
    """Of fits that have not moved."""
    none = jnp.zeros((KEPT, *params.shape), params.dtype)
    return Pairs(none, none)


def descend(
    evaluate: Callable[[Float[Array, "P A B"]], Point],
    begin: Point,
    pairs: Pairs,
    *,
    precondition: Callable[[Float[Array, "P A B"], Point], Float[Array, "P A B"]],
    largest: Callable[[Float[Array, "P A B"]], Float[Array, "P"]],
    steps: int,
    tolerance: ArrayLike,
) -> tuple[Point, Pairs, Int[Array, "P"]]:
    """Minimises P convex losses side by side until each gradient is small.

    A step is one call of `evaluate`, for all fits: where the loss does not decrease
    enough, the fit's next step is half as long and the others go on.

    Args:
      evaluate: Parameters to the point there.
      begin: Where to begin, evaluated.
      pairs: Of a path that led there, or none.
      precondition: About the inverse of the loss's curvature at a point, times a vector.
      largest: A gradient to what is compared with `tolerance`.
      steps: At most so many of a fit.
      tolerance: A fit ends when its gradient is below it.

    Returns:
      The last points, the last pairs, and the steps taken by each fit.
    """

    def unfinished(point, length, count):
        far = largest(point.gradient) > tolerance
        return (count < steps) & far & (length > 0.5**MAX_HALVINGS)

    def advance(carry):
        point, pairs, heading, length, count = carry
        active = unfinished(point, length, count)
        trial = evaluate(point.params + _each(length) * heading)
        slope = length * _dot(heading, point.gradient)
        most = point.value + 1e-4 * slope + ROUNDING * jnp.abs(point.value)
        accepted = active & (trial.value <= most)
        move, change = trial.params - point.params, trial.gradient - point.gradient
        curved = _dot(move, change) > 1e-7 * jnp.sqrt(
            _dot(move, move) * _dot(change, change)
        )
        pairs = Pairs(
            *(
                _where(accepted & curved, jnp.concatenate([old[1:], new[None]]), old, 1)
                for old, new in zip(pairs, (move, change), strict=True)
            )
        )
        point = jax.tree.map(lambda new, old: _where(accepted, new, old), trial, point)
        heading = _where(accepted, -_newton(point, pairs, precondition), heading)
        length = jnp.where(accepted, 1.0, jnp.where(active, length / 2, length))
        return point, pairs, heading, length, count + active

    fits = len(begin.value)
    carry = (
        *(begin, pairs, -_newton(begin, pairs, precondition)),
        *(jnp.ones(fits), jnp.zeros(fits, jnp.int32)),
    )
    point, pairs, _, _, count = jax.lax.while_loop(
        lambda carry: unfinished(carry[0], *carry[3:]).any(), advance, carry
    )
    return point, pairs, count


def _newton(point: Point, pairs: Pairs, precondition) -> Float[Array, "P A B"]:
    """The inverse curvature times the gradient, by the two-loop recursion."""
    along = jnp.einsum("mpab,mpab->mp", *pairs)
    inverse = jnp.where(along > 0, 1 / jnp.where(along > 0, along, 1.0), 0.0)
    vector, shares = point.gradient, []
    for move, change, rate in reversed(list(zip(*pairs, inverse, strict=True))):
        shares.append(rate * _dot(move, vector))
        vector = vector - _each(shares[-1]) * change
    last = pairs.changes[-1]
    norm = _dot(last, precondition(last, point))
    scale = jnp.where(along[-1] > 0, along[-1] / jnp.where(norm > 0, norm, 1.0), 1.0)
    vector = _each(scale) * precondition(vector, point)
    for move, change, rate, share in zip(
        *pairs, inverse, reversed(shares), strict=True
    ):
        vector = vector + _each(share - rate * _dot(change, vector)) * move
    return vector


def _dot(a, b):
    return jnp.sum(a * b, axis=(1, 2))


def _each(numbers):
    return numbers[:, None, None]


def _where(which, new, old, axis: int = 0):
    """New where a fit is marked; fits are along the axis."""
    shape = [1] * new.ndim
    shape[axis] = len(which)
    return jnp.where(which.reshape(shape), new, old)
