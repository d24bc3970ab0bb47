"""Expression encoder with a token per gene set, and attention among the sets.

The first layer is masked: a token is a linear map of its own genes alone, so that it can
be named. Which genes are in a set is given; nothing here reads files.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pathjax.models.layer_norm import LayerNorm
from pathjax.models.towers import Aggregator
from pathjax.parallel.mesh import keep_rows


def padded(
    members: Sequence[Sequence[int]],
) -> tuple[Int[np.ndarray, "S M"], Bool[np.ndarray, "S M"]]:
    """Places of each set's genes, padded with 0 to the largest, and which are real."""
    most = max(map(len, members))
    places = np.zeros((len(members), most), np.int32)
    for row, genes in zip(places, members, strict=True):
        row[: len(genes)] = genes
    sizes = np.array([len(genes) for genes in members])
    return places, np.arange(most)[None] < sizes[:, None]


class SetTokens(nn.Module):
    """A token per gene set: `[B, G]` to `[B, S, D]`, token s from the genes of s alone.

    `kernel [S, M, D]` has a row for each of the M genes of the largest set; rows beyond a
    set's own genes stay 0.

    Attributes:
      members: Places of each set's genes.
      width: D.
    """

    members: Sequence[Sequence[int]]
    width: int

    @nn.compact
    def __call__(self, expression: Float[Array, "B G"]) -> Float[Array, "B S D"]:
        places, inside = padded(self.members)
        shape = (*places.shape, self.width)

        def init(key):
            scale = inside / np.sqrt(inside.sum(axis=1, keepdims=True))
            return jax.random.normal(key, shape) * scale[..., None]

        kernel = self.param("kernel", init)
        bias = self.param("bias", nn.initializers.normal(0.02), shape[::2])
        genes = jnp.where(inside[None], expression[:, places], 0)
        return jnp.einsum("bsm,smd->bsd", genes, kernel) + bias[None]


class PathwayEncoder(nn.Module):
    """Tokens of gene sets, transformer blocks, pooled by gated attention: to `[B, D]`.

    A set of which no gene was measured in a sample is no token of that sample; a sample
    without any is zeros.

    Attributes:
      members: Places of each set's genes.
      width: D, of tokens and of the result.
      depth: Blocks of attention among the sets; 0 pools the tokens as they are.
      heads: Of the attention; divides D.
      dropout: Probability of dropping a unit after attention and MLP.
      gene_dropout: Probability of setting an input gene to 0, as in `ExpressionMLP`.

    Randomness comes from the stream "dropout" when `train`.
    """

    members: Sequence[Sequence[int]]
    width: int = 64
    depth: int = 1
    heads: int = 4
    dropout: float = 0.0
    gene_dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        expression: Float[Array, "B G"],
        known: Bool[Array, "B G"],
        *,
        train: bool = False,
    ) -> Float[Array, "B D"]:
        x = jnp.where(known, expression, 0)
        if train and self.gene_dropout > 0:
            kept = 1 - self.gene_dropout
            keep = jax.random.bernoulli(self.make_rng("dropout"), kept, x.shape)
            x = jnp.where(keep, x, 0)
        places, inside = padded(self.members)
        present = (known[:, places] & inside[None]).any(axis=-1)
        tokens = SetTokens(self.members, self.width, name="sets")(x)

        def norm(name):
            return LayerNorm(name=name)

        def dropped(values):
            return keep_rows(nn.Dropout(self.dropout, deterministic=not train)(values))

        for block in range(1, self.depth + 1):
            attend = nn.MultiHeadDotProductAttention(self.heads, name=f"attend{block}")
            inner = norm(f"norm{block}a")(tokens)
            tokens += dropped(attend(inner, mask=present[:, None, None]))
            inner = nn.Dense(2 * self.width, name=f"fc{block}a")(
                norm(f"norm{block}b")(tokens)
            )
            inner = nn.gelu(inner, approximate=False)
            tokens += dropped(nn.Dense(self.width, name=f"fc{block}b")(inner))
        return Aggregator("attention", name="pool")(norm("norm")(tokens), present)
