"""A queue of embeddings of earlier batches, as further negatives for small batches.

Cross-batch memory (Wang et al. 2020): embeddings drift slowly, so those of the last few
batches are good negatives, and cost no forward pass. The queue is part of the training
state. It gives negatives only; positives are those of the batch.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pathjax.losses import Rows

Queue = dict[str, Any]


def empty(size: int, modalities: tuple[str, ...], embed_dim: int) -> Queue:
    """A queue of `size` rows, none of which counts yet."""
    return {
        "z": {name: jnp.zeros((size, embed_dim), jnp.float32) for name in modalities},
        "mask": {name: jnp.zeros(size, bool) for name in modalities},
        "pair_id": jnp.zeros(size, jnp.int32),
    }


def rows_of(queue: Queue) -> dict[str, Rows]:
    """The rows of each modality."""
    return {
        name: Rows(z, queue["mask"][name], queue["pair_id"])
        for name, z in queue["z"].items()
    }


def pushed(queue: Queue, sides: Mapping[str, Rows], mask: jax.Array) -> Queue:
    """The queue with a batch in front; the oldest rows drop out.

    Args:
      queue: From `empty`, or an earlier call.
      sides: The batch's rows of each modality.
      mask: `[B]`, false for padding, which does not enter.
    """
    batch = {
        "z": {name: jax.lax.stop_gradient(rows.z) for name, rows in sides.items()},
        "mask": {name: rows.mask for name, rows in sides.items()},
        "pair_id": next(iter(sides.values())).pair_id,
    }
    filled = jnp.stack(list(queue["mask"].values())).any(axis=0)
    kept = jnp.concatenate([mask, filled])
    newest = jnp.argsort(~kept, stable=True)[: len(filled)]
    return jax.tree.map(
        lambda new, old: jnp.concatenate([new, old])[newest], batch, queue
    )
