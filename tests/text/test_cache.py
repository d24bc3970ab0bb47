"""Vectors are there again, for their text and settings and no others."""

import sqlite3

import numpy as np
import pytest

from pathjax.data.text_store import TextError
from pathjax.text.cache import VectorCache, default_cache, key_of


def test_vectors_come_back_to_another_process(tmp_path):
    vector = np.arange(4, dtype=np.float32)
    with VectorCache(tmp_path / "a" / "c.sqlite") as cache:
        cache.put([("k", vector), ("l", vector + 1)])
    with VectorCache(tmp_path / "a" / "c.sqlite") as again:
        found = again.get(["k", "x", "l", "k"])
    assert list(found) == ["k", "l"]
    np.testing.assert_array_equal(found["l"], vector + 1)
    assert found["k"].dtype == np.float32 and found["k"].flags.writeable


def test_another_file_is_taken_in(tmp_path):
    vector = np.arange(4, dtype=np.float32)
    with VectorCache(tmp_path / "a") as one, VectorCache(tmp_path / "b") as two:
        one.put([("k", vector), ("l", vector)])
        two.put([("l", vector + 1), ("m", vector)])
        one.take_all(tmp_path / "b")
        found = one.get(["k", "l", "m"])
    assert list(found) == ["k", "l", "m"]
    np.testing.assert_array_equal(found["l"], vector)


def test_a_key_is_of_text_and_settings():
    one = {"model": "a", "dimensions": 3}
    assert key_of(one, "t") == key_of({"dimensions": 3, "model": "a"}, "t")
    keys = {key_of(one, "t"), key_of(one, "u"), key_of({**one, "model": "b"}, "t")}
    assert len(keys) == 3 and all(len(key) == 64 for key in keys)


def test_rows_are_written_all_or_none(tmp_path):
    def rows():
        yield "k", np.zeros(2)
        raise KeyboardInterrupt

    with VectorCache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(KeyboardInterrupt):
            cache.put(rows())
        assert cache.get(["k"]) == {}


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(TextError, match="does not serve as cache .*--cache"):
        VectorCache(path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE vectors (a TEXT)")
    other.close()
    with VectorCache(path) as cache:
        with pytest.raises(TextError, match="no such column"):
            cache.get(["k"])
        with pytest.raises(TextError, match="does not serve"):
            cache.put([("k", np.zeros(2))])


def test_its_place_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "pathjax" / "text.sqlite"
