"""The two halves of a variational autoencoder of expression.

Genes -> Gaussian posterior of a latent vector -> log-rates of a negative binomial. The
likelihood, the divergence and the sampling are the objective's.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.models.expression import ExpressionMLP
from pathjax.models.towers import NegativeBinomialHead

# exp(+-15) is beyond any variance that is learnt, and far from float32's overflow.
MAX_LOG_VAR = 15.0


class LatentEncoder(nn.Module):
    """Genes `[B, G]` to mean and log-variance of the posterior, `[B, L]` each.

    Attributes:
      widths: Hidden widths.
      latent: L.
      dropout, gene_dropout: As in `ExpressionMLP`.
      mean_only: Returns the mean, and has no parameters for the variance.
    """

    widths: Sequence[int]
    latent: int
    dropout: float = 0.0
    gene_dropout: float = 0.0
    mean_only: bool = False

    @nn.compact
    def __call__(self, genes: Float[Array, "B G"], *, train: bool = False):
        mlp = ExpressionMLP(self.widths, self.dropout, self.gene_dropout, name="mlp")
        x = mlp(genes, train=train)
        mean = nn.Dense(self.latent, name="mean")(x)
        if self.mean_only:
            return mean
        log_var = nn.Dense(self.latent, name="log_var")(x)
        return mean, MAX_LOG_VAR * jnp.tanh(log_var / MAX_LOG_VAR)


class LatentDecoder(nn.Module):
    """Latent `[B, L]` and covariate `[B, C]` to log-rates `[B, G]` and log-dispersion.

    Attributes:
      widths: Hidden widths.
      genes: G.
      dropout: As in `ExpressionMLP`.
    """

    widths: Sequence[int]
    genes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        latent: Float[Array, "B L"],
        covariate: Float[Array, "B C"] | None = None,
        *,
        train: bool = False,
    ) -> tuple[Float[Array, "B G"], Float[Array, "G"]]:
        x = latent
        if covariate is not None:
            x = jnp.concatenate([x, covariate], axis=1)
        x = ExpressionMLP(self.widths, self.dropout, name="mlp")(x, train=train)
        return NegativeBinomialHead(self.genes, name="head")(x)
