"""Checks that losses receive floating-point arrays of exactly the expected shapes."""

from typing import Any

import jax.numpy as jnp


def check_arrays(expected: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
    """Refuses arrays that are not floats of exactly the expected shapes.

    NumPy would broadcast `[B, G] - [B, 1]`, which is legal and wrong.

    Args:
      expected: Name -> (array, shape).

    Raises:
      ValueError: All shapes that differ.
      TypeError: All arrays that are not floating point.
    """
    shapes = [
        f"{name} is {list(jnp.shape(array))}, expected {list(shape)}"
        for name, (array, shape) in expected.items()
        if jnp.shape(array) != tuple(shape)
    ]
    if shapes:
        raise ValueError("shapes do not agree: " + "; ".join(shapes))
    dtypes = [
        f"{name} is {jnp.asarray(array).dtype}"
        for name, (array, _) in expected.items()
        if not jnp.issubdtype(jnp.asarray(array).dtype, jnp.floating)
    ]
    if dtypes:
        raise TypeError("expected floating-point arrays: " + "; ".join(dtypes))


def check_rows(batch: int, mask: Any, pair_id: Any = None) -> None:
    """Refuses a mask that is not bool `[B]` or a pair_id that is not integer `[B]`."""
    problems = []
    if mask.shape != (batch,) or mask.dtype != jnp.bool_:
        problems.append(
            f"mask is {mask.dtype}{list(mask.shape)}, expected bool[{batch}]"
        )
    if pair_id is not None and (
        pair_id.shape != (batch,) or not jnp.issubdtype(pair_id.dtype, jnp.integer)
    ):
        problems.append(
            f"pair_id is {pair_id.dtype}{list(pair_id.shape)}, expected int[{batch}]"
        )
    if problems:
        raise ValueError("; ".join(problems))


def check_regression(prediction: Any, target: Any) -> None:
    """Raises ValueError unless both are `[B, G]` of one shape."""
    if jnp.ndim(prediction) != 2:
        raise ValueError(
            f"prediction is {list(jnp.shape(prediction))}, expected [B, G]"
        )
    shape = prediction.shape
    check_arrays({"prediction": (prediction, shape), "target": (target, shape)})
