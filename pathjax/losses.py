"""Losses: one value per example, float32, with shapes that must agree exactly.

The caller reduces, once, with the batch's mask. Losses in which rows meet each other
(contrastive, Pearson) take the mask themselves: a masked row is neither a negative nor
part of a statistic, and its value is 0. What masked rows hold, NaN included, reaches
neither a value nor a gradient. Nothing here knows of models, meshes or configs; under
jit with a sharded batch these are losses over the global batch.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int


def check_arrays(wanted: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
    """Refuses arrays that are not floats of exactly the shapes wanted.

    NumPy would broadcast `[B, G] - [B, 1]`, which is legal and wrong.

    Args:
      wanted: name -> (array, shape).

    Raises:
      ValueError: all shapes that differ.
      TypeError: all arrays that are not floating point.
    """
    shapes = [
        f"{name} is {list(jnp.shape(array))}, wanted {list(shape)}"
        for name, (array, shape) in wanted.items()
        if jnp.shape(array) != tuple(shape)
    ]
    if shapes:
        raise ValueError("shapes do not agree: " + "; ".join(shapes))
    dtypes = [
        f"{name} is {jnp.asarray(array).dtype}"
        for name, (array, _) in wanted.items()
        if not jnp.issubdtype(jnp.asarray(array).dtype, jnp.floating)
    ]
    if dtypes:
        raise TypeError("wanted floating-point arrays: " + "; ".join(dtypes))


def check_rows(batch: int, mask: Any, pair_id: Any = None) -> None:
    """Refuses a mask that is not bool `[B]` or a pair_id that is not integer `[B]`."""
    found = []
    if mask.shape != (batch,) or mask.dtype != jnp.bool_:
        found.append(f"mask is {mask.dtype}{list(mask.shape)}, wanted bool[{batch}]")
    if pair_id is not None and (
        pair_id.shape != (batch,) or not jnp.issubdtype(pair_id.dtype, jnp.integer)
    ):
        found.append(
            f"pair_id is {pair_id.dtype}{list(pair_id.shape)}, wanted int[{batch}]"
        )
    if found:
        raise ValueError("; ".join(found))


def similarities(
    z_image: Float[Array, "B E"],
    z_expression: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
) -> tuple[Float[Array, "B B"], Bool[Array, "B B"], Bool[Array, "B B"]]:
    """Scaled similarities in float32, which pairs count, and which are positives."""
    if z_image.ndim != 2:
        raise ValueError(f"z_image is {list(z_image.shape)}, wanted [B, E]")
    shape = z_image.shape
    check_arrays(
        {
            "z_image": (z_image, shape),
            "z_expression": (z_expression, shape),
            "log_scale": (log_scale, ()),
        }
    )
    check_rows(shape[0], mask, pair_id)
    # Rows are emptied before the product: a NaN times a zero gradient is a NaN.
    left = jnp.where(mask[:, None], z_image, 0).astype(jnp.float32)
    right = jnp.where(mask[:, None], z_expression, 0).astype(jnp.float32)
    logits = jnp.exp(log_scale.astype(jnp.float32)) * (left @ right.T)
    valid = mask[:, None] & mask[None, :]
    positive = (pair_id[:, None] == pair_id[None, :]) & valid
    return logits, valid, positive


def info_nce(
    z_image: Float[Array, "B E"],
    z_expression: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
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

    Args:
      z_image, z_expression: `[B, E]`, usually of unit length.
      log_scale: logarithm of the inverse temperature.
      mask: `[B]`, false for padding: neither an anchor nor a candidate.
      pair_id: `[B]`, samples that share one are positives of each other.

    Returns:
      `[B]` float32, 0 for masked rows.

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not agree.
    """
    logits, valid, positive = similarities(
        z_image, z_expression, log_scale, mask, pair_id
    )
    # A masked row keeps itself as only candidate, so that its log-sum is finite.
    candidates = valid | jnp.eye(len(mask), dtype=bool)
    count = jnp.maximum(positive.sum(axis=1), 1)

    def one_way(logits):
        total = jax.nn.logsumexp(logits, axis=1, where=candidates)
        return total - jnp.where(positive, logits, 0).sum(axis=1) / count

    # `valid` and `positive` are symmetric, so the transpose needs no others.
    return jnp.where(mask, 0.5 * (one_way(logits) + one_way(logits.T)), 0)


