"""The process that plans: its environment, its errors, and a plan from end to end."""

import importlib.util
import json

import pytest

from pathjax.cli import main
from pathjax.commands import plan as command
from pathjax.parallel.hardware import TargetError, parse_target
from pathjax.plan import PlanError, process
from pathjax.plan.process import environment, make_plan

SMOKE = "configs/tcga.py:contrastive,smoke"
REQUEST = {
    "config": SMOKE,
    "overrides": {},
    "target": "cpu:2",
    "genes": None,
    "text_dim": None,
    "rows": None,
    "steps": ["train"],
    "tries": 0,
}


def test_environments(monkeypatch):
    monkeypatch.setenv(
        "XLA_FLAGS", "--xla_a=1 --xla_force_host_platform_device_count=3"
    )
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "somewhere")
    cpu = environment(parse_target("cpu:5"))
    assert cpu["XLA_FLAGS"] == "--xla_a=1 --xla_force_host_platform_device_count=5"
    assert cpu["JAX_PLATFORMS"] == "cpu" and "JAX_COMPILATION_CACHE_DIR" not in cpu
    tpu = environment(parse_target("v5e:4x4"))
    assert tpu["TPU_SKIP_MDS_QUERY"] == "1" and tpu["JAX_PLATFORMS"] == "cpu"


def test_targets_are_checked_before_a_process_starts(monkeypatch):
    def never(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(process.subprocess, "Popen", never)
    with pytest.raises(TargetError, match="no chip 'v9'"):
        make_plan(REQUEST | {"target": "v9:1"})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match=r"pip install 'pathjax\[plan\]'"):
        make_plan(REQUEST | {"target": "v5e:4x4"})


def test_invalid_options_are_errors(capsys):
    line = ["plan", f"--config={SMOKE}", "--target=cpu:2"]
    assert main([*line, "--steps=train,tests"]) == 1
    assert "expected some of train,validation" in capsys.readouterr().err
    assert main([*line, "--mfu=40"]) == 1
    assert "expected a fraction" in capsys.readouterr().err


def test_does_not_fit_has_an_exit_status_of_its_own(monkeypatch, capsys):
    refused = {
        "step": "train",
        "overflow": {"needed": 2, "limit": 1, "buffers": [], "message": "too much"},
        "arguments": [],
        "values": [],
        "remedies": [],
    }
    found = {
        "target": "cpu:2",
        "chips": 2,
        "chip": {"title": "CPU"},
        "basis": "made up",
        "versions": {},
        "config": {"name": "x"},
        "train_samples": None,
        "does_not_fit": refused,
    }
    asked = []

    def answer(request, report):
        asked.append(request)
        return dict(found)

    monkeypatch.setattr(process, "make_plan", answer)
    line = ["plan", f"--config={SMOKE}", "--target=cpu:2", "--config.optim.lr=1"]
    assert main(line) == command.EXIT_DOES_NOT_FIT == 3
    assert "DOES NOT FIT: the train step. too much" in capsys.readouterr().out
    assert asked[0]["overrides"] == {"optim.lr": "1"}


@pytest.mark.slow
def test_a_plan_for_simulated_devices(tmp_path, capsys):
    out = tmp_path / "plan.json"
    line = ["plan", f"--config={SMOKE}", "--target=cpu:2", f"--json={out}"]
    assert main([*line, "--steps=train,embedding"]) == 0
    found = json.loads(out.read_text())
    assert [step["name"] for step in found["steps"]] == ["train", "embedding"]
    assert found["devices"] == 2 and found["train_samples"] is None
    assert "Memory per device" in capsys.readouterr().out
    assert main([*line, "--config.data.batch=7"]) == 1
    assert "data.batch=7 does not divide over 2 devices" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_for_a_pod(tmp_path, capsys):
    """The TPU's own compiler, for 16 absent chips."""
    pytest.importorskip("libtpu", reason="needs the extra pathjax[plan]")
    out = tmp_path / "plan.json"
    line = ["plan", f"--config={SMOKE}", "--target=v5e:4x4", f"--json={out}"]
    options = ["--config.data.batch=16", "--config.mesh.fsdp=4", "--steps=train"]
    assert main([*line, *options, "--price-per-chip-hour=1.2"]) == 0
    found = json.loads(out.read_text())
    (step,) = found["steps"]
    assert step["exact"] and step["memory"]["peak"] < 16 << 30
    assert step["memory"]["code"] > 0
    assert {one["group"] for one in step["collectives"]} >= {16}
    bound = step["bound"]
    assert bound["seconds"] == max(bound["compute"], bound["memory"], bound["links"])
    assert found["run"]["at the bound"]["cost"] > 0
    # A batch that no chip can hold is refused, and a smaller one proposed.
    huge = ["--config.data.batch=8388608", "--steps=train", "--tries=0"]
    assert main([*line, *huge]) == command.EXIT_DOES_NOT_FIT
    text = capsys.readouterr().out
    assert "DOES NOT FIT" in text and "Largest arrays computed" in text
