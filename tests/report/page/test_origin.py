"""Provenance: each thing once, configs without their panels, commands in order."""

import json
import sys

from pathjax.evals.results import read_results
from pathjax.report.page.origin import describe_origin


def test_what_is_on_record(run, tmp_path, monkeypatch):
    study = tmp_path / "study"
    study.mkdir()
    build = {"provenance": {"command": "pathjax data demo --out 'a b'"}}
    (study / "study.json").write_text(json.dumps(build), encoding="utf-8")
    train = tmp_path / "tuned-0"
    train.mkdir()
    config = {
        "config": {"study": str(study), "optim": {"lr": 0.1, "weights": {}}},
        "panel": {"genes": ["A", "B"]},
        "versions": {"jax": "0.10"},
    }
    (train / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["/bin/pathjax", "report", "a run", "--html"])
    results = read_results(run)
    got = describe_origin([results], {"tuned-0": train, "bare": tmp_path / "bare"})
    assert got["written"] == [{"folder": str(run), **results.provenance}]
    assert got["studies"] == [
        {"study": "cohort", "fingerprint": "f", "synthetic": False}
    ]
    assert [(m["model"], m["seed"]) for m in got["models"]] == [
        ("base", None),
        ("tuned", 0),
        ("tuned", 1),
        ("tuned", 2),
        ("colour", None),
    ]
    assert got["protocols"] == [
        {"protocol": "linear/1", "tasks": ["kind"]},
        {"protocol": "ridge/1", "tasks": ["genes"]},
    ]
    (shown,) = got["configs"]
    assert shown == {
        "run": "tuned-0",
        "lines": [
            f"config.study={json.dumps(str(study))}",
            "config.optim.lr=0.1",
            "config.optim.weights={}",
            'versions.jax="0.10"',
        ],
    }
    assert got["commands"][0] == build["provenance"]["command"]
    assert got["commands"][-1] == "pathjax report 'a run' --html"
