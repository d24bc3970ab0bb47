"""A package that is missing is an error that says what to install."""

import sys

import pytest

from pathjax.optional_deps import need


def test_what_is_there_is_imported():
    assert need("json", "text").loads("1") == 1


def test_what_is_not_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(RuntimeError, match=r"needs openai, .*pip install 'pathjax\[te"):
        need("openai", "text")
