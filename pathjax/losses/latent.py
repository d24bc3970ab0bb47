"""The divergence of a Gaussian posterior from the standard normal."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.losses.shapes import check_arrays


def kl_to_normal(
    mean: Float[Array, "B L"], log_var: Float[Array, "B L"]
) -> Float[Array, "B"]:
    """KL(N(mean, exp(log_var)) || N(0, 1)), summed over dimensions, in nats.

    (exp(log_var) + mean^2 - 1 - log_var) / 2 per dimension: Kingma and Welling 2014,
    appendix B.

    Raises:
      ValueError, TypeError: Shapes or dtypes that do not agree.
    """
    check_arrays({"mean": (mean, mean.shape), "log_var": (log_var, mean.shape)})
    terms = jnp.exp(log_var) + jnp.square(mean) - 1 - log_var
    return 0.5 * terms.sum(axis=1)
