"""`pathjax bench step`: the trainer's own training step, against PyTorch and timm.

`make_train_step` with the contrastive objective, AdamW, uint8 images normalised inside,
logs read one step late, host batches made global. Only the data is synthetic.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

from pathjax.bench.options import Common
from pathjax.bench.runner import Entry
from pathjax.bench.worker import Contestant, jax_matrix, serve

FLOPS_SOURCE = (
    "cost analysis of our lowered step before optimisation (multiplications and "
    "additions of all operations); the same number is used for every contestant"
)
WARM_UP = 2  # steps


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Size of the training step.

    Attributes:
      variant, image_px, gelu: Of the ViT.
      batch, genes: B and G; one tile per sample.
      layers, width: Of the expression MLP; its dropout is 0.1 in all contestants.
      embed_dim: Of the shared space.
    """

    variant: str = "S/16"
    image_px: int = 224
    gelu: str = "exact"
    batch: int = 16
    genes: int = 2000
    layers: int = 4
    width: int = 512
    embed_dim: int = 128


def entries(options: Options, folder: Path | None = None) -> list[Entry]:
    """All contestants, ours first."""
    return vit_entries("step", options)


def vit_entries(what: str, options: Any) -> list[Entry]:
    """Contestants of `bench step` and `bench forward`, ours first."""
    from pathjax.models.vit import vit_config
    from pathjax.parallel.allocator import TUNABLE

    config = vit_config(options.variant, image_px=options.image_px, gelu=options.gelu)
    shape = ("patch", "width", "depth", "heads", "mlp_dim")
    base = dataclasses.asdict(options) | {
        "vit": {name: getattr(config, name) for name in shape},
        "dtype": "float32",
        "attention": "auto",
    }
    # A contestant inherits what the command line set for itself; "" unsets it again.
    untuned, huge_pages = {"GLIBC_TUNABLES": ""}, {"GLIBC_TUNABLES": TUNABLE}

    def ours(name: str, label: str, default=True, environ=None, **changes) -> Entry:
        environ = {"JAX_PLATFORMS": "cpu", **(environ or {})}
        module, values = f"pathjax.bench.{what}", base | changes
        return Entry(name, label, module, values, default=default, environ=environ)

    def peer(name: str, label: str, default=True, environ=untuned, **changes) -> Entry:
        return Entry(
            name,
            label,
            f"pathjax.bench.{what}_peer",
            base | changes,
            peer=True,
            modules=("torch", "timm"),
            default=default,
            environ=environ,
        )

    return [
        ours("pathjax", "pathjax float32"),
        ours("pathjax-bf16", "pathjax bfloat16", dtype="bfloat16"),
        ours("untuned", "pathjax, allocator untuned", False, untuned),
        ours("xla-attention", "pathjax, JAX's attention", False, attention="xla"),
        peer("torch", "PyTorch eager float32"),
        peer("torch-bf16", "PyTorch bfloat16 autocast", dtype="bfloat16"),
        peer("torch-malloc", "PyTorch float32, huge pages", False, huge_pages),
    ]


class Step(Contestant):
    """Our training step, on all devices or those of `mesh`."""

    def __init__(self, options: dict[str, Any], mesh: Any = None):
        import flax
        import jax
        import jaxlib
        import numpy as np
        import optax

        from pathjax import objectives
        from pathjax.models.vit import vit_config
        from pathjax.parallel.allocator import choose
        from pathjax.parallel.mesh import make_mesh, to_global
        from pathjax.train.optim import make_optimizer, make_schedule
        from pathjax.train.state import make_state
        from pathjax.train.step import make_train_step

        self._dtype = options["dtype"]
        self._jax, self._to_global, self._mesh = jax, to_global, mesh or make_mesh()
        vit = vit_config(
            options["variant"],
            image_px=options["image_px"],
            gelu=options["gelu"],
            dtype=options["dtype"],
            attention=options["attention"],
        )
        objective = objectives.build(
            "contrastive",
            objectives.Spec(vit, options["genes"]),
            widths=(options["width"],) * options["layers"],
            embed_dim=options["embed_dim"],
            dropout=0.1,
        )
        tx = make_optimizer(
            make_schedule(steps=10_000, lr=1e-4, warmup=100, end_lr=0.0),
            weight_decay=0.05,
            clip=0.0,
            b2=0.999,
            vit_lr=1.0,
        )
        self.batch = synthetic_batch(np, options)
        example = {
            name: jax.ShapeDtypeStruct(value.shape, value.dtype)
            for name, value in self.batch.items()
        }
        self._state, shardings = make_state(
            objective, tx, jax.random.key(0), example, self._mesh
        )
        step = make_train_step(objective, tx, self._mesh, shardings)
        self._key = jax.random.key(1)
        start = time.perf_counter()
        lowered = step.lower(self._state, to_global(self.batch, self._mesh), self._key)
        self._step = lowered.compile()
        compile_seconds = time.perf_counter() - start
        self.run(WARM_UP)
        device = jax.devices()[0]
        memory = self._step.memory_analysis()
        self.info = {
            "versions": {m.__name__: m.__version__ for m in (jax, jaxlib, flax, optax)},
            "threads": options["threads"],
            "device": f"{device.platform} {device.device_kind}",
            "parameters": sum(p.size for p in jax.tree.leaves(self._state.params)),
            "flops_per_image": lowered.cost_analysis()["flops"] / options["batch"],
            "flops_source": FLOPS_SOURCE,
            "temporaries_bytes": memory.temp_size_in_bytes,
            "arguments_bytes": memory.argument_size_in_bytes,
            "compile_seconds": compile_seconds,
            "note": f"allocator: {choose().reason}",
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
        return count * len(self.batch["mask"])

    def matrix(self) -> dict[str, float]:
        return jax_matrix() if self._dtype == "float32" else {}


def synthetic_batch(np: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A batch of noise with distinct pairs: `image [B, 1, H, W, 3] uint8` and so on."""
    random = np.random.default_rng(0)
    count, px = options["batch"], options["image_px"]
    genes = random.normal(size=(count, options["genes"])).astype(np.float32)
    return {
        "image": random.integers(0, 256, (count, 1, px, px, 3), np.uint8),
        "expression": genes,
        "mask": np.ones(count, bool),
        "pair_id": np.arange(count, dtype=np.int32),
    }


if __name__ == "__main__":
    serve(Step)
