"""A package that is missing is an error that says what to install."""

import ast
import sys
from pathlib import Path

import pytest

from pathjax.optional_deps import need


def test_what_is_there_is_imported():
    assert need("json", "text").loads("1") == 1


def test_what_is_not_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(RuntimeError, match=r"needs openai, .*pip install 'pathjax\[te"):
        need("openai", "text")


# Packages that come with [test-all] and not with [test].
LEFT_OUT = {
    "dask",
    "distributed",
    "imagecodecs",
    "openai",
    "openslide",
    "sklearn",
    "tensorflow_datasets",
    "tifffile",
    "tokenizers",
}


def test_tests_do_without_what_the_extra_test_leaves_out():
    """They take it from `extras.extra` or `extras.need`, which skip by name."""
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None)
                names = [module] if module else [one.name for one in node.names]
                found = {name.partition(".")[0] for name in names} & LEFT_OUT
                assert not found, f"{path.name} imports {found}: use tests/extras.py"
