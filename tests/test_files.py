"""Whole or not at all."""

import json

import pytest

from pathjax.files import atomic_path, write_json, write_text


def test_exception_leaves_the_old_file_and_no_partial(tmp_path):
    final = tmp_path / "a.txt"
    write_text(final, "old")
    with pytest.raises(KeyError), atomic_path(final) as partial:
        partial.write_text("half")
        raise KeyError
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_partial_is_a_neighbour_with_the_same_suffix(tmp_path):
    with atomic_path(tmp_path / "sub" / "a.parquet") as partial:
        assert partial.parent == tmp_path / "sub" and partial.suffix == ".parquet"
        assert not (tmp_path / "sub" / "a.parquet").exists()
        partial.write_bytes(b"x")
    assert (tmp_path / "sub" / "a.parquet").read_bytes() == b"x"


def test_json_refuses_nan_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
    write_json(tmp_path / "a.json", {"x": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1.5}
