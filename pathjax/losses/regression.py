"""Losses of a prediction of expression: squared, Huber's, Pearson's, counts.

With `measured [B, G]` they are over the genes that were measured in a sample, as if the
others did not exist: targets there may hold anything, NaN included. `weights [G]`, not
negative, make each mean over genes a weighted one; by default all genes count alike.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float

from pathjax.losses.shapes import check_arrays, check_regression, check_rows

Measured = Bool[Array, "B G"] | None
Weights = Float[Array, "G"] | None


def only(measured: Measured, values: Float[Array, "B G"]) -> Float[Array, "B G"]:
    """Values with 0 for genes that were not measured."""
    return values if measured is None else jnp.where(measured, values, 0)


def gene_mean(
    values: Float[Array, "B G"], measured: Measured, weights: Weights = None
) -> Float[Array, "B"]:
    """Weighted mean over the genes measured in each row; 0 where there is none."""
    if weights is not None:
        weights = jnp.broadcast_to(jnp.asarray(weights)[None], values.shape)
        total = only(measured, weights).sum(axis=1)
        values = only(measured, values * weights).sum(axis=1)
        return values / jnp.where(total > 0, total, 1)
    if measured is None:
        return values.mean(axis=1)
    count = jnp.maximum(measured.sum(axis=1), 1)
    return only(measured, values).sum(axis=1) / count


def mse(
    prediction: Float[Array, "B G"],
    target: Float[Array, "B G"],
    measured: Measured = None,
    weights: Weights = None,
) -> Float[Array, "B"]:
    """Mean over genes of the squared error, `[B]`."""
    check_regression(prediction, target)
    error = prediction.astype(jnp.float32) - only(measured, target).astype(jnp.float32)
    return gene_mean(jnp.square(error), measured, weights)


def huber(
    prediction: Float[Array, "B G"],
    target: Float[Array, "B G"],
    delta: float = 1.0,
    measured: Measured = None,
    weights: Weights = None,
) -> Float[Array, "B"]:
    """Mean over genes of Huber's loss (1964): e^2/2 up to |e| = delta, then linear.

    Args:
      delta: In the target's units; for z-scored genes, standard deviations.

    Returns:
      `[B]` float32.
    """
    check_regression(prediction, target)
    target = only(measured, target).astype(jnp.float32)
    error = jnp.abs(prediction.astype(jnp.float32) - target)
    inside = jnp.minimum(error, delta)
    values = 0.5 * jnp.square(inside) + delta * (error - inside)
    return gene_mean(values, measured, weights)


def pearson_loss(
    prediction: Float[Array, "B G"],
    target: Float[Array, "B G"],
    mask: Bool[Array, "B"],
    eps: float = 1e-6,
    measured: Measured = None,
    weights: Weights = None,
) -> Float[Array, "B"]:
    """1 - Pearson's r per gene, as contributions whose masked mean is the loss.

    r_g over the unmasked samples of the batch, averaged over the genes whose target
    varies there. r_g is a sum over samples of c_ig = dx_ig dy_ig / sqrt(sum dx_g^2 sum
    dy_g^2); with n unmasked samples, example i has 1 - n mean_g(c_ig). A single
    contribution has no meaning (it may be negative); the masked mean is 1 - mean_g(r_g).
    Small batches make it noisy. With `measured`, r_g is over the samples that have gene
    g, and still each gene counts alike.

    Args:
      eps: Added to both variances, so that a constant prediction has r = 0 and a finite
        gradient.

    Returns:
      `[B]` float32, 0 for masked rows. If no target gene varies, r counts as 0.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
    """
    check_regression(prediction, target)
    check_rows(prediction.shape[0], mask)
    rows = mask[:, None] if measured is None else mask[:, None] & measured
    x = jnp.where(rows, prediction, 0).astype(jnp.float32)
    y = jnp.where(rows, target, 0).astype(jnp.float32)
    n = total = jnp.maximum(mask.sum(), 1).astype(jnp.float32)
    if measured is not None:
        n = jnp.maximum(rows.sum(axis=0, keepdims=True), 1).astype(jnp.float32)
    dx = jnp.where(rows, x - x.sum(axis=0, keepdims=True) / n, 0)
    dy = jnp.where(rows, y - y.sum(axis=0, keepdims=True) / n, 0)
    var_x = jnp.square(dx).sum(axis=0, keepdims=True) / n
    var_y = jnp.square(dy).sum(axis=0, keepdims=True) / n
    terms = dx * dy * jax.lax.rsqrt((var_x + eps) * (var_y + eps))  # n c_ig
    if measured is not None:
        terms *= total / n
    varies = var_y > eps
    if weights is None:
        genes = jnp.maximum(varies.sum(), 1)
    else:
        weights = jnp.asarray(weights)[None]
        sum_weights = jnp.where(varies, weights, 0).sum()
        terms *= weights
        genes = jnp.where(sum_weights > 0, sum_weights, 1)
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
    measured: Measured = None,
    weights: Weights = None,
) -> Float[Array, "B"]:
    """Mean over genes of the negative-binomial negative log-likelihood.

    Mean mu and variance mu + alpha mu^2 with alpha = exp(log_dispersion), one per gene:
    the NB2 form used for RNA counts (McCarthy et al. 2012; Love et al. 2014). In
    scipy's terms, nbinom(n=1/alpha, p=1/(1 + alpha mu)).

    Args:
      mu: Expected counts, positive.
      log_dispersion: `[G]`; clipped to [-8, 8], where smaller values are Poisson in practice.
      counts: Not negative; need not be integers, as with ambient-corrected counts.

    Returns:
      `[B]` float32.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
    """
    if jnp.ndim(mu) != 2:
        raise ValueError(f"mu is {list(jnp.shape(mu))}, expected [B, G]")
    check_arrays(
        {
            "mu": (mu, mu.shape),
            "log_dispersion": (log_dispersion, mu.shape[1:]),
            "counts": (counts, mu.shape),
        }
    )
    mu = jnp.maximum(mu.astype(jnp.float32), 1e-8)
    counts = only(measured, counts).astype(jnp.float32)
    log_alpha = jnp.clip(log_dispersion.astype(jnp.float32), -8, 8)[None]
    alpha_mu = jnp.exp(log_alpha) * mu
    shape = jnp.broadcast_to(jnp.exp(-log_alpha), mu.shape)
    log_p = (
        log_gamma_ratio(shape, counts)
        - gammaln(counts + 1)
        - shape * jnp.log1p(alpha_mu)
        + counts * (log_alpha + jnp.log(mu) - jnp.log1p(alpha_mu))
    )
    return -gene_mean(log_p, measured, weights)
