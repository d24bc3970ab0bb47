"""launch/gpu_smoke.sh: what it would run, and all of it on the CPU."""

import json
import sys
from pathlib import Path

import pytest


def test_dry_run_installs_one_extra_and_runs_one_benchmark(cluster):
    options = ("--dry-run", "--install", "--out=/o", "--", "--config.models=L/16")
    done = cluster.run("gpu_smoke.sh", *options)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert r"/..\[cuda\]" in text and "nvidia-smi" in text
    assert (
        "JAX_PLATFORMS=cuda pathjax bench accelerator --out /o/accelerator.json "
        "--config.models=L/16" in text
    )


def test_a_wrong_word_is_told(cluster):
    assert cluster.run("gpu_smoke.sh", "--tpu").returncode == 2


@pytest.mark.slow
def test_all_of_it_on_the_cpu(cluster):
    path = f"{Path(sys.executable).parent}:{cluster.environment()['PATH']}"
    out = cluster.root / "out"
    done = cluster.run("gpu_smoke.sh", "--cpu", f"--out={out}", PATH=path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "passed; results in" in done.stdout
    result = json.loads((out / "accelerator.json").read_text())
    checks = result["device"]["numerics"]
    assert {c["state"] for c in checks} == {"passed", "skipped"}
    assert {c["what"] for c in checks if c["state"] == "skipped"} == {
        "attention: cudnn"
    }
    (model,) = result["models"]
    for task in ("train", "embed"):
        rows = model[task]["batches"]
        assert [row["batch"] for row in rows] == [2, 4] and not model[task]["ended"]
        for row in rows:
            assert row["images_per_s"] > 0 and row["of_matrix"] > 0
            assert 0 <= row["data_wait"] <= 1 and row["cores_needed"] > 0
            assert row["peak_bytes"] is None and row["mfu"] is None
    # A training step is three forward passes and the gene MLP's.
    train, embed = (
        model[t]["batches"][-1]["flops_per_image"] for t in ("train", "embed")
    )
    assert 2.5 < train / embed < 6
    assert model["train"]["batches"][-1]["plan_bytes"] > 1 << 20
    page = (out / "accelerator.md").read_text()
    assert "reports no memory_stats" in page and "**not measured**" in page


@pytest.mark.slow
def test_without_the_device_it_fails(cluster):
    path = f"{Path(sys.executable).parent}:{cluster.environment()['PATH']}"
    cluster.fake("nvidia-smi")
    done = cluster.run("gpu_smoke.sh", f"--out={cluster.root / 'out'}", PATH=path)
    assert done.returncode != 0 and "passed; results in" not in done.stdout
