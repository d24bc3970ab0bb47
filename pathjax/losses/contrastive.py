"""Contrastive losses: rows of one modality against all rows of another.

Both losses are the mean of two directions. A direction is computed one chunk of rows at
a time: the similarities of a chunk to all keys are computed, reduced and discarded, and
recomputed for the gradient, so that `[B, B]` is never in memory as a whole. Queries and
keys are separate arguments: each device has its own queries and the keys of all
(`mesh.over_rows`). Rows of earlier batches can be further negatives.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pathjax.losses.shapes import check_arrays, check_rows


class ChunkError(ValueError):
    """A chunk that does not divide the batch; the message names sizes that do."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """Embeddings of one modality, with the samples they belong to.

    Attributes:
      z: `[n, E]` float32; rows that do not count are zeros.
      mask: `[n]`, False for rows that do not count.
      pair_id: `[n]`, Rows that share one are positives of each other.
      similar: Features whose inner products give the soft targets, if there are some.
    """

    z: Float[Array, "n E"]
    mask: Bool[Array, "n"]
    pair_id: Int[Array, "n"]
    similar: Float[Array, "n F"] | None = None


@dataclasses.dataclass(frozen=True)
class Targets:
    """The distribution over candidates that InfoNCE's cross-entropy is taken to.

        (1 - smoothing) ((1 - soft) positives + soft softmax(similarity / temperature))
            + smoothing / candidates

    Attributes:
      soft: Share of the soft targets, 0 to 1; needs `Rows.similar`.
      temperature: Of the soft targets.
      smoothing: Share of the uniform distribution, 0 to 1 (Szegedy et al. 2016).
    """

    soft: float = 0.0
    temperature: float = 1.0
    smoothing: float = 0.0


HARD = Targets()


def emptied(
    z: Float[Array, "n E"], mask: Bool[Array, "n"], pair_id: Int[Array, "n"]
) -> Rows:
    """Rows in float32 with what the mask hides set to 0.

    Before any product, because NaN times a zero gradient is NaN.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
    """
    check_rows(z.shape[0], mask, pair_id)
    return Rows(jnp.where(mask[:, None], z, 0).astype(jnp.float32), mask, pair_id)


def require_chunk(batch: int, chunk: int, devices: int = 1) -> None:
    """Refuses a chunk of rows that does not divide a batch over its devices.

    Args:
      batch: Rows, over all devices.
      chunk: Rows at once, over all devices; 0 for all.
      devices: That rows are divided over.

    Raises:
      ChunkError: Naming sizes that do.
    """
    whole = [size for size in range(devices, batch + 1, devices) if not batch % size]
    if chunk and chunk not in whole:
        # The nearest few: a batch of 65,536 has many.
        near = sorted(sorted(whole, key=lambda size: abs(size - chunk))[:6])
        raise ChunkError(
            f"objective.chunk={chunk} does not divide a batch of {batch} rows over "
            f"{devices} devices: use {', '.join(map(str, near)) or 'another batch'}, "
            "or 0 for all rows at once"
        )


def by_chunks(
    compare: Callable[[Rows], Float[Array, "c"]], queries: Rows, chunk: int = 0
) -> Float[Array, "n"]:
    """`compare` of one chunk of queries after the other, joined.

    Intermediates are discarded and recomputed for the gradient.

    Args:
      compare: Rows -> one value each.
      queries: All rows.
      chunk: Rows at once; 0 for all, without recomputing.

    Raises:
      ChunkError: `chunk` does not divide the rows.
    """
    count = len(queries.mask)
    require_chunk(count, chunk)
    if chunk in (0, count):
        return compare(queries)
    parts = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), queries)
    return jax.lax.map(jax.checkpoint(compare), parts).reshape(count)


def similarities(
    queries: Rows, keys: Rows, log_scale: Float[Array, ""]
) -> tuple[Float[Array, "n m"], Bool[Array, "n m"]]:
    """Scaled similarities, and which pairs are positives."""
    logits = jnp.exp(log_scale.astype(jnp.float32)) * (queries.z @ keys.z.T)
    same = queries.pair_id[:, None] == keys.pair_id[None, :]
    return logits, same & queries.mask[:, None] & keys.mask[None, :]


def further(
    queries: Rows, negatives: Rows, log_scale: Float[Array, ""]
) -> tuple[Float[Array, "n q"], Bool[Array, "n q"]]:
    """Scaled similarities to rows of earlier batches, and which of them are negatives.

    A row of the query's own pair_id is left out: the batch has its newer positives.
    """
    logits, same = similarities(queries, negatives, log_scale)
    return logits, queries.mask[:, None] & negatives.mask[None, :] & ~same


def candidates(
    queries: Rows, keys: Rows, negatives: Rows | None = None
) -> Float[Array, "n"]:
    """Among how many rows `info_nce_one_way` looks for each query's own."""
    count = jnp.full(len(queries.mask), keys.mask.sum(), jnp.float32)
    if negatives is None:
        return count
    other = queries.pair_id[:, None] != negatives.pair_id[None, :]
    return count + (other & negatives.mask[None, :]).sum(axis=1)


