"""The training state, initialised on the devices that keep it."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from pathjax.models.lora import DOWN, UP
from pathjax.objectives import Objective
from pathjax.parallel.mesh import state_sharding
from pathjax.train.optim import Params, split_frozen

# Initialisation runs once, so on the CPU its code is not worth optimising: this takes
# its compilation from 6.1 s to 1.8 s for a ViT of six blocks.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


@flax.struct.dataclass
class TrainState:
    """All that a step reads and writes, and what a checkpoint holds.

    Attributes:
      step: int32 scalar, steps taken.
      params: Trainable parameters.
      frozen: The others, never differentiated.
      extra: The objective's own state, such as DINO's teacher and centre.
      opt_state: Of the optimiser, for `params` only.
    """

    step: jax.Array
    params: Params
    frozen: Params
    extra: Any
    opt_state: optax.OptState


def replace_subtree(params: Params, given: Params, where: str) -> Params:
    """Puts given parameters in place of those of the same paths.

    Args:
      params: Freshly initialised (or abstract) parameters.
      given: Nested dict, such as `{"vit": ...}`; must cover whole top-level entries.
      where: Their source, for the error.

    Raises:
      ValueError: Missing, unexpected and mis-shaped entries, all at once.
    """
    flat, new = flatten_dict(params, sep="/"), flatten_dict(given, sep="/")
    covered = {path for path in flat if path.split("/")[0] in given}
    # Adapters are not in model files: they start fresh.
    covered -= {path for path in flat if path.split("/")[-1] in (DOWN, UP)}
    problems = [f"{path} is missing" for path in sorted(covered - set(new))]
    problems += [f"{path} is unexpected" for path in sorted(set(new) - set(flat))]
    problems += [
        f"{path} is {np.shape(new[path])}, expected {flat[path].shape}"
        for path in sorted(set(new) & set(flat))
        if np.shape(new[path]) != flat[path].shape
    ]
    if problems:
        listing = "\n  - ".join(problems[:5])
        raise ValueError(
            f"{where} does not fit the model ({len(problems)} entries):\n  - {listing}\n"
            "Set config.model to the encoder it was trained with"
        )
    return unflatten_dict(flat | new, sep="/")


def state_creator(
    objective: Objective,
    tx: optax.GradientTransformation,
    example: dict[str, jax.ShapeDtypeStruct],
    *,
    freeze: tuple[str, ...] = (),
    init_name: str = "",
) -> Callable[[jax.Array, Params], TrainState]:
    """Returns (key, parameters to start from) -> state; made to run under jit.

    Args:
      objective, tx: Of the run.
      example: Shapes and dtypes of a batch.
      freeze: Patterns of `split_frozen`.
      init_name: Source of the given parameters, for errors.
    """

    def create(key, given):
        batch = {k: jnp.zeros(v.shape, v.dtype) for k, v in example.items()}
        params, extra = objective.init(key, batch)
        if given:
            params = replace_subtree(params, given, init_name)
            # What an objective derives from the parameters (DINO's teacher) follows.
            extra = objective.reset_extra(params, extra)
        trainable, frozen = split_frozen(params, freeze)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=trainable,
            frozen=frozen,
            extra=extra,
            opt_state=tx.init(trainable),
        )

    return create


def make_state(
    objective: Objective,
    tx: optax.GradientTransformation,
    key: jax.Array,
    example: dict[str, jax.ShapeDtypeStruct],
    mesh: Mesh,
    *,
    freeze: tuple[str, ...] = (),
    init: Params | None = None,
    init_name: str = "",
) -> tuple[TrainState, Any]:
    """Initialises a state under jit; returns it and the tree of its shardings.

    Args:
      objective, tx, example, freeze, init_name: As in `state_creator`.
      key: The same on every process.
      mesh: Of the run.
      init: Parameters to start from, such as `{"vit": ...}`.
    """
    create = state_creator(objective, tx, example, freeze=freeze, init_name=init_name)
    given = init or {}
    shardings = state_sharding(mesh, jax.eval_shape(create, key, given))
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    program = jax.jit(create, out_shardings=shardings).lower(key, given)
    return program.compile(QUICK if on_cpu else None)(key, given), shardings


def abstract_state(state: TrainState) -> TrainState:
    """Shapes, dtypes and shardings of a state: the target of a restore."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
