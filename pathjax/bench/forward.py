"""`pathjax bench forward`: embedding batches of tiles, against PyTorch and timm.

What is timed is what `pathjax embed` runs on the device: uint8 tiles to pooled float32
embeddings, normalised inside.
"""

import dataclasses
from pathlib import Path
from typing import Any

from pathjax.bench.options import Common
from pathjax.bench.runner import Entry
from pathjax.bench.step import FLOPS_SOURCE, vit_entries
from pathjax.bench.worker import Contestant, jax_matrix, serve

WARM_UP = 2  # batches


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Shape of the ViT, and the number of tiles in a batch."""

    variant: str = "S/16"
    image_px: int = 224
    gelu: str = "exact"
    batch: int = 32


def entries(options: Options, folder: Path | None = None) -> list[Entry]:
    """All contestants, ours first."""
    return vit_entries("forward", options)


class Forward(Contestant):
    """Our encoder."""

    def __init__(self, options: dict[str, Any]):
        import jax
        import jaxlib
        import numpy as np

        from pathjax import objectives
        from pathjax.models.vit import vit_config
        from pathjax.objectives.objective import init_vit
        from pathjax.parallel.allocator import choose

        self._jax, self._dtype = jax, options["dtype"]
        vit = vit_config(
            options["variant"],
            image_px=options["image_px"],
            gelu=options["gelu"],
            dtype=options["dtype"],
            attention=options["attention"],
        )
        params = jax.jit(lambda key: init_vit(vit, key))(jax.random.key(0))
        self._params = jax.block_until_ready(params)
        random = np.random.default_rng(0)
        shape = (options["batch"], options["image_px"], options["image_px"], 3)
        self._images = random.integers(0, 256, shape, np.uint8)
        step = jax.jit(lambda p, x: objectives.encode(vit, p, x))
        lowered = step.lower(self._params, self._images)
        self._step = lowered.compile()
        self.run(WARM_UP)
        device = jax.devices()[0]
        self.info = {
            "versions": {m.__name__: m.__version__ for m in (jax, jaxlib)},
            "threads": options["threads"],
            "device": f"{device.platform} {device.device_kind}",
            "parameters": sum(p.size for p in jax.tree.leaves(self._params)),
            "flops_per_image": lowered.cost_analysis()["flops"] / options["batch"],
            "flops_source": FLOPS_SOURCE,
            "note": f"allocator: {choose().reason}",
        }

    def run(self, count: int) -> int:
        """`count` batches."""
        for _ in range(count):
            embeddings = self._step(self._params, self._images)
        self._jax.block_until_ready(embeddings)
        return count * len(self._images)

    def matrix(self) -> dict[str, float]:
        return jax_matrix() if self._dtype == "float32" else {}


if __name__ == "__main__":
    serve(Forward)
