"""Expression encoder: an MLP from normalised genes to a vector.

LayerNorm, never BatchNorm, whose statistics would depend on the batch's padding and
devices. Gene selection and normalisation are the data's; projection to the shared space
is `towers.py`'s.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pathjax.models.layer_norm import LayerNorm
from pathjax.parallel.mesh import keep_rows


class ExpressionMLP(nn.Module):
    """Dense, LayerNorm, GELU, dropout for each width: `[B, G]` to `[B, widths[-1]]`.

    Attributes:
      widths: of the layers, at least one.
      dropout: probability of dropping a unit after each layer.
      gene_dropout: probability of setting an input gene to 0, its mean on train when
        genes are z-scored; sampled per sample, without rescaling. Makes the
        encoder rely on many genes rather than on single ones.

    Randomness comes from the stream "dropout" when `train`.
    """

    widths: Sequence[int] = (512, 512)
    dropout: float = 0.0
    gene_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, expression: Float[Array, "B G"], *, train: bool = False
    ) -> Float[Array, "B D"]:
        if expression.ndim != 2 or not self.widths:
            raise ValueError(
                f"expected expression [B, G] and at least one width, got shape "
                f"{expression.shape} and widths {tuple(self.widths)}"
            )
        x = expression
        if train and self.gene_dropout > 0:
            kept = 1 - self.gene_dropout
            keep = jax.random.bernoulli(self.make_rng("dropout"), kept, x.shape)
            x = jnp.where(keep, x, 0)
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, name=f"fc{i + 1}")(x)
            x = LayerNorm(name=f"norm{i + 1}")(x)
            x = nn.gelu(x, approximate=False)
            x = keep_rows(nn.Dropout(self.dropout, deterministic=not train)(x))
        return x
