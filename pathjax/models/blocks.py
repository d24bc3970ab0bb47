"""The two layouts of a ViT's blocks, and its plain form, in which it is stored.

With `scan` all blocks are one entry `blocks`, each leaf with a leading axis over depth,
so that a step compiles one block; else they are `blocks_0`, `blocks_1`, ... A file
always holds the plain form: blocks apart, adapters merged, float32.
"""

from typing import Any

import jax
import numpy as np

from pathjax.models.lora import merge_lora
from pathjax.models.variants import ViTConfig

Params = dict[str, Any]
STACKED = "blocks"


def block_name(index: int) -> str:
    """Name of a transformer block in the parameters."""
    return f"{STACKED}_{index}"


def stack_blocks(params: Params, depth: int) -> Params:
    """`blocks_0` ... to one `blocks` with a leading axis over depth."""
    names = [block_name(i) for i in range(depth)]
    # NumPy on the host, so that a large model is stacked before it meets a device.
    stacked = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]),
        *(params[name] for name in names),
    )
    rest = {name: value for name, value in params.items() if name not in names}
    return rest | {STACKED: stacked}


def unstack_blocks(params: Params, depth: int) -> Params:
    """Undoes `stack_blocks`."""
    rest = {name: value for name, value in params.items() if name != STACKED}
    for index in range(depth):
        rest[block_name(index)] = jax.tree.map(
            lambda leaf, i=index: np.asarray(leaf)[i], params[STACKED]
        )
    return rest


def to_plain(config: ViTConfig, params: Params) -> tuple[ViTConfig, Params]:
    """The plain form of a trained encoder, for a file or another library."""
    if config.lora is not None:
        params = merge_lora(params, config.lora)
    if config.scan:
        params = unstack_blocks(params, config.depth)
    plain = config.replace(lora=None, scan=False, remat=False, attention="auto")
    return plain, params


def from_plain(config: ViTConfig, params: Params) -> Params:
    """Plain parameters in the layout that `config` trains in, without adapters."""
    return stack_blocks(params, config.depth) if config.scan else params
