"""The encoder against NumPy, written out text by text."""

import math

import jax
import numpy as np
import pytest

from pathjax.text.bert import Form, names, sentence_vectors

FORM = Form(layers=2, heads=2, epsilon=1e-12)
D, WIDE, WORDS, LONGEST = 8, 12, 30, 10


def made_params():
    random = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, D),
        "embeddings.position_embeddings.weight": (LONGEST, D),
        "embeddings.token_type_embeddings.weight": (2, D),
    }
    params = {}
    for name in names(FORM):
        if name in shapes:
            shape = shapes[name]
        elif "LayerNorm" in name or name.endswith("bias"):
            shape = (WIDE,) if "intermediate" in name else (D,)
        elif "intermediate" in name:
            shape = (WIDE, D)
        elif name.endswith("output.dense.weight") and "attention" not in name:
            shape = (D, WIDE)
        else:
            shape = (D, D)
        params[name] = random.normal(0, 0.5, shape).astype(np.float32)
    return params


def numpy_vector(p, ids):
    def dense(name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt(x.var(-1, keepdims=True) + FORM.epsilon)
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    p = {name: one.astype(np.float64) for name, one in p.items()}
    x = p["embeddings.word_embeddings.weight"][ids]
    x = x + p["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(
        "embeddings.LayerNorm", x + p["embeddings.token_type_embeddings.weight"][0]
    )
    for layer in range(FORM.layers):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            dense(f"{at}.attention.self.{one}", x) for one in ("query", "key", "value")
        )
        heads = []
        for head in range(FORM.heads):
            part = slice(head * D // 2, (head + 1) * D // 2)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(D / 2))
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        mixed = dense(f"{at}.attention.output.dense", np.concatenate(heads, 1))
        x = norm(f"{at}.attention.output.LayerNorm", x + mixed)
        wide = dense(f"{at}.intermediate.dense", x)
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(f"{at}.output.LayerNorm", x + dense(f"{at}.output.dense", wide))
    return x.mean(0)


def test_it_is_bert_and_padding_does_not_count():
    params = made_params()
    texts = [[2, 5, 3], [2, 7, 9, 11, 3], [2, 3]]
    for length in (5, 8):
        ids, mask = np.full((3, length), 29, np.int32), np.zeros((3, length), np.int32)
        for i, one in enumerate(texts):
            ids[i, : len(one)], mask[i, : len(one)] = one, 1
        with jax.default_matmul_precision("highest"):
            found = sentence_vectors(params, ids, mask, form=FORM)
        expected = [numpy_vector(params, one) for one in texts]
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found.shape == (3, D)


def test_a_missing_weight_is_an_error():
    params = made_params()
    del params["embeddings.LayerNorm.bias"]
    ids = np.ones((1, 4), np.int32)
    with pytest.raises(KeyError, match="LayerNorm.bias"):
        sentence_vectors(params, ids, ids, form=FORM)
