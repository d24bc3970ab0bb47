"""The compiled steps: one factory for training, one for validation.

A factory closes over the objective and the optimiser and is called once per run, so that
each step function compiles once. The steps see global arrays; XLA places the work.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from pathjax.objectives import Objective, batch_losses, compared, represented
from pathjax.objectives.objective import counted
from pathjax.parallel.mesh import batch_sharding, replicated, rows_divided
from pathjax.train.accumulate import value_and_grad
from pathjax.train.optim import merge
from pathjax.train.state import TrainState

Logs = dict[str, jax.Array]
COUNT = "/count"  # suffix of the number of rows that a metric is summed over


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `[B]` over true rows; zero if there are none.

    Where, not product, so that a NaN in a padded row cannot leak.
    """
    total = jnp.where(mask, values, 0).sum()
    return total / jnp.maximum(mask.sum(), 1).astype(values.dtype)


def means_of(totals: dict[str, float]) -> dict[str, float]:
    """Means from sums and counts of `make_eval_step`, leaving out what has no rows."""
    return {
        name: value / totals[f"{name}{COUNT}"]
        for name, value in totals.items()
        if not name.endswith(COUNT) and totals[f"{name}{COUNT}"]
    }


def make_train_step(
    objective: Objective,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    shardings: Any,
    accumulate: int = 1,
) -> Callable[[TrainState, dict[str, jax.Array], jax.Array], tuple[TrainState, Logs]]:
    """Returns the jitted step (state, batch, key) -> (state, logs).

    The state is donated. `key` is the run's base key; what depends on the step is
    derived inside. Logs are scalars: loss, the objective's metrics, gradient norm.
    With `accumulate` above 1 the batch goes through the encoders in that many parts, and
    the gradient is still that of the whole batch.
    """

    def train_step(state, batch, key):
        def represent(params, rows, part):
            part_key = key if accumulate == 1 else jax.random.fold_in(key, part)
            whole = merge(params, state.frozen)
            with rows_divided(mesh):
                return represented(
                    objective, whole, state.extra, rows, part_key, state.step, True
                )

        def compare(params, rows):
            whole = merge(params, state.frozen)
            values, metrics, aux = compared(
                objective, whole, state.extra, rows, batch, state.step, mesh
            )
            means = {
                name: masked_mean(*counted(metric, batch["mask"]))
                for name, metric in metrics.items()
            }
            return masked_mean(values, batch["mask"]), (means, aux)

        (loss, (means, aux)), grads = value_and_grad(
            represent, compare, state.params, batch, accumulate
        )
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        whole = merge(params, state.frozen)
        extra = objective.update_extra(state.extra, whole, aux, state.step)
        logs = {"loss": loss, "grad_norm": optax.tree.norm(grads), **means}
        new = state.replace(
            step=state.step + 1, params=params, extra=extra, opt_state=opt_state
        )
        return new, logs

    rows, whole = batch_sharding(mesh), replicated(mesh)
    return jax.jit(
        train_step,
        in_shardings=(shardings, rows, whole),
        out_shardings=(shardings, whole),
        donate_argnums=0,
    )


def make_eval_step(
    objective: Objective, mesh: Mesh, shardings: Any
) -> Callable[[TrainState, dict[str, jax.Array], jax.Array], Logs]:
    """Returns the jitted validation step: sums over true rows, and their counts.

    The caller adds up batches and divides once (`means_of`), so that a short last batch
    has its proper weight.
    """

    def eval_step(state, batch, key):
        params, mask = merge(state.params, state.frozen), batch["mask"]
        with rows_divided(mesh):
            values, metrics, _ = batch_losses(
                objective, params, state.extra, batch, key, state.step, False, mesh
            )
        sums = {}
        for name, metric in (metrics | {"loss": values}).items():
            of, rows = counted(metric, mask)
            sums[name] = jnp.where(rows, of, 0).sum()
            sums[f"{name}{COUNT}"] = rows.sum()
        return sums

    rows, whole = batch_sharding(mesh), replicated(mesh)
    return jax.jit(
        eval_step, in_shardings=(shardings, rows, whole), out_shardings=whole
    )
