"""The optimiser: AdamW with warm-up and cosine, and the choice of trainable parameters.

Freezing splits the parameters before differentiation, so that frozen ones cost no
gradient and no moments; optax masks would still compute their gradients.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.models.lora import DOWN, UP

Params = dict[str, Any]
DECAYED = ("kernel", DOWN, UP)


def split_frozen(params: Params, patterns: Sequence[str]) -> tuple[Params, Params]:
    """Splits parameters into (trainable, frozen) by regular expressions over paths.

    Args:
      params: Nested dict.
      patterns: Searched in "/"-joined paths such as "vit/block_0/attention/qkv/kernel".

    Raises:
      ValueError: A pattern matches nothing, or everything is frozen.
    """
    flat = flatten_dict(params, sep="/")
    idle = [p for p in patterns if not any(re.search(p, path) for path in flat)]
    if idle:
        raise ValueError(
            f"optim.freeze patterns {idle} match no parameter; paths look like "
            f"{sorted(flat)[:3]}"
        )
    frozen = {k: v for k, v in flat.items() if any(re.search(p, k) for p in patterns)}
    trainable = {k: v for k, v in flat.items() if k not in frozen}
    if not trainable:
        raise ValueError("optim.freeze freezes every parameter: nothing is left")
    return unflatten_dict(trainable, sep="/"), unflatten_dict(frozen, sep="/")


def merge(trainable: Params, frozen: Params) -> Params:
    """Undoes `split_frozen`."""
    return unflatten_dict(flatten_dict(trainable) | flatten_dict(frozen))


def decayed(params: Params) -> Params:
    """True where weight decay applies: kernels of dense layers, and adapters.

    Biases, norms, scales, tokens and position embeddings are not decayed.
    """
    flat = flatten_dict(params)
    return unflatten_dict({path: path[-1] in DECAYED for path in flat})


def make_schedule(
    *, steps: int, lr: float, warmup: int, end_lr: float
) -> optax.Schedule:
    """Linear warm-up, then a cosine to `end_lr` times `lr` at the last step."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=lr,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=lr * end_lr,
    )


def rate_factors(
    params: Params, *, vit_lr: float, layer_decay: float, depth: int
) -> Params:
    """Factor on the learning rate of each leaf, shaped to multiply it.

    Layer-wise decay (Bao et al. 2022, BEiT): with `depth` blocks, embeddings have
    `layer_decay ** (depth + 1)`, block i `layer_decay ** (depth - i)`, the final norm
    and everything outside the encoder 1. The encoder also has `vit_lr`. Stacked blocks
    have a factor for each entry of their leading axis.
    """

    def factor(path: tuple[str, ...], leaf: Any) -> Any:
        if path[0] != "vit":
            return np.float32(1.0)
        block = re.fullmatch(r"blocks(?:_(\d+))?", path[1])
        if block and block[1] is None:
            layers: Any = np.arange(depth).reshape(-1, *(1,) * (leaf.ndim - 1))
        elif block:
            layers = int(block[1])
        else:
            layers = depth if path[1] == "norm" else -1
        return np.asarray(vit_lr * layer_decay ** (depth - layers), np.float32)

    flat = flatten_dict(params)
    return unflatten_dict({path: factor(path, leaf) for path, leaf in flat.items()})


def make_optimizer(
    schedule: optax.Schedule,
    *,
    weight_decay: float,
    clip: float,
    b2: float,
    vit_lr: float,
    layer_decay: float = 1.0,
    depth: int = 0,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with clipping and factors for the encoder.

    Args:
      schedule: Learning rate by step.
      weight_decay: Decoupled, see `decayed`.
      clip: Largest global gradient norm; 0 is off.
      b2: Decay of the second moment.
      vit_lr, layer_decay, depth: Of `rate_factors`.
    """

    def scaled(updates, params=None):
        factors = rate_factors(
            updates, vit_lr=vit_lr, layer_decay=layer_decay, depth=depth
        )
        return jax.tree.map(lambda update, f: update * f, updates, factors)

    uniform = vit_lr == layer_decay == 1.0
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip else optax.identity(),
        optax.scale_by_adam(b2=b2),
        optax.add_decayed_weights(weight_decay, mask=decayed),
        optax.identity() if uniform else optax.stateless(scaled),
        optax.scale_by_learning_rate(schedule),
    )
