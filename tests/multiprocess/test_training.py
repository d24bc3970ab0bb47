"""Real processes that train together, against one process.

All have four devices in sum, so what differs is who holds them: losses, validation and
parameters agree to 1e-5.
"""

import shutil

import jax
import numpy as np
import pytest
from launched import run_together
from tiny_study import config_for

from pathjax.config import sections
from pathjax.models.model_file import load_model
from pathjax.parallel.mesh import make_mesh
from pathjax.train import train
from pathjax.train.telemetry.metric_writer import read_metrics

# The validation fold has two patients: one process's part of its only batch is padding.
SMALL = {"val_fold": "val", "eval.every": 2, "optim.steps": 4, "checkpoint.every": 2}
LONG = SMALL | {"eval.every": 5, "optim.steps": 10, "checkpoint.every": 10}
OBJECTIVES = {
    "contrastive": {},
    "regression": {"objective.name": "regression"},
    "dino": {
        "objective.name": "dino",
        "data.unit": "tile",
        "data.tiles": 1,
        "objective.prototypes": 16,
        "objective.hidden": 16,
        "objective.bottleneck": 8,
        "multicrop.local_px": 8,
        "multicrop.local_crops": 1,
        "val_fold": "",
        "eval.every": 0,
    },
}
CONFIG = """
from tiny_study import config_for

class study:
    root = {root!r}

def get_config(arg=None):
    return config_for(study, **{values!r})
"""


def run_processes(config, workdir, processes, **values):
    """Trains in real processes; every one has to succeed."""
    flags = [f"--config.{key}={value}" for key, value in values.items()]
    ends = run_together(
        ["train", f"--config={config}", f"--workdir={workdir}", *flags],
        processes,
        workdir.with_name(workdir.name + "-logs"),
        devices=4 // processes,
        sharded_bytes=1024,  # kernels
        PYTHONPATH="tests",
    )
    assert [one.status for one in ends] == [0] * processes
    return ends


def numbers(workdir):
    """What was measured at each step, without times."""
    kept = ("train/", "val/", "step")
    rows = read_metrics(workdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k.startswith(kept)} for row in rows]


def assert_agree(one, two):
    for a, b in zip(numbers(one), numbers(two), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], 1e-5, 1e-5, err_msg=name)
    a, b = load_model(one).params, load_model(two).params
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 0, 1e-5), a, b)


@pytest.fixture
def train_on_four(monkeypatch):
    """`train` on four of the simulated devices of this process."""

    def mesh(data, fsdp, _):
        return make_mesh(data, fsdp, among=jax.devices()[:4])

    monkeypatch.setattr(sections, "make_mesh", mesh)
    return train


@pytest.fixture(scope="module")
def config_files(tiny_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    runs = {name: LONG | values for name, values in OBJECTIVES.items()}
    for name, values in (runs | {"small": SMALL}).items():
        text = CONFIG.format(root=str(tiny_study.root), values=values)
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.mark.slow
def test_two_processes_are_one_run(tiny_study, config_files, train_on_four, tmp_path):
    """Two processes, with FSDP over them."""
    train_on_four(config_for(tiny_study, **SMALL), tmp_path / "one")
    ends = run_processes(
        config_files / "small.py", tmp_path / "two", 2, **{"mesh.fsdp": 4}
    )
    assert_agree(tmp_path / "one", tmp_path / "two")
    # Only the first process reports.
    assert "model.safetensors: 4 steps" in ends[0].text
    assert "steps" not in ends[1].text


@pytest.mark.slow
def test_four_processes_resume_a_run_of_one(
    tiny_study, config_files, train_on_four, tmp_path
):
    """From the middle, data-parallel."""
    train_on_four(config_for(tiny_study, **SMALL), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "four")
    shutil.rmtree(tmp_path / "four" / "checkpoints" / "4")
    ends = run_processes(
        config_files / "small.py", tmp_path / "four", 4, **{"mesh.fsdp": 1}
    )
    assert_agree(tmp_path / "one", tmp_path / "four")
    message = ends[0].text.replace("\n", " ")
    assert "resuming from step 2, saved elsewhere (layout processes: 1 there" in message
    assert not any("resuming" in end.text for end in ends[1:])


@pytest.mark.slow
@pytest.mark.parametrize("divided", [False, True], ids=["data", "fsdp"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_objectives_in_two_and_four_processes_as_in_one(
    tiny_study, config_files, train_on_four, tmp_path, name, divided
):
    train_on_four(config_for(tiny_study, **LONG | OBJECTIVES[name]), tmp_path / "one")
    for processes in (2, 4):
        workdir = tmp_path / f"of-{processes}"
        fsdp = {"mesh.fsdp": 4 if divided else 1}
        run_processes(config_files / f"{name}.py", workdir, processes, **fsdp)
        assert_agree(tmp_path / "one", workdir)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["towers", "full"])
def test_two_processes_start_from_a_model(tiny_study, train_on_four, tmp_path, mode):
    """With "towers" one of them embeds the study for both."""
    train_on_four(config_for(tiny_study, **SMALL), tmp_path / "base")
    values = {"init": str(tmp_path / "base"), "adapt.mode": mode, **SMALL}
    values["model.variant"] = ""
    train_on_four(config_for(tiny_study, **values), tmp_path / "one")
    text = CONFIG.format(root=str(tiny_study.root), values=values)
    (tmp_path / "adapt.py").write_text(text)
    run_processes(tmp_path / "adapt.py", tmp_path / "two", 2)
    assert_agree(tmp_path / "one", tmp_path / "two")
