"""L-BFGS of many losses at once, `descend`, and down the strengths of a ridge, `along_path`.

Liu & Nocedal 1989, doi:10.1007/BF01589116. `descend` takes values and gradients of all
its fits from one function, which may go over the rows once for all of them. What is
minimised is up to the probes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

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


def origin(*shape: int) -> Float[Array, "*shape"]:
    """Zeros to start from that XLA cannot fold into one broadcast constant.

    On CPUs (jax 0.10 to 0.12) XLA puts a product with a broadcast constant and a sum over
    it into one YNNPACK fusion, which from about 900 rows on returns uninitialised memory.
    """
    # Along an axis of length 1 XLA folds the numbers into a constant.
    longest = max(range(len(shape)), key=lambda axis: shape[axis])
    return 0.0 * jax.lax.broadcasted_iota(jnp.float32, shape, longest)


def settled(point: Point, largest: Float[Array, "P"]) -> Float[Array, "P"]:
    """The largest gradients; infinite where the loss is not a number."""
    return jnp.where(jnp.isfinite(point.value), largest, jnp.inf)


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
        point, pairs, length, count = carry
        heading = -_newton(point, pairs, precondition)
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
        length = jnp.where(accepted, 1.0, jnp.where(active, length / 2, length))
        return point, pairs, length, count + active

    fits = len(begin.value)
    carry = (begin, pairs, jnp.ones(fits), jnp.zeros(fits, jnp.int32))
    point, pairs, _, count = jax.lax.while_loop(
        lambda carry: unfinished(carry[0], *carry[2:]).any(), advance, carry
    )
    return point, pairs, count


def along_path(
    evaluate: Callable[[Float[Array, "P A B"]], Point],
    strengths: Float[Array, "S"],
    start: Float[Array, "P A B"],
    *,
    curvature: Float[Array, "A"],
    free: int = 0,
    precondition: Callable[[ArrayLike, Float[Array, "P A B"], Point], Array],
    read: Callable[[Point], Any],
    steps: int,
    tolerance: ArrayLike,
) -> tuple[Any, Int[Array, "S P"], Float[Array, "S P"]]:
    """Minimises P losses + strength / 2 * |params|^2 side by side, at each strength.

    A strength begins where the one before ended (Friedman, Hastie & Tibshirani 2010,
    doi:10.18637/jss.v033.i01), with what is known of the curvature.

    Args:
      evaluate: Parameters to the point there, without the penalty.
      strengths: The strongest first.
      start: Where the first begins, zeros.
      curvature: About the loss's second derivative of each parameter: gradients are
        measured by its root with the strength's.
      free: How many of the last A have no penalty, such as a bias.
      precondition: As of `descend`, at a strength.
      read: What is wanted of each end.
      steps, tolerance: As of `descend`, for each strength.

    Returns:
      What was read, the steps and the largest gradients, all with a leading axis S.
    """
    held = (jnp.arange(start.shape[1]) < start.shape[1] - free)[None, :, None]

    def penalised(strength, point):
        params = held * point.params
        more = 0.5 * strength * jnp.sum(params**2, axis=(1, 2))
        gradient = point.gradient + strength * params
        return point._replace(value=point.value + more, gradient=gradient)

    def largest(strength, gradient):
        size = jnp.sqrt(curvature[None, :, None] + strength * held)
        return (jnp.abs(gradient) / size).max(axis=(1, 2))

    def advance(carry, strength):
        point, pairs, before = carry
        # The stronger one's end, as this one sees it: the penalty is known exactly.
        more = strength - before
        point = penalised(more, point)
        pairs = pairs._replace(changes=pairs.changes + more * held[None] * pairs.moves)
        point, pairs, count = descend(
            lambda params: penalised(strength, evaluate(params)),
            point,
            pairs,
            precondition=functools.partial(precondition, strength),
            largest=functools.partial(largest, strength),
            steps=steps,
            tolerance=tolerance,
        )
        end = (read(point), count, settled(point, largest(strength, point.gradient)))
        return (point, pairs, strength), end

    begin = (evaluate(start), no_pairs(start), jnp.zeros_like(strengths[0]))
    return jax.lax.scan(advance, begin, strengths)[1]


def _newton(point: Point, pairs: Pairs, precondition) -> Float[Array, "P A B"]:
    """The inverse curvature times the gradient, by the two-loop recursion.

    Loops, not a line for each pair: a twelfth of them to compile.
    """
    along = jax.vmap(_dot)(*pairs)
    inverse = jnp.where(along > 0, 1 / jnp.where(along > 0, along, 1.0), 0.0)

    def back(vector, pair):
        move, change, rate = pair
        share = rate * _dot(move, vector)
        return vector - _each(share) * change, share

    def forth(vector, pair):
        move, change, rate, share = pair
        return vector + _each(share - rate * _dot(change, vector)) * move, None

    vector, shares = jax.lax.scan(back, point.gradient, (*pairs, inverse), reverse=True)
    last = pairs.changes[-1]
    norm = _dot(last, precondition(last, point))
    scale = jnp.where(along[-1] > 0, along[-1] / jnp.where(norm > 0, norm, 1.0), 1.0)
    vector = _each(scale) * precondition(vector, point)
    return jax.lax.scan(forth, vector, (*pairs, inverse, shares))[0]


def _dot(a, b):
    return jnp.sum(a * b, axis=(1, 2))


def _each(numbers):
    return numbers[:, None, None]


def _where(which, new, old, axis: int = 0):
    """New where a fit is marked; fits are along the axis."""
    shape = [1] * new.ndim
    shape[axis] = len(which)
    return jnp.where(which.reshape(shape), new, old)