def sigmoid_loss(
    z_image: Float[Array, "B E"],
    z_expression: Float[Array, "B E"],
    log_scale: Float[Array, ""],
    bias: Float[Array, ""],
    mask: Bool[Array, "B"],
    pair_id: Int[Array, "B"],
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
      ValueError, TypeError: for shapes or dtypes that do not agree.
    """
    check_arrays({"bias": (bias, ())})
    logits, valid, positive = similarities(
        z_image, z_expression, log_scale, mask, pair_id
    )
    sign = jnp.where(positive, 1.0, -1.0)
    pairs = -jax.nn.log_sigmoid(sign * (logits + bias.astype(jnp.float32)))
    pairs = jnp.where(valid, pairs, 0)
    return 0.5 * (pairs.sum(axis=1) + pairs.sum(axis=0))


def check_regression(prediction: Any, target: Any) -> None:
    if jnp.ndim(prediction) != 2:
        raise ValueError(f"prediction is {list(jnp.shape(prediction))}, wanted [B, G]")
    shape = prediction.shape
    check_arrays({"prediction": (prediction, shape), "target": (target, shape)})


def mse(
    prediction: Float[Array, "B G"], target: Float[Array, "B G"]
) -> Float[Array, "B"]:
    """Mean over genes of the squared error, `[B]`."""
    check_regression(prediction, target)
    error = prediction.astype(jnp.float32) - target.astype(jnp.float32)
    return jnp.square(error).mean(axis=1)


def huber(
    prediction: Float[Array, "B G"], target: Float[Array, "B G"], delta: float = 1.0
) -> Float[Array, "B"]:
    """Mean over genes of Huber's loss (1964): e^2/2 up to |e| = delta, then linear.

    Args:
      delta: in the target's units; for z-scored genes, standard deviations.

    Returns:
      `[B]` float32.
    """
    check_regression(prediction, target)
    error = jnp.abs(prediction.astype(jnp.float32) - target.astype(jnp.float32))
    inside = jnp.minimum(error, delta)
    return (0.5 * jnp.square(inside) + delta * (error - inside)).mean(axis=1)


def pearson_loss(
    prediction: Float[Array, "B G"],
    target: Float[Array, "B G"],
    mask: Bool[Array, "B"],
    axis: str = "gene",
    eps: float = 1e-6,
) -> Float[Array, "B"]:
    """1 - Pearson's r, as contributions whose masked mean is the loss.

    axis "gene" (the default, as the reported metric is per gene): r_g over the unmasked
    samples of the batch, averaged over the genes whose target varies there. r_g is a
    sum over samples of c_ig = dx_ig dy_ig / sqrt(sum dx_g^2 sum dy_g^2); with n
    unmasked samples example i has 1 - n mean_g(c_ig). A single contribution means
    nothing (it may be negative); their masked mean is 1 - mean_g(r_g). Small batches
    make it a noisy loss.

    axis "sample": r over the genes of each sample. Gene means inflate it where targets
    are not standardised.

    Args:
      eps: added to both variances, so that a constant prediction has r = 0 and a finite
        gradient.

    Returns:
      `[B]` float32, 0 for masked rows. If no target gene varies, r counts as 0.

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not agree, or another axis.
    """
    check_regression(prediction, target)
    check_rows(prediction.shape[0], mask)
    if axis not in ("gene", "sample"):
        raise ValueError(f"axis={axis!r}: wanted 'gene' or 'sample'")
    rows = mask[:, None]
    x = jnp.where(rows, prediction, 0).astype(jnp.float32)
    y = jnp.where(rows, target, 0).astype(jnp.float32)
    if axis == "sample":
        dx = x - x.mean(axis=1, keepdims=True)
        dy = y - y.mean(axis=1, keepdims=True)
        spread = (jnp.square(dx).mean(axis=1) + eps) * (
            jnp.square(dy).mean(axis=1) + eps
        )
        return jnp.where(mask, 1 - (dx * dy).mean(axis=1) * jax.lax.rsqrt(spread), 0)
    n = jnp.maximum(mask.sum(), 1).astype(jnp.float32)
    dx = jnp.where(rows, x - x.sum(axis=0, keepdims=True) / n, 0)
    dy = jnp.where(rows, y - y.sum(axis=0, keepdims=True) / n, 0)
    var_x = jnp.square(dx).sum(axis=0, keepdims=True) / n
    var_y = jnp.square(dy).sum(axis=0, keepdims=True) / n
    terms = dx * dy * jax.lax.rsqrt((var_x + eps) * (var_y + eps))  # n c_ig
    varies = var_y > eps
    genes = jnp.maximum(varies.sum(), 1)
    r = jnp.where(varies, terms, 0).sum(axis=1) / genes
    return jnp.where(mask, 1 - r, 0)


def log_gamma_ratio(
    shape: Float[Array, "..."], counts: Float[Array, "..."]
) -> Float[Array, "..."]:
    """log Gamma(shape + counts) - log Gamma(shape), without cancellation.

    For a large shape the two are large and close. There the difference of Stirling's
    series is used (Abramowitz & Stegun 6.1.41), good to 1e-6 from 16 on.
    """
    large = shape > 16
    small_shape = jnp.where(large, 1.0, shape)
    exact = gammaln(small_shape + counts) - gammaln(small_shape)
    big = jnp.where(large, shape, 16.0)
    total = big + counts
    series = (
        (total - 0.5) * jnp.log1p(counts / big)
        + counts * (jnp.log(big) - 1)
        + (1 / total - 1 / big) / 12
    )
    return jnp.where(large, series, exact)


def negative_binomial_nll(
    mu: Float[Array, "B G"],
    log_dispersion: Float[Array, "G"],
    counts: Float[Array, "B G"],
) -> Float[Array, "B"]:
    """Mean over genes of the negative-binomial negative log-likelihood.

    Mean mu and variance mu + alpha mu^2 with alpha = exp(log_dispersion), one per gene:
    the NB2 form used for RNA counts (McCarthy et al. 2012; Love et al. 2014). In
    scipy's terms, nbinom(n=1/alpha, p=1/(1 + alpha mu)).

    Args:
      mu: expected counts, positive.
      log_dispersion: `[G]`; held within [-8, 8], Poisson for any use below.
      counts: not negative; need not be whole, as with ambient-corrected counts.

    Returns:
      `[B]` float32.

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not agree.
    """
    if jnp.ndim(mu) != 2:
        raise ValueError(f"mu is {list(jnp.shape(mu))}, wanted [B, G]")
    check_arrays(
        {
            "mu": (mu, mu.shape),
            "log_dispersion": (log_dispersion, mu.shape[1:]),
            "counts": (counts, mu.shape),
        }
    )
    mu = jnp.maximum(mu.astype(jnp.float32), 1e-8)
    counts = counts.astype(jnp.float32)
    log_alpha = jnp.clip(log_dispersion.astype(jnp.float32), -8, 8)[None]
    alpha_mu = jnp.exp(log_alpha) * mu
    shape = jnp.broadcast_to(jnp.exp(-log_alpha), mu.shape)
    log_p = (
        log_gamma_ratio(shape, counts)
        - gammaln(counts + 1)
        - shape * jnp.log1p(alpha_mu)
        + counts * (log_alpha + jnp.log(mu) - jnp.log1p(alpha_mu))
    )
    return -log_p.mean(axis=1)


def dino_loss(
    student: Float[Array, "B S P"],
    teacher: Float[Array, "B V P"],
    centre: Float[Array, "P"],
    student_temperature: float | Float[Array, ""],
    teacher_temperature: float | Float[Array, ""],
) -> Float[Array, "B"]:
    """Cross-entropy of the student's views to the teacher's (Caron et al. 2021).

    Teacher logits are centred, sharpened and not differentiated. The first V of the S
    student views are the teacher's own; a view is not compared with itself. The value
    is the mean over the V (S - 1) pairs left.

    Args:
      student: logits of all views, global ones first.
      teacher: logits of the global views.
      centre: running mean of teacher logits.

    Returns:
      `[B]` float32.

    Raises:
      ValueError, TypeError: for shapes or dtypes that do not agree, or fewer than two
        student views.
    """
    if student.ndim != 3 or teacher.ndim != 3:
        raise ValueError(
            f"student is {list(student.shape)}, teacher is {list(teacher.shape)}; "
            "wanted [B, S, P] and [B, V, P]"
        )
    batch, views, prototypes = student.shape
    own = teacher.shape[1]
    if views < 2 or not 1 <= own <= views:
        raise ValueError(
            f"found {views} student and {own} teacher views; wanted at least two and "
            "the teacher's among them"
        )
    check_arrays(
        {
            "student": (student, student.shape),
            "teacher": (teacher, (batch, own, prototypes)),
            "centre": (centre, (prototypes,)),
        }
    )
    log_p = jax.nn.log_softmax(student.astype(jnp.float32) / student_temperature)
    centred = teacher.astype(jnp.float32) - centre.astype(jnp.float32)[None, None]
    q = jax.lax.stop_gradient(jax.nn.softmax(centred / teacher_temperature))
    pairs = -jnp.einsum("bvp,bsp->bvs", q, log_p)
    other = ~jnp.eye(own, views, dtype=bool)[None]
    return jnp.where(other, pairs, 0).sum(axis=(1, 2)) / (own * (views - 1))
