"""How far embeddings spread: measures of collapse. Not part of any loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pathjax.losses.contrastive import Rows, by_chunks


def closeness(queries: Rows, keys: Rows, chunk: int = 0) -> Float[Array, "n"]:
    """Mean over the keys of other pair_ids of exp(-2 |z_i - z_j|^2), for unit rows.

    The logarithm of its mean over queries is the uniformity of Wang and Isola 2020
    ("Understanding contrastive representation learning through alignment and uniformity
    on the hypersphere", t = 2), over pairs that are not positives: 0 where all rows are
    equal, about -4 where they are spread evenly over a sphere of many dimensions.

    Args:
      queries, keys: Rows of one modality, of unit length.
      chunk: Queries compared at once, 0 for all.

    Returns:
      `[n]` float32 from 0 to 1; 0 for masked queries and those without such a key.

    Raises:
      ChunkError: `chunk` does not divide the queries.
    """

    def compare(some: Rows):
        near = jnp.exp(-4 * (1 - some.z @ keys.z.T))
        other = some.pair_id[:, None] != keys.pair_id[None, :]
        other &= some.mask[:, None] & keys.mask[None, :]
        return jnp.where(other, near, 0).sum(axis=1) / jnp.maximum(other.sum(axis=1), 1)

    return by_chunks(compare, queries, chunk)


def uniformity(closeness: Float[Array, "n"], mask: Bool[Array, "n"]) -> jax.Array:
    """The logarithm of the mean closeness of unmasked rows; 0 where there is none."""
    mean = jnp.where(mask, closeness, 0).sum() / jnp.maximum(mask.sum(), 1)
    return jnp.where(mean > 0, jnp.log(jnp.where(mean > 0, mean, 1)), 0)


def effective_rank(rows: Rows) -> Float[Array, ""]:
    """How many dimensions the unmasked rows vary in, from 1 to E; 0 if they do not vary.

    The participation ratio of the eigenvalues l of their covariance, (sum l)^2 / sum
    l^2 = tr(C)^2 / tr(C^2), which needs no decomposition. It is at most the effective
    rank of Roy and Vetterli 2007, the exponential of the eigenvalues' entropy.
    """
    count = jnp.maximum(rows.mask.sum(), 1)
    centred = rows.z - rows.z.sum(axis=0, keepdims=True) / count
    centred = jnp.where(rows.mask[:, None], centred, 0)
    covariance = centred.T @ centred / count
    total, squares = jnp.trace(covariance), jnp.square(covariance).sum()
    varies = total > 1e-9  # below is float32's rounding of equal rows
    return jnp.where(varies, total**2 / jnp.where(varies, squares, 1), 0)
