"""launch/gpu_smoke.sh: what it would run, and all of it on the CPU."""

import sys
from pathlib import Path

import pytest


def test_dry_run_trains_in_bfloat16_and_compares_with_the_cpu(cluster):
    done = cluster.run("gpu_smoke.sh", "--dry-run", "--install", "--out=/o")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert r"/..\[cuda\]" in text and "nvidia-smi" in text
    assert "JAX_PLATFORMS=cuda pathjax train" in text
    assert "--config.model.dtype=bfloat16" in text
    assert "--out /o/cuda.h5" in text and "--out /o/cpu.h5" in text


def test_a_wrong_word_is_told(cluster):
    assert cluster.run("gpu_smoke.sh", "--tpu").returncode == 2


@pytest.mark.slow
def test_all_of_it_on_the_cpu(cluster):
    path = f"{Path(sys.executable).parent}:{cluster.environment()['PATH']}"
    out = cluster.root / "out"
    done = cluster.run("gpu_smoke.sh", "--cpu", f"--out={out}", PATH=path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "images/s on cpu" in done.stdout
    assert "passed; results in" in done.stdout


@pytest.mark.slow
def test_without_the_device_it_fails(cluster):
    path = f"{Path(sys.executable).parent}:{cluster.environment()['PATH']}"
    cluster.fake("nvidia-smi")
    done = cluster.run("gpu_smoke.sh", f"--out={cluster.root / 'out'}", PATH=path)
    assert done.returncode != 0 and "passed; results in" not in done.stdout