def averaged_similarity(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Both sides of a pair with soft targets by the mean of their own similarities.

    `similar` of row i is (left_i, right_i) / sqrt 2, so that an inner product is
    (<left_i, left_j> + <right_i, right_j>) / 2. It has no gradient.
    """
    both = jnp.concatenate([left.z, right.z], axis=1) * 0.5**0.5
    both = jax.lax.stop_gradient(both)
    left = dataclasses.replace(left, similar=both)
    return left, dataclasses.replace(right, similar=both)


def info_nce_one_way(
    queries: Rows,
    keys: Rows,
    log_scale: Float[Array, ""],
    chunk: int = 0,
    targets: Targets = HARD,
    negatives: Rows | None = None,
) -> Float[Array, "n"]:
    """r_i of `info_nce` for each query: cross-entropy of its targets among the keys.

    Args:
      queries, keys: Of two modalities.
      log_scale: Logarithm of the inverse temperature.
      chunk: Queries at once; 0 for all.
      targets: What the cross-entropy is taken to.
      negatives: Further keys, of earlier batches; positives and soft targets are among
        `keys` alone.

    Returns:
      `[n]` float32, 0 for masked queries.

    Raises:
      ChunkError: `chunk` does not divide the queries.
    """

    def compare(some: Rows):
        logits, positive = similarities(some, keys, log_scale)
        # A masked query keeps all keys, at 0, so that its log-sum is finite.
        candidates = keys.mask[None, :] | ~some.mask[:, None]
        count = jnp.maximum(positive.sum(axis=1), 1)
        mean = jnp.where(positive, logits, 0).sum(axis=1) / count
        if targets.soft:
            shares = soft_shares(some, keys, candidates, targets.temperature)
            mean += targets.soft * ((shares * logits).sum(axis=1) - mean)
        if negatives is not None:
            more, valid = further(some, negatives, log_scale)
            logits = jnp.concatenate([logits, more], axis=1)
            candidates = jnp.concatenate([candidates, valid], axis=1)
        if targets.smoothing:
            every = jnp.where(candidates, logits, 0).sum(axis=1)
            every /= jnp.maximum(candidates.sum(axis=1), 1)
            mean += targets.smoothing * (every - mean)
        total = jax.nn.logsumexp(logits, axis=1, where=candidates)
        return jnp.where(some.mask, total - mean, 0)

    return by_chunks(compare, queries, chunk)


def soft_shares(
    queries: Rows, keys: Rows, candidates: Bool[Array, "n m"], temperature: float
) -> Float[Array, "n m"]:
    """The softmax over candidates of how similar the samples are."""
    assert queries.similar is not None and keys.similar is not None
    similarity = queries.similar @ keys.similar.T / temperature
    return jax.nn.softmax(similarity, axis=1, where=candidates)


def sigmoid_one_way(
    queries: Rows,
    keys: Rows,
    log_scale: Float[Array, ""],
    bias: Float[Array, ""],
    chunk: int = 0,
    negatives: Rows | None = None,
) -> Float[Array, "n"]:
    """The sum of `sigmoid_loss`'s binary problems over the keys, for each query.

    Args:
      queries, keys, log_scale, chunk, negatives: As in `info_nce_one_way`.
      bias: Added to every similarity.

    Returns:
      `[n]` float32, 0 for masked queries.

    Raises:
      ChunkError: `chunk` does not divide the queries.
    """

    def compare(some: Rows):
        logits, positive = similarities(some, keys, log_scale)
        sign = jnp.where(positive, 1.0, -1.0)
        pairs = -jax.nn.log_sigmoid(sign * (logits + bias.astype(jnp.float32)))
        valid = some.mask[:, None] & keys.mask[None, :]
        total = jnp.where(valid, pairs, 0).sum(axis=1)
        if negatives is None:
            return total
        more, valid = further(some, negatives, log_scale)
        pairs = -jax.nn.log_sigmoid(-(more + bias.astype(jnp.float32)))
        return total + jnp.where(valid, pairs, 0).sum(axis=1)

    return by_chunks(compare, queries, chunk)


def two_sides(z_image, z_expression, log_scale, mask, pair_id) -> tuple[Rows, Rows]:
    """Both modalities of a batch, checked."""
    if z_image.ndim != 2:
        raise ValueError(f"z_image is {list(z_image.shape)}, expected [B, E]")
    shape = z_image.shape
    check_arrays(
        {
            "z_image": (z_image, shape),
            "z_expression": (z_expression, shape),
            "log_scale": (log_scale, ()),
        }
    )
    return emptied(z_image, mask, pair_id), emptied(z_expression, mask, pair_id)


def info_nce(
    z_image: Float[Array, "B E"],
    z_expression: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
    chunk: int = 0,
    targets: Targets = HARD,
) -> Float[Array, "B"]:
    """Symmetric, multi-positive InfoNCE over the batch.

    With s_ij = exp(log_scale) <z_image_i, z_expression_j> over the unmasked rows and
    P(i) the rows with i's pair_id (i among them), example i has

        1/2 (r_i + c_i),  r_i = - 1/|P(i)| sum_{p in P(i)} log softmax_j(s_ij)[p],

    and c_i the same with s transposed. The mean over positives is outside the
    logarithm: L_out, equation 2 of Khosla et al. 2020 ("Supervised contrastive
    learning"), across modalities. It is the cross-entropy to the uniform distribution
    over P(i), so its least value is log |P(i)|. Where all pair_ids differ it is CLIP's
    loss (Radford et al. 2021).

    With soft targets, similar samples are positives too: the softmax over j of
    (<z_image_i, z_image_j> + <z_expression_i, z_expression_j>) / 2 over the targets'
    temperature, without gradient, as in BLEEP (Xie et al. 2023). There the embeddings
    are not of unit length and the temperature is 1.

    Args:
      z_image, z_expression: `[B, E]`, usually of unit length.
      log_scale: logarithm of the inverse temperature.
      mask: `[B]`, false for padding: neither an anchor nor a candidate.
      pair_id: `[B]`, samples that share one are positives of each other.
      chunk: rows compared at once, 0 for all; the value is the same.
      targets: share of soft targets and label smoothing; by default P(i) alone.

    Returns:
      `[B]` float32, 0 for masked rows.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
      ChunkError: `chunk` does not divide B.
    """
    image, expression = two_sides(z_image, z_expression, log_scale, mask, pair_id)
    if targets.soft:
        image, expression = averaged_similarity(image, expression)
    rows = info_nce_one_way(image, expression, log_scale, chunk, targets)
    back = info_nce_one_way(expression, image, log_scale, chunk, targets)
    return 0.5 * (rows + back)


def sigmoid_loss(
    z_image: Float[Array, "B E"],
    z_expression: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    bias: Float[Array, ""],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
    chunk: int = 0,
) -> Float[Array, "B"]:
    """Pairwise sigmoid loss of SigLIP (Zhai et al. 2023), with several positives.

    Every unmasked pair is a binary problem, -log sigmoid(y_ij (s_ij + bias)), y = 1
    where the pair_ids are equal and -1 elsewhere. Example i has half the sum of its
    row and half the sum of its column, so that the mean over unmasked examples is the
    paper's: the sum over all pairs divided by the number of examples.

    Args:
      bias: added to every similarity; the paper starts at -10 with log_scale log(10).
      (the others): as in `info_nce`.

    Returns:
      `[B]` float32, 0 for masked rows.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
      ChunkError: `chunk` does not divide B.
    """
    check_arrays({"bias": (bias, ())})
    image, expression = two_sides(z_image, z_expression, log_scale, mask, pair_id)
    rows = sigmoid_one_way(image, expression, log_scale, bias, chunk)
    return 0.5 * (rows + sigmoid_one_way(expression, image, log_scale, bias, chunk))
