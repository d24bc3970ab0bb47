"""The Slurm recipe: the job script that dask-jobqueue makes of it; no Slurm needed."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="comes with pathjax[slurm]")

PATH = Path(__file__).parents[2] / "launch" / "tile_slurm.py"
TILE = ["--", "--slides", "my slides.csv", "--out", "tiles", "--mpp", "1"]


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("tile_slurm", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_prints_the_job_and_the_command(recipe, capsys):
    options = ["--jobs=3", "--cores=4", "--memory=8GB", "--walltime=01:00:00"]
    options += ["--queue=cpu", "--directive=--constraint=x", "--prologue=module load a"]
    assert recipe.main([*options, "--dry-run", *TILE]) == 0
    lines = capsys.readouterr().out.splitlines()
    for wanted in (
        "#SBATCH -J pathjax-tile",
        "#SBATCH -p cpu",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH -t 01:00:00",
        "#SBATCH --constraint=x",
        "module load a",
        "# 3 jobs like this, and on this machine:",
    ):
        assert wanted in lines
    (worker,) = [line for line in lines if "dask_worker" in line]
    assert worker.startswith(sys.executable)
    assert "--nworkers 4" in worker and "--nthreads 1" in worker
    address = next(word for word in worker.split() if word.startswith("tcp://"))
    assert lines[-1].endswith(
        f"pathjax tile --slides 'my slides.csv' --out tiles --mpp 1 --scheduler {address}"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "wanted --slides and --out"),
        (["--", "--slides=a"], "wanted --out for"),
        (["--jobs=0", *TILE], "jobs: wanted 1 or more"),
        ([*TILE, "--workers=3"], "are set here"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(recipe, words, said, capsys):
    with pytest.raises(SystemExit):
        recipe.parse(words)
    assert said in capsys.readouterr().err
