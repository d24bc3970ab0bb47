"""The demo's stages at smoke size; its real size is in test_readme.py."""

import json

import pytest

from pathjax.commands.demo import run


@pytest.mark.slow
def test_all_stages_run_and_a_second_call_repeats_nothing(tmp_path, capsys):
    report = run(tmp_path, size="smoke")
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "index.html")
    assert "SYNTHETIC" in (tmp_path / "index.html").read_text()
    table = (report / "table.md").read_text()
    assert "SYNTHETIC" in table and "mean delta" in table
    entries = json.loads((tmp_path / "results.json").read_text())["entries"]
    models = {entry["model"] for entry in entries}
    assert models == {"base", "contrastive", "regression"}
    assert {entry["audit"]["status"] for entry in entries} == {"clean"}
    models = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")}
    run(tmp_path, size="smoke")
    assert models == {p: p.stat().st_mtime_ns for p in models}
