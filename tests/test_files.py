"""Whole or not at all."""

import json
from pathlib import Path

import pytest

from pathjax.files import (
    atomic_path,
    mismatch,
    read_json,
    told_apart,
    write_json,
    write_text,
)


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


SHAPE = {
    "name": str,
    "rows": [{"n": int, "value?": (float, type(None)), "on?": bool}],
    "by?": {str: [float]},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"more": 1, "by": None}, ""),
        ({"by": {"a": [1, 2.5], "b": []}}, ""),
        ({"rows": [{"n": 1, "value": None, "on": True}]}, ""),
        ({"name": 3}, "expected name to be text, got 3"),
        ({"rows": {}}, "expected rows to be a list, got {}"),
        ({"rows": [{"n": 1}, {}]}, "rows[1] lacks n"),
        ({"rows": [{"n": True}]}, "expected rows[0].n to be a whole number, got True"),
        ({"rows": [{"n": 1, "value": "x"}]}, "value to be a number or null, got 'x'"),
        ({"rows": [{"n": 1, "on": 1}]}, "expected rows[0].on to be true or false, got"),
        ({"by": {"a": [1, "2"]}}, "expected by.a[1] to be a number, got '2'"),
    ],
)
def test_json_is_compared_with_a_shape(change, message):
    got = mismatch({"name": "a", "rows": []} | change, SHAPE)
    assert message in got and bool(got) == bool(message)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_in_any_unicode(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"é": [1]}', encoding=encoding)
    assert read_json(tmp_path / "a.json", {"é": [int]}) == {"é": [1]}


@pytest.mark.parametrize("data", [b"", b"{", b"\xe9", b"[" * 100_000])
def test_what_is_no_json_is_named(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.json: expected the content to be an obj"):
        read_json(tmp_path / "a.json", dict)


def test_a_full_disk_is_told_with_the_final_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left.*'.*table\.csv'"),
        atomic_path(tmp_path / "table.csv"),
        open("/dev/full", "w", encoding="utf-8") as full,
    ):
        full.write("row")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [Path("x/a/t.csv"), tmp_path / "y/a/t.csv", Path("b/t.csv"), Path("u.csv")]
    found = told_apart([*paths, paths[0]])
    assert list(found.items()) == list(
        zip(paths, ["x/a/t.csv", "y/a/t.csv", "b/t.csv", "u.csv"], strict=True)
    )
    twice = told_apart([Path("t.csv"), Path("t.csv").absolute()])
    assert len(set(twice.values())) == 1  # it is one file


def test_a_file_is_for_those_who_may_read_any_new_file(tmp_path):
    """safetensors makes files for their owner alone; another of a group is to read a model."""
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "model") as partial:
        assert not partial.exists()
        partial.touch(mode=0o600)
    modes = [(tmp_path / name).stat().st_mode for name in ("plain", "model")]
    assert modes[0] == modes[1]
