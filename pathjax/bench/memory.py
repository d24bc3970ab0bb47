"""`pathjax bench memory`: what adapting a model costs in optimiser and gradients.

    pathjax bench memory [--config.variant=L/16] [--config.rank=8] [--out FILE]

Nothing is run and no array is made: gradients and optimiser are compiled for abstract
parameters, and the compiler says how large their results are. Activations depend on
batch, remat and device and are not compared here.
"""

import dataclasses
from typing import Any

import jax
import optax

import pathjax
from pathjax import objectives
from pathjax.bench.options import Common
from pathjax.models.adaptation import Adaptation
from pathjax.models.lora import TARGETS
from pathjax.models.vit import vit_config
from pathjax.train.optim import make_optimizer, merge, split_frozen


@dataclasses.dataclass(frozen=True)
class MemoryOptions(Common):
    """Of `bench memory`; contestants, rounds and peers mean nothing here.

    Attributes:
      variant, image_px: of the ViT; its blocks are one stack, so that it compiles soon.
      genes: of the contrastive objective, whose heads are trained in every mode.
      rank: of the adapters, on all four linears of each block.
      blocks: of the mode "last".
    """

    variant: str = "L/16"
    image_px: int = 224
    genes: int = 2000
    rank: int = 8
    blocks: int = 2


def measure(options: MemoryOptions) -> dict[str, Any]:
    """Bytes of gradients and optimiser by mode, and their share of "full"."""
    found = {}
    for mode in ("full", "last", "lora"):
        adaptation = Adaptation(
            mode, options.blocks, options.rank, float(options.rank), TARGETS
        )
        vit = vit_config(options.variant, image_px=options.image_px).replace(
            lora=adaptation.lora(), scan=mode != "last"
        )
        found[mode] = _of_mode(vit, adaptation.frozen(vit), options)
    full = found["full"]["gradient_bytes"] + found["full"]["optimizer_bytes"]
    for entry in found.values():
        entry["share"] = (entry["gradient_bytes"] + entry["optimizer_bytes"]) / full
    return {
        "benchmark": "memory",
        "options": dataclasses.asdict(options),
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
        "modes": found,
    }


def _of_mode(vit, frozen: tuple[str, ...], options: MemoryOptions) -> dict[str, Any]:
    objective = objectives.build("contrastive", objectives.Spec(vit, options.genes))
    batch = {
        "image": jax.ShapeDtypeStruct((2, 1, *(options.image_px,) * 2, 3), "uint8"),
        "expression": jax.ShapeDtypeStruct((2, options.genes), "float32"),
        "mask": jax.ShapeDtypeStruct((2,), "bool"),
        "pair_id": jax.ShapeDtypeStruct((2,), "int32"),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, extra = jax.eval_shape(objective.init, key, batch)
    trained, rest = split_frozen(params, frozen)
    tx = make_optimizer(
        lambda step: 1e-4, weight_decay=0.2, clip=1.0, b2=0.999, vit_lr=1.0
    )

    def gradient(trained, rest, batch, key):
        def mean(trained):
            whole = merge(trained, rest)
            return objective.losses(whole, extra, batch, key, 0, True)[0].mean()

        return jax.grad(mean)(trained)

    def bytes_out(function, *args) -> int:
        compiled = jax.jit(function).lower(*args).compile(_QUICK)
        return compiled.memory_analysis().output_size_in_bytes

    state = jax.eval_shape(tx.init, trained)
    return {
        "trained": sum(leaf.size for leaf in jax.tree.leaves(trained)),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "gradient_bytes": bytes_out(gradient, trained, rest, batch, key),
        "optimizer_bytes": bytes_out(_updated(tx), trained, state, trained),
    }


def _updated(tx: optax.GradientTransformation):
    return lambda grads, state, params: tx.update(grads, state, params)[1]


# Sizes do not depend on how hard the compiler tries.
_QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def show(found: dict[str, Any]) -> None:
    """Prints the result as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"adapting {found['options']['variant']}")
    for title in ("mode", "trained", "gradients", "optimiser", "share of full"):
        table.add_column(title, justify="left" if title == "mode" else "right")
    for mode, entry in found["modes"].items():
        table.add_row(
            mode,
            f"{entry['trained'] / 1e6:.1f} M",
            f"{entry['gradient_bytes'] / 2**20:.1f} MiB",
            f"{entry['optimizer_bytes'] / 2**20:.1f} MiB",
            f"{100 * entry['share']:.2f} %",
        )
    Console().print(table)
