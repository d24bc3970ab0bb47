"""Lookup by shipped name and by import path."""

import hashlib
import importlib
import sys

import pytest

from pathjax.objectives import OBJECTIVES
from pathjax.registry import Registry, RegistryError, allow_code, source_hashes
from pathjax.stats.metric import Metric
from pathjax.stats.metrics import METRICS

SHIPPED = Registry("number", {"one": 1, "three": 3}, of=int)


def test_shipped_names():
    assert SHIPPED["one"] == 1 and list(SHIPPED) == ["one", "three"]
    assert "one" in SHIPPED and len(SHIPPED) == 2 and "my:x" not in SHIPPED
    assert SHIPPED.name_of(3) == "three"


def test_an_item_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_numbers_extension.py").write_text("SEVEN = 7\nWORD = 'seven'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"] + __import__("sys").path)
    assert SHIPPED["my_numbers_extension:SEVEN"] == 7
    with pytest.raises(RegistryError, match="WORD is str, expected builtins.int"):
        SHIPPED["my_numbers_extension:WORD"]
    with pytest.raises(RegistryError, match="cannot import .*no attribute") as caught:
        SHIPPED["my_numbers_extension:EIGHT"]
    assert "PYTHONPATH" not in str(caught.value)  # the file was found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tree", "unknown number 'tree'; did you mean 'three'?"),
        ("x", "expected one of one, three"),
        ("no_such_package.here:X", "cannot import number 'no_such_package.here:X'"),
        ("no_such.here:X", "Run in the folder of no_such/here.py, or set PYTHONPATH"),
        (":X", "cannot import number"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(RegistryError, match=message):
        SHIPPED[name]


def test_a_file_does_not_choose_what_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_named_by_file.py").write_text("NINE = 9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"] + sys.path)
    assert SHIPPED.imported("one") == 1
    with pytest.raises(RegistryError, match="add --allow-code my_named_by_file"):
        SHIPPED.imported("my_named_by_file:NINE")
    assert "my_named_by_file" not in sys.modules
    allow_code(["my_named_by_file"])
    assert SHIPPED.imported("my_named_by_file:NINE") == 9
    with pytest.raises(RegistryError, match="--allow-code no_such_module: expected"):
        allow_code(["no_such_module"])


def test_classes_are_named_by_their_path():
    registry = Registry("error", {"value": ValueError}, of=Exception)
    assert registry["builtins:KeyError"] is KeyError
    assert registry.name_of(KeyError) == "builtins:KeyError"


def test_the_source_of_an_extension_is_hashed_as_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    files = {
        "my_scores": "def score(truth, prediction, weight):\n    return 1.0\n",
        "my_metrics": "from my_scores import score\n"
        "from pathjax.stats.metric import Metric\n"
        "ONE = Metric(name='one', label='One', needs='values', score=score, chance=0)\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    registry = Registry("metric", {}, of=Metric)
    own = registry["my_metrics:ONE"]
    expected = {n: hashlib.sha256(t.encode()).hexdigest() for n, t in files.items()}
    assert source_hashes("my_metrics:ONE", own) == expected
    # An edited file counts once it is imported: until then the old code runs.
    path = tmp_path / "my_metrics.py"
    path.write_text(files["my_metrics"] + "# edited\n")
    assert source_hashes("my_metrics:ONE", registry["my_metrics:ONE"]) == expected
    importlib.reload(sys.modules["my_metrics"])
    changed = source_hashes("my_metrics:ONE", registry["my_metrics:ONE"])
    assert changed["my_metrics"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert changed["my_scores"] == expected["my_scores"]


def test_shipped_items_have_no_source_hash():
    for registry in (METRICS, OBJECTIVES):
        assert [source_hashes(name, item) for name, item in registry.items()] == [
            {} for _ in registry
        ]


def test_an_extension_without_a_file_is_named(monkeypatch, caplog):
    """As one that was written in a notebook's cell."""
    module = type(sys)("my_cell")
    monkeypatch.setitem(sys.modules, "my_cell", module)
    assert source_hashes("my_cell:ONE", 1) == {}
    assert "my_cell:ONE has no source file" in caplog.text
