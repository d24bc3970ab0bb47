"""launch/array_slurm.sh: the array job and the join that it submits."""

import shlex
import subprocess

import pytest
from launch_calls import named

from pathjax.cli import build_parser
from pathjax.parallel.shard import Shard

EMBED = ("embed", "runs/a", "/shared/my study", "--out", "/shared/a.h5")


@pytest.fixture
def slurm(cluster):
    cluster.fake("sbatch", "next jobs")
    cluster.answers("jobs", "7;main", "8;main")
    return cluster


def test_an_array_of_shards_and_a_join_after_them(slurm):
    words = ["--shards=16", "--sbatch=--gpus=1", "--sbatch=--account=LAB"]
    done = slurm.run("array_slurm.sh", *words, "--join=--mem=8G", "--", *EMBED)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "submitted 7, 16 shards, and 8, the join\n"
    array, join = slurm.calls()
    assert array[:3] == ["sbatch", "--parsable", "--array=1-16"]
    assert {"--requeue", "--gpus=1", "--account=LAB"} < {*array}
    assert {"--dependency=afterok:7", "--kill-on-invalid-dep=yes"} < {*join}
    assert "--mem=8G" in join and "--gpus=1" not in join
    line = shlex.join(["pathjax", *EMBED])
    assert shlex.split(join[-1]) == [f"--wrap={line.split()[0]}", *EMBED]
    # What the job's shell makes of the line, in the last of the jobs.
    shown = subprocess.run(
        [
            "sh",
            "-c",
            array[-1].removeprefix("--wrap=").replace("pathjax", "printf '%s\n'"),
        ],
        env={"SLURM_ARRAY_TASK_ID": "16"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown == [*EMBED, "--shard", "16/16"]
    args = build_parser().parse_args(shown)
    assert Shard.parse(args.shard) == Shard(16, 16)


@pytest.mark.parametrize(
    ("code", "restarts", "ends"),
    [(0, "0", 0), (137, "4", 0), (137, "5", 137), (1, "0", 1)],
)
def test_a_shard_that_was_killed_is_requeued(slurm, code, restarts, ends):
    slurm.run("array_slurm.sh", "--shards=2", "--", *EMBED)
    array = slurm.calls()[0]
    slurm.fake("pathjax", f"exit {code}")
    slurm.fake("scontrol")
    job = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "9"}
    job["SLURM_RESTART_COUNT"] = restarts
    line = ["sh", "-c", array[-1].removeprefix("--wrap=")]
    done = subprocess.run(line, check=False, env=slurm.environment(**job))
    assert done.returncode == ends
    called = named(slurm.calls(), "scontrol")
    assert called == (
        [["scontrol", "requeue", "9"]] if (code, ends) == (137, 0) else []
    )


def test_a_dry_run_submits_nothing(slurm):
    done = slurm.run("array_slurm.sh", "--shards=2", "--dry-run", "--", *EMBED)
    assert done.returncode == 0 and slurm.calls() == []
    assert "--array=1-2" in done.stderr and "afterok:JOB" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", *EMBED], "--shards=: expected a whole number"),
        (["--shards=0", "--", *EMBED], "--shards=0: expected"),
        (["--shards=2", "--", "train", "--workdir=a"], "after -- expected embed"),
        (["--shards=2", "--", "text", "show"], "after -- expected embed"),
        (["--shards=2"], "after -- expected embed"),
        (["--shards=2", "--", *EMBED, "--shard=1/2"], "--shard is set here"),
        (["--fast"], "unknown option --fast"),
    ],
)
def test_a_wrong_line_is_refused(slurm, words, said):
    done = slurm.run("array_slurm.sh", *words)
    assert done.returncode == 2 and said in done.stderr and slurm.calls() == []
    assert "--shards   number of jobs" in done.stderr and "set -euo" not in done.stderr


def test_a_refused_array_has_no_join(slurm):
    slurm.fake("sbatch", "echo 'no such account' >&2; exit 1")
    done = slurm.run("array_slurm.sh", "--shards=2", "--", *EMBED)
    assert done.returncode == 1 and "no such account" in done.stderr
    assert len(slurm.calls()) == 1
