"""The compiled programs of a run: its state and steps, and the shapes they take.

Made from the config in one place, for `train`, which runs them, and for `pathjax plan`,
which compiles them for absent devices. Nothing here reads data or takes a step.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from pathjax.config import RunConfig
from pathjax.objectives import Objective, Params, anchored, distilled
from pathjax.parallel.mesh import batch_sharding, state_sharding
from pathjax.train.optim import make_optimizer, make_schedule
from pathjax.train.state import TrainState, make_state, state_creator
from pathjax.train.step import make_eval_step, make_train_step


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled for a run.

    Attributes:
      objective: Set up, with the encoder's configuration.
      tx: The optimiser.
      example: Shapes and dtypes of a global batch.
      freeze: Patterns of parameters that are not trained.
      mesh: The devices.
      parts: In which a batch passes through the encoders (`optim.accumulate`).
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
        """The initial state on the devices, and its shardings; see state.make_state."""
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
        """The state's shapes, dtypes and shardings, without allocating it."""
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


def make_program(config: RunConfig, objective: Objective, mesh: Mesh) -> Program:
    """The programs of a run, whose objective is set up; an anchor and self-distillation
    are added here.

    Raises:
      ValueError: Options that cannot be built.
    """
    optim, vit = config.optim, objective.spec.vit
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
    freeze = (*optim.freeze, *config.adapt.frozen(vit), *objective.frozen)
    objective = anchored(objective, config.anchor)
    objective = distilled(objective, config.self_distillation)
    example = example_batch(config, objective)
    return Program(objective, tx, example, freeze, mesh, optim.accumulate)


def example_batch(
    config: RunConfig, objective: Objective
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a global batch, for initialisation."""
    b, k, px = config.data.batch, config.data.tiles, config.data.image_px
    crops, spec = config.multicrop, objective.spec
    small = (crops.local_px, crops.local_px, 3)
    shapes = {
        "image": ((b, k, px, px, 3), "uint8"),
        "embedding": ((b, k, spec.vit.embed_dim), "float32"),
        "crops_global": ((b, crops.global_crops, px, px, 3), "uint8"),
        "crops_local": ((b, crops.local_crops, *small), "uint8"),
        "expression": ((b, spec.n_genes), "float32"),
        "counts": ((b, spec.n_genes), "float32"),
        "library": ((b,), "float32"),
        "measured": ((b, spec.n_genes), "bool"),
        "text": ((b, spec.text_dim), "float32"),
        "vectors": ((b, spec.resources.get("dimensions", 0)), "float32"),
        "has_expression": ((b,), "bool"),
        "has_text": ((b,), "bool"),
        "mask": ((b,), "bool"),
        "pair_id": ((b,), "int32"),
    }
    keys = dict.fromkeys([*objective.requires, "mask", "pair_id"])
    return {key: jax.ShapeDtypeStruct(*shapes[key]) for key in keys}
