"""`pathjax sweep --slurm`: the calls of sbatch."""

import shlex

import pytest
from tiny_study import config_for

from pathjax.cli import main

CONFIG = """
from tiny_study import config_for

class study:
    root = {root!r}

def get_config(arg=None):
    return config_for(study)
"""


@pytest.fixture
def words(tiny_study, tmp_path):
    assert config_for(tiny_study).optim.lr  # what CONFIG refers to
    (tmp_path / "config.py").write_text(CONFIG.format(root=str(tiny_study.root)))
    return [
        *("sweep", f"--config={tmp_path / 'config.py'}", "--config.name=a b"),
        *("--grid", "optim.lr=1e-4,1e-3"),
        *("--seeds=3", f"--out={tmp_path / 'out'}", "--tasks", "demo"),
        *("--study", str(tiny_study.root)),
    ]


def test_slurm_gets_one_array_job_and_the_job_of_the_table(
    words, tmp_path, monkeypatch, capsys
):
    log = tmp_path / "calls"
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" END >> {log}\necho "17;cluster"\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    assert main([*words, "--slurm", "--sbatch=--partition=gpu"]) == 0
    array, table = (call.split("\n") for call in log.read_text().split("\nEND\n")[:2])
    assert "--array=0-5" in array
    assert "--partition=gpu" in array
    assert "--partition=gpu" in table
    assert "--dependency=afterany:17" in table
    wrapped = next(word for word in array if word.startswith("--wrap="))
    command = shlex.split(wrapped.removeprefix("--wrap="))
    assert command[:2] == ["pathjax", "sweep"]
    assert command[-2:] == ["--only", "$SLURM_ARRAY_TASK_ID"]
    assert "--config.name=a b" in command
    assert not {"--slurm", "--sbatch=--partition=gpu"} & set(command)
    assert "submitted job 17" in capsys.readouterr().out


def test_a_dry_run_prints_and_submits_nothing(words, capsys):
    assert main([*words, "--slurm", "--dry-run"]) == 0
    array, table = capsys.readouterr().out.splitlines()
    assert shlex.split(array)[:3] == ["sbatch", "--parsable", "--array=0-5"]
    assert "--dependency=afterany:JOB" in table


def test_refusals(words, tmp_path, monkeypatch, capsys):
    assert main([*words, "--dry-run"]) == 1
    assert "--dry-run and --sbatch are for --slurm" in capsys.readouterr().err
    assert main([*words, "--slurm", "--only=1"]) == 1
    assert "--only would not be used: --slurm" in capsys.readouterr().err
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    assert main([*words, "--slurm"]) == 1
    assert "sbatch refused the job: no such partition" in capsys.readouterr().err
