"""The bench of the page, on a small one."""

import json

import pytest

from pathjax.bench import run_bench
from pathjax.bench.browser import find_chromium
from pathjax.bench.options import BenchError


@pytest.mark.slow
def test_the_command_measures_and_shows(tmp_path, capsys):
    try:
        find_chromium()
    except BenchError as error:
        pytest.skip(str(error))
    options = [
        f"--config.{name}={value}"
        for name, value in {"rounds": 2, "genes": 20, "points": 50, "spots": 9}.items()
    ]
    assert run_bench("page", False, tmp_path / "page.json", options) == 0
    assert "DOMContentLoaded" in capsys.readouterr().out
    found = json.loads((tmp_path / "page.json").read_text())
    assert len(found["seconds"]["drawn"]) == len(found["seconds"]["loaded"]) == 2
    assert all(0 < s for s in found["seconds"]["drawn"])
    assert found["bytes"] > 20_000 and found["options"]["genes"] == 20
