"""`pathjax bench forward`: embedding tiles with our encoder, in a worker.

What is timed is what `pathjax embed` runs on the device: uint8 tiles to pooled float32
embeddings, normalised inside.
"""

from typing import Any

from pathjax.bench.step import FLOPS_SOURCE
from pathjax.bench.worker import serve

WARM_UP = 2  # batches


class Forward:
    """Our contestant; see `worker.Contestant`."""

    def __init__(self, options: dict[str, Any]):
        self._dtype = options["dtype"]
        import jax
        import jaxlib
        import numpy as np

        from pathjax import objectives
        from pathjax.models.vit import vit_config
        from pathjax.objectives.objective import init_vit
        from pathjax.parallel.allocator import choose

        self._jax = jax
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

    def prepare(self) -> None:
        """Nothing goes on between turns."""

    def run(self, count: int) -> int:
        """`count` batches."""
        for _ in range(count):
            found = self._step(self._params, self._images)
        self._jax.block_until_ready(found)
        return count * len(self._images)

    def matrix(self) -> dict[str, float]:
        if self._dtype != "float32":  # the float32 contestant measures it
            return {}
        from pathjax.bench.matrix import jax_matrix

        return jax_matrix()


if __name__ == "__main__":
    serve(Forward)
