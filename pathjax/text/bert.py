"""BERT's encoder in JAX, for sentence vectors: tokens -> mean of the last layer.

Devlin et al. 2019 (arXiv:1810.04805), post-norm, learned positions, exact GELU; pooled
as Reimers and Gurevych 2019 (arXiv:1908.10084) do: the mean over tokens. Weights by
the names of Hugging Face's `BertModel`. Nothing is trained here.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Params = dict[str, Array]
MASKED = -1e9


@dataclasses.dataclass(frozen=True)
class Form:
    """The sizes that weights do not tell.

    Attributes:
      layers, heads: how many.
      epsilon: of LayerNorm.
    """

    layers: int
    heads: int
    epsilon: float


def names(form: Form) -> list[str]:
    """The tensors that `sentence_vectors` reads."""
    pairs = ["embeddings.LayerNorm"]
    for layer in range(form.layers):
        at = f"encoder.layer.{layer}."
        pairs += [f"{at}attention.self.{one}" for one in ("query", "key", "value")]
        pairs += [f"{at}attention.output.dense", f"{at}attention.output.LayerNorm"]
        pairs += [f"{at}intermediate.dense", f"{at}output.dense"]
        pairs += [f"{at}output.LayerNorm"]
    kinds = ("word", "position", "token_type")
    return [f"embeddings.{kind}_embeddings.weight" for kind in kinds] + [
        f"{name}.{part}" for name in pairs for part in ("weight", "bias")
    ]


@functools.partial(jax.jit, static_argnames="form")
def sentence_vectors(
    params: Params, ids: Int[Array, "B L"], mask: Int[Array, "B L"], *, form: Form
) -> Float[Array, "B D"]:
    """Means over each text's tokens, not scaled.

    Args:
      params: by name, see `names`.
      ids: of tokens, with the special ones.
      mask: 1 for a token, 0 for padding; one token or more per row.
      form: layers, heads, epsilon.
    """
    positions = params["embeddings.position_embeddings.weight"][: ids.shape[1]]
    kind = params["embeddings.token_type_embeddings.weight"][0]
    x = params["embeddings.word_embeddings.weight"][ids]
    x = x + positions[None] + kind[None, None]
    x = _norm(params, "embeddings.LayerNorm", x, form.epsilon)
    bias = jnp.where(mask == 0, MASKED, 0.0)[:, None, None, :]
    for layer in range(form.layers):
        at = f"encoder.layer.{layer}."
        mixed = _attend(params, f"{at}attention.", x, bias, form.heads)
        x = _norm(params, f"{at}attention.output.LayerNorm", x + mixed, form.epsilon)
        wide = jax.nn.gelu(
            _dense(params, f"{at}intermediate.dense", x), approximate=False
        )
        x = x + _dense(params, f"{at}output.dense", wide)
        x = _norm(params, f"{at}output.LayerNorm", x, form.epsilon)
    weight = mask[..., None].astype(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)


def _dense(params: Params, name: str, x: Float[Array, "B L d"]) -> Array:
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    return jnp.einsum("bld,ed->ble", x, weight) + bias[None, None]


def _norm(params: Params, name: str, x: Float[Array, "B L D"], epsilon: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return (
        scaled * params[f"{name}.weight"][None, None]
        + (params[f"{name}.bias"][None, None])
    )


def _attend(
    params: Params, at: str, x: Float[Array, "B L D"], bias: Array, heads: int
) -> Float[Array, "B L D"]:
    query, key, value = (
        _dense(params, f"{at}self.{one}", x).reshape(*x.shape[:2], heads, -1)
        for one in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    share = jax.nn.softmax(scores + bias, axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", share, value).reshape(x.shape)
    return _dense(params, f"{at}output.dense", mixed)
