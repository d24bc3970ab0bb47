"""launch/slurm.sbatch: what it submits, and what it does inside the job."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launch_calls import TRAIN, named

SCRIPT = Path(__file__).parents[2] / "launch/slurm.sbatch"


@pytest.fixture
def slurm(cluster):
    cluster.fake("sbatch")
    cluster.fake("scontrol")
    cluster.fake("pathjax", 'exit "$(cat "$FAKE/plan" 2>/dev/null || echo 0)"')
    cluster.fake("srun", 'exit "$(cat "$FAKE/code")"')
    cluster.fake("python", "next steps")  # of the newest checkpoint
    cluster.answers("steps", "10")
    return cluster


def in_job(slurm, code, **more):
    (slurm.root / "code").write_text(str(code))
    return slurm.run("slurm.sbatch", "--in-job", *TRAIN, SLURM_JOB_ID="7", **more)


def test_plans_for_all_gpus_and_submits_itself(slurm):
    done = slurm.run(
        "slurm.sbatch",
        "--nodes=4",
        "--gpus=8",
        "--sbatch=--partition=gpu",
        "--",
        *TRAIN,
    )
    assert done.returncode == 0, done.stderr
    plan, submitted = slurm.calls()
    assert plan[:2] == ["pathjax", "plan"] and plan[-1] == "--target=h100:32"
    assert submitted == [
        "sbatch",
        "--nodes=4",
        "--gpus-per-node=8",
        "--ntasks-per-node=8",
        "--partition=gpu",
        str(SCRIPT),
        "--in-job",
        *TRAIN,
    ]


def test_a_plan_that_does_not_fit_is_not_submitted(slurm):
    (slurm.root / "plan").write_text("1")
    assert slurm.run("slurm.sbatch", "--", *TRAIN).returncode == 1
    assert named(slurm.calls(), "sbatch") == []


def test_dry_run_calls_nothing(slurm):
    done = slurm.run("slurm.sbatch", "--dry-run", "--skip-plan", "--", *TRAIN)
    assert done.returncode == 0 and slurm.calls() == []
    assert "sbatch --nodes=1" in done.stdout and "srun" in done.stdout
    assert "pathjax plan" not in done.stdout


@pytest.mark.parametrize(
    "words", [("--", "--config=c.py"), ("--nodes=0", "--", *TRAIN), ("--fast",)]
)
def test_a_wrong_line_is_told(slurm, words):
    assert slurm.run("slurm.sbatch", *words).returncode == 2
    assert slurm.calls() == []


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (134, 134)])
def test_an_end_is_an_end(slurm, code, ends):
    done = in_job(slurm, code)
    assert done.returncode == ends
    assert named(slurm.calls(), "scontrol") == []
    (step,) = named(slurm.calls(), "srun")
    assert step[-2 - len(TRAIN) :] == ["train", *TRAIN, "--multihost"]


@pytest.mark.parametrize("code", [75, 143])
def test_a_stopped_run_goes_back_into_the_queue(slurm, code):
    assert in_job(slurm, code).returncode == 0
    assert slurm.calls()[-1] == ["scontrol", "requeue", "7"]


@pytest.mark.parametrize("code", [137, 253])
@pytest.mark.parametrize(
    ("steps", "requeued"),
    [
        (("None", "5"), True),
        (("10", "20"), True),
        (("10", "10"), False),
        (("None", "None"), False),
        (("10", "unknown"), False),
    ],
)
def test_a_killed_run_goes_back_if_it_has_a_new_checkpoint(
    slurm, code, steps, requeued
):
    slurm.answers("steps", *steps)
    done = in_job(slurm, code)
    assert done.returncode == (0 if requeued else code)
    assert named(slurm.calls(), "scontrol") == (
        [["scontrol", "requeue", "7"]] if requeued else []
    )
    assert (f"new checkpoint (newest: {steps[0]})" in done.stderr) != requeued
    first = slurm.calls()[0]
    assert first[:2] == ["python", "-c"] and first[-1] == "/mnt/pathjax/r1"


def test_a_job_without_python_still_trains(slurm):
    slurm.fake("python", "exit 1")
    assert in_job(slurm, 0).returncode == 0
    assert in_job(slurm, 137).returncode == 137


@pytest.mark.parametrize("code", [75, 137])
def test_restarts_have_an_end(slurm, code):
    slurm.answers("steps", "10", "20")
    assert in_job(slurm, code, SLURM_RESTART_COUNT="50").returncode == code
    assert named(slurm.calls(), "scontrol") == []


def test_a_signal_to_the_script_waits_for_the_processes_to_save(slurm):
    slurm.fake("srun", 'until [ -f "$FAKE/saved" ]; do sleep 0.02; done; exit 75')
    job = subprocess.Popen(
        [str(SCRIPT), "--in-job", *TRAIN],
        env=slurm.environment(SLURM_JOB_ID="7"),
        stdout=subprocess.PIPE,
        text=True,
    )
    while not named(slurm.calls(), "srun"):
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGTERM)
    assert "waiting" in job.stdout.readline()
    (slurm.root / "saved").touch()
    job.communicate(timeout=20)
    assert job.returncode == 0
    assert slurm.calls()[-1] == ["scontrol", "requeue", "7"]


def test_the_directives_ask_for_a_signal_to_the_processes_and_for_requeueing():
    text = SCRIPT.read_text(encoding="utf-8")
    words = [line.split()[1] for line in text.splitlines() if line[:8] == "#SBATCH "]
    # Without B: the signal goes to the processes, not to the shell.
    assert "--signal=TERM@120" in words and "--requeue" in words
    assert "--open-mode=append" in words
