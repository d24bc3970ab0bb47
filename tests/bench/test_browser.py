"""Which browser is found, and what is said where there is none."""

import shutil

import pytest

from pathjax.bench.browser import find_chromium
from pathjax.bench.options import BenchError


def test_the_first_on_the_path_or_the_one_named(tmp_path, monkeypatch):
    for name in ("google-chrome", "chromium-browser", "own"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PATHJAX_CHROMIUM", raising=False)
    assert find_chromium() == str(tmp_path / "chromium-browser")
    monkeypatch.setenv("PATHJAX_CHROMIUM", str(tmp_path / "own"))
    assert find_chromium() == str(tmp_path / "own")


@pytest.mark.parametrize("named", [None, "/nowhere/chrome"])
def test_none(monkeypatch, named):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    if named:
        monkeypatch.setenv("PATHJAX_CHROMIUM", named)
    else:
        monkeypatch.delenv("PATHJAX_CHROMIUM", raising=False)
    with pytest.raises(BenchError, match=named or "chromium, chromium-browser"):
        find_chromium()
