"""The bench of the linear probe, on a small sweep."""

import json

import pytest

from pathjax.bench import run_bench

SMALL = [
    "--config.rows=600", "--config.val_rows=100", "--config.width=4",
    "--config.runs=2", "--config.max_steps=30", "--config.peer_steps=7",
]  # fmt: skip


def test_the_command_writes_what_it_shows(tmp_path, capsys):
    run_bench("probe", False, tmp_path / "probe.json", SMALL)
    found = json.loads((tmp_path / "probe.json").read_text())
    ours = found["pathjax"]
    # 600 rows are 3 batches; 10 epochs at most, 2 runs.
    assert ours["steps"] == 3 * sum(ours["epochs"]) <= 60
    assert all(0 <= score <= 1 for score in ours["balanced_accuracy"])
    assert 0 < ours["warm_seconds"] < ours["cold_seconds"]
    assert found["peer_seconds"] == {}
    assert "2 runs of eva's linear probe" in capsys.readouterr().out


@pytest.mark.peer
def test_the_peer_is_extrapolated_to_our_steps(tmp_path):
    run_bench("probe", True, tmp_path / "probe.json", SMALL)
    found = json.loads((tmp_path / "probe.json").read_text())
    for name in ("torch", "torch, DataLoader"):
        a_step = found["peer_seconds_a_step"][name]
        wanted = a_step * found["pathjax"]["steps"]
        assert found["peer_seconds"][name] == pytest.approx(wanted)
