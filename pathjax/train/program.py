"""The programs of a run: its state, its steps, and the shapes that they take.

Made from the config in one place, for `train`, which runs them, and for `plan`, which
compiles them for devices that are not there. Nothing here reads data or takes a step.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from pathjax.config import adaptation
from pathjax.data.expression import GenePanel
from pathjax.models.variants import ViTConfig
from pathjax.objectives import Objective
from pathjax.parallel.mesh import batch_sharding, state_sharding
from pathjax.train.optim import Params, make_optimizer, make_schedule
from pathjax.train.setup import build_objective, example_batch
from pathjax.train.state import TrainState, make_state, state_creator
from pathjax.train.step import make_eval_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled for a run.

    Attributes:
      objective: with the encoder inside.
      tx: the optimiser.
      example: shapes and dtypes of a global batch.
      freeze: patterns of parameters that are not trained.
      mesh: the devices.
      parts: that a batch goes through the encoders in (`optim.accumulate`).
    """

    objective: Objective
    tx: optax.GradientTransformation
    example: dict[str, jax.ShapeDtypeStruct]
    freeze: tuple[str, ...]
    mesh: Mesh
    parts: int

    def make_state(
        self, key: jax.Array, init: Params | None = None, init_name: str = ""
    ) -> tuple[TrainState, Any]:
        """The initial state on the devices, and its shardings; see `state.make_state`."""
        return make_state(
            self.objective,
            self.tx,
            key,
            self.example,
            self.mesh,
            freeze=self.freeze,
            init=init,
            init_name=init_name,
        )

    def abstract_state(self) -> tuple[TrainState, Any]:
        """The state's shapes, dtypes and shardings, without a byte of it."""
        create = state_creator(
            self.objective, self.tx, self.example, freeze=self.freeze
        )
        key = jax.eval_shape(lambda: jax.random.key(0))
        abstract = jax.eval_shape(create, key, {})
        shardings = state_sharding(self.mesh, abstract)
        return jax.tree.map(_placed, abstract, shardings), shardings

    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """A global batch's shapes, dtypes and shardings."""
        rows = batch_sharding(self.mesh)
        return {name: _placed(leaf, rows) for name, leaf in self.example.items()}

    def train_step(self, shardings: Any) -> Callable:
        """See `step.make_train_step`."""
        return make_train_step(
            self.objective, self.tx, self.mesh, shardings, self.parts
        )

    def eval_step(self, shardings: Any) -> Callable:
        """See `step.make_eval_step`."""
        return make_eval_step(self.objective, self.mesh, shardings)


def _placed(leaf, sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def make_program(
    config: ConfigDict,
    vit: ViTConfig,
    panel: GenePanel | None,
    mesh: Mesh,
    text_dim: int = 0,
) -> Program:
    """The programs that a config describes.

    Args:
      config: from `config.load`.
      vit: the encoder to train, from `assembly.encoder_config`.
      panel: of genes; only its length is read. None without expression.
      mesh: of the run.
      text_dim: of the text embeddings, 0 without.

    Raises:
      ObjectiveError, ValueError: options that cannot be built.
    """
    objective = build_objective(config, vit, panel, text_dim)
    optim = config.optim
    schedule = make_schedule(
        steps=optim.steps, lr=optim.lr, warmup=optim.warmup, end_lr=optim.end_lr
    )
    tx = make_optimizer(
        schedule,
        weight_decay=optim.weight_decay,
        clip=optim.clip,
        b2=optim.b2,
        vit_lr=optim.vit_lr,
        layer_decay=optim.layer_decay,
        depth=vit.depth,
    )
    return Program(
        objective=objective,
        tx=tx,
        example=example_batch(config, objective, vit, panel, text_dim),
        freeze=(*optim.freeze, *adaptation(config).frozen(vit)),
        mesh=mesh,
        parts=optim.accumulate,
    )
