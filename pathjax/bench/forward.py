"""`pathjax bench forward`: embedding batches of tiles, against PyTorch and timm.

Times what `pathjax embed` runs on the device: uint8 tiles to pooled float32 embeddings,
normalised inside.
"""

import dataclasses
from pathlib import Path
from typing import Any

from pathjax.bench.options import Common, Entry
from pathjax.bench.worker import Contestant, jax_matrix

FLOPS_SOURCE = (
    "cost analysis of our lowered step before optimisation (multiplications and "
    "additions of all operations); the same number is used for every contestant"
)
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
    return vit_entries("forward", "Forward", options)


def vit_entries(module: str, kind: str, options: Options) -> list[Entry]:
    """Contestants of a benchmark of the ViT: ours is `pathjax.bench.{module}:{kind}`,
    the peer `Torch{kind}`."""
    from pathjax.models.vit import vit_config

    config = vit_config(options.variant, image_px=options.image_px, gelu=options.gelu)
    shape = ("patch", "width", "depth", "heads", "mlp_dim")
    base = dataclasses.asdict(options) | {
        "vit": {name: getattr(config, name) for name in shape},
        "dtype": "float32",
        "attention": "auto",
    }
    cpu = {"JAX_PLATFORMS": "cpu"}
    # A contestant inherits what the command line set for itself; "" unsets it again.
    untuned = {"GLIBC_TUNABLES": ""}

    def ours(name: str, label: str, default=True, environ=cpu, **changes) -> Entry:
        return Entry(
            name,
            label,
            f"pathjax.bench.{module}:{kind}",
            base | changes,
            default=default,
            environ=environ,
        )

    def peer(name: str, label: str, dtype: str) -> Entry:
        contestant = f"pathjax.bench.torch_peers:Torch{kind}"
        values = base | {"dtype": dtype}
        modules = ("torch", "timm")
        return Entry(name, label, contestant, values, modules, environ=untuned)

    return [
        ours("pathjax", "pathjax float32"),
        ours("pathjax-bf16", "pathjax bfloat16", dtype="bfloat16"),
        ours("untuned", "pathjax, allocator untuned", False, cpu | untuned),
        ours("xla-attention", "pathjax, JAX's attention", False, attention="xla"),
        peer("torch", "PyTorch eager float32", "float32"),
        peer("torch-bf16", "PyTorch bfloat16 autocast", "bfloat16"),
    ]


class VitContestant(Contestant):
    """Shared by our encoder and our training step."""

    def __init__(self, options: dict[str, Any]):
        from pathjax.models.vit import vit_config

        self._options = options
        self._vit = vit_config(
            options["variant"],
            **{key: options[key] for key in ("image_px", "gelu", "dtype", "attention")},
        )

    def matrix(self) -> dict[str, float]:
        return jax_matrix() if self._options["dtype"] == "float32" else {}

    def _describe(self, params: Any, lowered: Any) -> dict[str, Any]:
        import flax
        import jax
        import jaxlib
        import optax

        from pathjax.parallel.allocator import choose

        device = jax.devices()[0]
        return {
            "versions": {m.__name__: m.__version__ for m in (jax, jaxlib, flax, optax)},
            "threads": self._options["threads"],
            "device": f"{device.platform} {device.device_kind}",
            "parameters": sum(p.size for p in jax.tree.leaves(params)),
            "flops_per_image": lowered.cost_analysis()["flops"]
            / self._options["batch"],
            "flops_source": FLOPS_SOURCE,
            "note": f"allocator: {choose().reason}",
        }


class Forward(VitContestant):
    """Our encoder."""

    def __init__(self, options: dict[str, Any]):
        import jax
        import numpy as np

        from pathjax import objectives
        from pathjax.objectives.objective import init_vit

        super().__init__(options)
        vit, px = self._vit, options["image_px"]
        self._params = jax.jit(lambda key: init_vit(vit, key))(jax.random.key(0))
        random = np.random.default_rng(0)
        shape = (options["batch"], px, px, 3)
        self._images = random.integers(0, 256, shape, np.uint8)
        step = jax.jit(lambda p, x: objectives.encode(vit, p, x))
        lowered = step.lower(self._params, self._images)
        self._step = lowered.compile()
        self.run(WARM_UP)
        self.info = self._describe(self._params, lowered)

    def run(self, count: int) -> int:
        """`count` batches."""
        for _ in range(count):
            embeddings = self._step(self._params, self._images)
        embeddings.block_until_ready()
        return count * len(self._images)
