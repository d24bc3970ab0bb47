"""The text embedding file: comes back, aligns, and names what is wrong."""

import dataclasses

import h5py
import numpy as np
import pytest

import pathjax
from pathjax.data.text_store import (
    TextEmbeddings,
    TextError,
    hash_texts,
    read_text,
    write_text,
)
from pathjax.embeddings.embedding_file import write_embeddings

ABOUT = {"backend": "made", "model": "up", "texts": "00", "fingerprint": None}


@pytest.fixture
def made():
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    return TextEmbeddings(["a", "b", "c"], values, ABOUT)


def test_it_comes_back(made, tmp_path):
    write_text(tmp_path / "t.h5", made)
    back = read_text(tmp_path / "t.h5")
    np.testing.assert_array_equal(back.values, made.values)
    assert back.sample_ids == ["a", "b", "c"]
    assert back.values.dtype == np.float32
    assert ABOUT.items() <= back.meta.items()
    assert back.meta["dimensions"] == 4 and back.meta["pathjax"] == pathjax.__version__
    assert back.meta["created"].endswith("Z")


def test_rows_in_the_order_of_a_study(made):
    values, present = made.align(["c", "x", "a"])
    assert present.tolist() == [True, False, True]
    np.testing.assert_array_equal(values[[0, 2]], made.values[[2, 0]])
    assert not values[1].any()
    with pytest.raises(TextError, match=r"none of 2 samples, first \['x', 'y'\]"):
        made.align(["x", "y"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_ids": ["a", "b"]}, r"expected \[n, X\] for 2 samples, got \[3, 4\]"),
        ({"sample_ids": ["a", "b", "a"]}, "1 sample ids occur twice, first .'a'"),
        ({"values": np.full((3, 4), np.nan)}, "3 rows are not finite, first .'a', 'b'"),
        ({"values": np.zeros(3)}, r"expected \[n, X\] for 3 samples, got \[3\]"),
        ({"meta": {"backend": "x"}}, "meta lacks the model"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(made, tmp_path, change, message):
    with pytest.raises(TextError, match=message):
        write_text(tmp_path / "t.h5", dataclasses.replace(made, **change))
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_refused(made, tiny_study, tmp_path):
    path = tmp_path / "t.h5"
    with pytest.raises(TextError, match="cannot be read as a text embedding file"):
        read_text(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(TextError, match="cannot be read as a text embedding file"):
        read_text(path)
    write_embeddings(path, tiny_study, np.zeros((72, 2), np.float32), {"model": "x"})
    with pytest.raises(
        TextError, match="expected text embeddings .* got embeddings of study"
    ):
        read_text(path)
    write_text(path, made)
    with h5py.File(path, "r+") as file:
        file["features"][1, 1] = np.inf
    with pytest.raises(TextError, match="1 rows are not finite, first .'b'"):
        read_text(path)


def test_the_hash_is_of_the_pairs_and_not_of_their_order():
    pairs = [("a", "one"), ("b", "two")]
    assert hash_texts(pairs) == hash_texts(pairs[::-1])
    assert hash_texts(pairs) != hash_texts([("a", "two"), ("b", "one")])
    assert hash_texts([("a", "bc")]) != hash_texts([("ab", "c")])
