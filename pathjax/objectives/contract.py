"""What an objective has to be and to return, checked where its steps are traced.

An objective is often somebody's own, and JAX broadcasts: a loss that is one number in
place of one for each row would train on something else without a word. Only shapes and
dtypes are read, so nothing of this is in the compiled step.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from pathjax.objectives.objective import (
    Batch,
    Losses,
    Objective,
    ObjectiveError,
    Params,
    counted,
)

TO_IMPLEMENT = ("init", "represent", "compare")
DOCS = "see docs/extend/objective.md"


def require_methods(kind: type[Objective], name: str) -> None:
    """Refuses a class that lacks a method, or has `problems` with another signature.

    Raises:
      ObjectiveError: As said.
    """
    lacking = [m for m in TO_IMPLEMENT if getattr(kind, m) is getattr(Objective, m)]
    if lacking:
        methods = ", ".join(lacking)
        raise ObjectiveError(
            f"objective {name} has no method {methods}: expected "
            f"{', '.join(TO_IMPLEMENT)}; {DOCS}"
        )
    signature = inspect.signature(kind.problems)
    try:
        signature.bind(None, 0)
    except TypeError as error:
        raise ObjectiveError(
            f"objective {name}: expected a method problems(self, batch), got problems"
            f"{signature}: it is called with the rows of a batch, 0 where unknown"
        ) from error


def represented(
    objective: Objective,
    params: Params,
    extra: Any,
    batch: Batch,
    key: jax.Array,
    step: Any,
    train: bool,
) -> Batch:
    """`represent`, with arrays `[B, ...]` by name.

    Raises:
      ObjectiveError: It returned something else.
    """
    rows: Any = objective.represent(params, extra, batch, key, step, train)
    count, name = len(batch["mask"]), type(objective).__name__
    if not isinstance(rows, dict):
        raise ObjectiveError(
            f"objective {name}: represent returned {_kind(rows)}, expected a dict of "
            f"arrays by name, each [B, ...]; {DOCS}"
        )
    for array, value in rows.items():
        for leaf in jax.tree.leaves(value):
            if jnp.shape(leaf)[:1] != (count,):
                raise ObjectiveError(
                    f"objective {name}: represent returned {array!r} of shape "
                    f"{jnp.shape(leaf)}, expected [B, ...] with B = {count}, the rows "
                    f"of the batch; {DOCS}"
                )
    return rows


def compared(
    objective: Objective,
    params: Params,
    extra: Any,
    rows: Batch,
    batch: Batch,
    step: Any,
    mesh: Any = None,
) -> Losses:
    """`compare`, with losses and metrics `[B]`.

    Raises:
      ObjectiveError: It returned something else.
    """
    found: Any = objective.compare(params, extra, rows, batch, step, mesh)
    count, name = len(batch["mask"]), type(objective).__name__
    if not isinstance(found, tuple) or len(found) != 3:
        raise ObjectiveError(
            f"objective {name}: compare returned {_kind(found)}, expected (losses [B], "
            f"metrics by name, aux), such as `losses, {{}}, {{}}`; {DOCS}"
        )
    values, metrics, _ = found
    if not isinstance(metrics, dict):
        raise ObjectiveError(
            f"objective {name}: compare returned {_kind(metrics)} for its metrics, "
            f"expected a dict of arrays [B] by name; {DOCS}"
        )
    each = {"losses": values}
    for metric, value in metrics.items():
        numbers, of = counted(value, batch["mask"])
        each |= {f"metric {metric!r}": numbers, f"rows of metric {metric!r}": of}
    for what, value in each.items():
        if jnp.shape(value) != (count,):
            raise ObjectiveError(
                f"objective {name}: compare returned {what} of shape {jnp.shape(value)},"
                f" expected [B] with B = {count}, one for each row of the batch; {DOCS}"
            )
    return found


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return (
        f"an array of shape {value.shape}"
        if hasattr(value, "shape")
        else repr(type(value).__name__)
    )


def batch_losses(
    objective: Objective,
    params: Params,
    extra: Any,
    batch: Batch,
    key: jax.Array,
    step: Any,
    train: bool,
    mesh: Any = None,
) -> Losses:
    """`compared` of `represented`, on one batch."""
    rows = represented(objective, params, extra, batch, key, step, train)
    return compared(objective, params, extra, rows, batch, step, mesh)


def predicted(objective: Objective, params: Params, batch: Batch) -> Batch:
    """`predict`, which has to do with the arrays that the batch has.

    Raises:
      ObjectiveError: It asks for others.
    """
    try:
        return objective.predict(params, batch)
    except KeyError as error:
        if error.args[0] in batch:
            raise
        raise ObjectiveError(
            f"objective {type(objective).__name__}: predict asks for {error} of a batch "
            f"that has {', '.join(sorted(batch))}: leave out of its dict what cannot be "
            f"made of these; {DOCS}"
        ) from error
