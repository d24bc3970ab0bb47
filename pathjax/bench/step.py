"""`pathjax bench step`: the trainer's own training step, against PyTorch and timm.

`make_train_step` with the contrastive objective, AdamW, uint8 images normalised inside,
logs read one step late, host batches made global. Only the data is synthetic.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

from pathjax.bench import forward
from pathjax.bench.options import Entry


@dataclasses.dataclass(frozen=True)
class Options(forward.Options):
    """Size of the training step.

    Attributes:
      batch, genes: B and G; one tile per sample.
      layers, width: Of the expression MLP; its dropout is 0.1 in all contestants.
      embed_dim: Of the shared space.
    """

    batch: int = 16
    genes: int = 2000
    layers: int = 4
    width: int = 512
    embed_dim: int = 128


def entries(options: Options, folder: Path | None = None) -> list[Entry]:
    """All contestants, ours first; those of anchors and of LoRA if they are named."""
    known = forward.vit_entries("step", "Step", options)
    by_name = {entry.name: entry for entry in known}
    lora = {"rank": 8}
    variants = [
        ("pathjax", "anchored", "pathjax, anchored", {"anchor": 1.0}),
        ("pathjax", "lora", "pathjax, LoRA", lora),
        ("pathjax-bf16", "lora-bf16", "pathjax, LoRA, bfloat16", lora),
        ("pathjax", "lora-anchored", "pathjax, LoRA, anchored", lora | {"anchor": 1.0}),
        ("torch", "torch-lora", "PyTorch eager, LoRA", lora),
        ("torch-bf16", "torch-lora-bf16", "PyTorch bfloat16 autocast, LoRA", lora),
    ]
    return known + [
        dataclasses.replace(
            by_name[plain],
            name=name,
            label=label,
            options=dict(by_name[plain].options) | changes,
            default=False,
        )
        for plain, name, label, changes in variants
    ]


class Step(forward.VitContestant):
    """Our training step, on all devices or those of `mesh`."""

    def __init__(self, options: dict[str, Any], mesh: Any = None):
        import jax

        from pathjax import objectives
        from pathjax.models.adaptation import Adaptation
        from pathjax.parallel.mesh import make_mesh, to_global
        from pathjax.train.optim import make_optimizer, make_schedule
        from pathjax.train.state import make_state
        from pathjax.train.step import make_train_step

        super().__init__(options)
        self._jax, self._to_global, self._mesh = jax, to_global, mesh or make_mesh()
        adapt = Adaptation()
        if "rank" in options:
            adapt = Adaptation(mode="lora", rank=options["rank"])
        vit = self._vit.replace(lora=adapt.lora())
        objective = objectives.build(
            "contrastive",
            objectives.Spec(vit, options["genes"]),
            widths=(options["width"],) * options["layers"],
            embed_dim=options["embed_dim"],
            dropout=0.1,
        )
        anchor = objectives.Anchor(weight=options.get("anchor", 0.0))
        objective = objectives.anchored(objective, anchor)
        schedule = make_schedule(steps=10_000, lr=1e-4, warmup=100, end_lr=0.0)
        tx = make_optimizer(schedule, weight_decay=0.05, clip=0.0, b2=0.999, vit_lr=1.0)
        self.batch = synthetic_batch(options)
        example = jax.tree.map(
            lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), self.batch
        )
        self._state, shardings = make_state(
            objective,
            tx,
            jax.random.key(0),
            example,
            self._mesh,
            freeze=adapt.frozen(vit),
        )
        step = make_train_step(objective, tx, self._mesh, shardings)
        self._key = jax.random.key(1)
        start = time.perf_counter()
        lowered = step.lower(self._state, to_global(self.batch, self._mesh), self._key)
        self._step = lowered.compile()
        compile_seconds = time.perf_counter() - start
        self.run(forward.WARM_UP)
        memory = self._step.memory_analysis()
        self.info = self._describe(
            (self._state.params, self._state.frozen), lowered
        ) | {
            "temporaries_bytes": memory.temp_size_in_bytes,
            "arguments_bytes": memory.argument_size_in_bytes,
            "compile_seconds": compile_seconds,
        }

    def run(self, count: int) -> int:
        """`count` steps, as the trainer's loop takes them."""
        pending = None
        for _ in range(count):
            batch = self._to_global(self.batch, self._mesh)
            self._state, logs = self._step(self._state, batch, self._key)
            if pending is not None:
                self._jax.device_get(pending)
            pending = logs
        self._jax.block_until_ready((self._state, pending))
        self.logs = pending
        return count * len(self.batch["mask"])


def synthetic_batch(options: dict[str, Any]) -> dict[str, Any]:
    """A batch of noise with distinct pairs: `image [B, 1, H, W, 3] uint8` and so on."""
    import numpy as np

    random = np.random.default_rng(0)
    count, px = options["batch"], options["image_px"]
    genes = random.normal(size=(count, options["genes"])).astype(np.float32)
    return {
        "image": random.integers(0, 256, (count, 1, px, px, 3), np.uint8),
        "expression": genes,
        "mask": np.ones(count, bool),
        "pair_id": np.arange(count, dtype=np.int32),
    }
