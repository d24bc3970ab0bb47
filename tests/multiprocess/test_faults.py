"""What becomes of the others when one of two real processes fails, dies or is stopped."""

import signal

import numpy as np
import pytest
from launched import run_together, started
from safetensors.numpy import load_file
from tiny_study import build_tiny_study

from pathjax.parallel.preemption import EXIT_PREEMPTED

pytestmark = pytest.mark.slow

CONFIG = """
from tiny_study import config_for

class study:
    root = {root!r}

def get_config(arg=None):
    values = {{"optim.steps": 100, "checkpoint.every": 20, "objective.name": "regression"}}
    return config_for(study, **values)
"""
SETTINGS = {"devices": 1, "PYTHONPATH": "tests"}


@pytest.fixture(scope="module")
def command(tiny_study, tmp_path_factory):
    """Returns the words that train in a folder."""
    return command_for(tiny_study, tmp_path_factory.mktemp("config"))


def command_for(study, folder):
    config = folder / "config.py"
    config.write_text(CONFIG.format(root=str(study.root)))
    return lambda workdir: ["train", f"--config={config}", f"--workdir={workdir}"]


def train(command, workdir):
    ends = run_together(command(workdir), 2, workdir.with_suffix(".logs"), **SETTINGS)
    assert [one.status for one in ends] == [0, 0]
    return load_file(workdir / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    return train(command, tmp_path_factory.mktemp("whole") / "run")


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def wait_for_checkpoint(group, workdir):
    """Until the run is past its first checkpoint, by what the first process writes."""
    path = workdir / "metrics.jsonl"
    while not (path.exists() and '"step": 23' in path.read_text()):
        assert group.parent.poll() is None, group.told()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(
    command, undisturbed, tmp_path, victim
):
    workdir = tmp_path / "run"
    with started(command(workdir), 2, tmp_path / "logs", **SETTINGS) as group:
        wait_for_checkpoint(group, workdir)
        group.send(victim, signal.SIGKILL)
        ends = group.ended()
    assert ends[victim].status == -signal.SIGKILL
    other = ends[1 - victim]
    # Also when JAX aborts since the process with the coordinator is gone.
    assert other.status == EXIT_PREEMPTED, other.text
    assert any(
        words in other.text
        for words in ("which has probably died", "was aborted", "no sign of life")
    ), other.text
    assert_same(train(command, workdir), undisturbed)


@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_stops_all_at_the_same_step(
    command, undisturbed, tmp_path, told
):
    workdir = tmp_path / "run"
    with started(command(workdir), 2, tmp_path / "logs", **SETTINGS) as group:
        wait_for_checkpoint(group, workdir)
        # JAX looks for a signal once a second, in which a fast machine ends the run: no
        # step is taken while the other process stands still.
        with group.held(1 - told):
            group.send(told, signal.SIGTERM)
            group.wait_for(told, "SIGTERM caught")
        ends = group.ended()
    assert [one.status for one in ends] == [EXIT_PREEMPTED] * 2, group.told()
    said = [
        next(line for line in one.text.splitlines() if "stopped at step" in line)
        for one in ends
    ]
    assert said[0] == said[1]
    assert_same(train(command, workdir), undisturbed)


def test_processes_with_different_configs_are_refused(command, tmp_path):
    ends = run_together(
        command(tmp_path / "run"),
        2,
        tmp_path / "logs",
        differing={1: ["--config.optim.lr=0.1"]},
        **SETTINGS,
    )
    for one in ends:
        assert one.status == 1
        assert "pathjax: process 1 of 2 differs from process 0" in one.text
        assert "config.optim.lr: 0.1 there, 0.003 on process 0" in one.text
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_damaged_shard_read_by_one_process_ends_all(tmp_path):
    """Only the process that reads the patient meets the error; the other is told."""
    study = build_tiny_study(tmp_path / "study")
    for shard in sorted(study.root.glob("tiles/*.array_record"))[:2]:
        whole = shard.read_bytes()
        shard.write_bytes(whole.replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    command = command_for(study, tmp_path)
    ends = run_together(command(tmp_path / "run"), 2, tmp_path / "logs", **SETTINGS)
    assert [one.status for one in ends] == [1, 1]
    for one in ends:
        assert "chunk data hash mismatch" in one.text, one.text
    assert sum("ends too" in one.text for one in ends) == 1


def test_a_loss_that_is_not_finite_ends_all_alike(command, tmp_path):
    words = [*command(tmp_path / "run"), "--config.optim.lr=1e30"]
    words.append("--config.optim.clip=0.0")
    ends = run_together(words, 2, tmp_path / "logs", **SETTINGS)
    for one in ends:
        assert one.status == 1
        assert "pathjax: the loss is" in one.text and "ends too" not in one.text
