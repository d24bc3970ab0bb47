"""Exact gradients of a large batch in several parts, for losses where rows meet.

Averaging the gradients of micro-batches is wrong for a contrastive loss, whose
negatives are the whole batch. Instead (GradCache, Gao et al. 2021):

    1. represent each micro-batch, keep the representations, drop the activations
    2. compare all rows at once; the gradient with respect to the representations
    3. represent each micro-batch again, and pull its part of that gradient back

Memory is that of one micro-batch, at the cost of one more forward pass. Random numbers
of a micro-batch are the same in both passes, but not those of the undivided batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Params = Any
Rows = Any  # a tree of arrays [B, ...]


def split_rows(batch: Rows, parts: int) -> Rows:
    """`[B, ...]` to `[parts, B / parts, ...]`, every parts-th row together.

    Strided, so that with rows divided over devices each device divides its own.

    Raises:
      ValueError: B does not divide.
    """

    def split(rows):
        if rows.shape[0] % parts:
            raise ValueError(
                f"optim.accumulate={parts} does not divide a batch of {rows.shape[0]}"
            )
        return rows.reshape(-1, parts, *rows.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, batch)


def join_rows(batch: Rows) -> Rows:
    """Undoes `split_rows`."""
    return jax.tree.map(
        lambda rows: rows.swapaxes(0, 1).reshape(-1, *rows.shape[2:]), batch
    )


def value_and_grad(
    represent: Callable[[Params, Rows, jax.Array | int], Rows],
    compare: Callable[[Params, Rows], tuple[jax.Array, Any]],
    params: Params,
    batch: Rows,
    parts: int = 1,
) -> tuple[tuple[jax.Array, Any], Params]:
    """The loss `compare(params, represent(params, batch))` and its gradient.

    Args:
      represent: (params, rows, index of the part) -> arrays with a row for each row.
      compare: (params, representations of all rows) -> (scalar, auxiliary outputs).
      params: To differentiate with respect to.
      batch: Arrays `[B, ...]`.
      parts: Micro-batches, a divisor of B; 1 is one pass without a cache.

    Returns:
      ((loss, aux), gradient), as `jax.value_and_grad(..., has_aux=True)`.
    """
    if parts == 1:

        def loss(params):
            return compare(params, represent(params, batch, 0))

        return jax.value_and_grad(loss, has_aux=True)(params)

    numbered = (split_rows(batch, parts), jnp.arange(parts))
    rows = jax.lax.map(lambda part: represent(params, *part), numbered)
    (value, aux), (grads, row_grads) = jax.value_and_grad(
        compare, argnums=(0, 1), has_aux=True
    )(params, join_rows(rows))

    def pull_back(grads, item):
        part, index, row_grad = item
        _, pull = jax.vjp(lambda params: represent(params, part, index), params)
        return jax.tree.map(jnp.add, grads, pull(row_grad)[0]), None

    numbered_grads = (*numbered, split_rows(row_grads, parts))
    grads, _ = jax.lax.scan(pull_back, grads, numbered_grads)
    return (value, aux), grads
