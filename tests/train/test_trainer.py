"""One entry for all objectives: learning, resuming bit for bit, refusing what is bad."""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny_study import config_for

from pathjax.config import ConfigError
from pathjax.data.study import Study, StudyError
from pathjax.models.model_file import load_model
from pathjax.parallel.mesh import MeshError
from pathjax.train import train
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.hooks import NonFiniteError
from pathjax.train.telemetry.metric_writer import read_metrics


def run(study, workdir, **values):
    return train(config_for(study, **values), workdir)


def parameters(workdir):
    flat, _ = jax.tree.flatten_with_path(load_model(workdir).params)
    return {jax.tree_util.keystr(path): leaf for path, leaf in flat}


def assert_equal(one, two):
    a, b = parameters(one), parameters(two)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def contrastive(tiny_study, tmp_path_factory):
    """An undisturbed run that other tests compare with."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    result = run(tiny_study, workdir, val_fold="val", **{"eval.every": 3})
    return workdir, result


def test_a_run_leaves_what_it_promises(tiny_study, contrastive):
    workdir, result = contrastive
    assert result.step == 6 and result.best is not None
    model = load_model(result.model)
    assert model.meta["panel"]["samples"] == 8
    (seen,) = model.meta["audit"]
    assert seen["patients"] == [f"P{i:02d}" for i in range(8)]
    assert seen["fingerprint"] == tiny_study.fingerprint
    rows = read_metrics(workdir / "metrics.jsonl")
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "val/loss" in row] == [3, 6]
    fixed = json.loads((workdir / "config.json").read_text())
    assert fixed["config"]["optim"]["steps"] == 6


def test_a_stopped_run_resumes_bit_for_bit(tiny_study, contrastive, tmp_path):
    """Stopped inside the loop, as by a kill: after step 5, checkpoint at step 4."""

    class Stopped(Exception):
        pass

    def stop(done, note=""):
        if done == 5:
            raise Stopped

    config = config_for(tiny_study, val_fold="val", **{"eval.every": 3})
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stop)
    with Checkpoints(tmp_path / "run" / "checkpoints", 2) as checkpoints:
        assert checkpoints.latest() == 4
    train(config, tmp_path / "run")
    assert_equal(tmp_path / "run", contrastive[0])
    names = ("train/loss", "val/loss", "step")
    one, two = (
        [{n: row.get(n) for n in names} for row in read_metrics(d / "metrics.jsonl")]
        for d in (tmp_path / "run", contrastive[0])
    )
    assert one == two


@pytest.mark.slow
def test_joint_with_a_queue_resumes_bit_for_bit(tiny_study, tmp_path):
    """The queue, of more rows than a batch, is part of the checkpoint."""
    options = {"queue": 12, "reconstruction": 0.5, "soft_targets": 0.2}
    options = {f"objective.{name}": value for name, value in options.items()}
    options |= {"objective.name": "joint", "eval.every": 3, "anchor.weight": 0.0}

    class Stopped(Exception):
        pass

    def stop(done, note=""):
        if done == 5:
            raise Stopped

    config = config_for(tiny_study, val_fold="val", **options)
    train(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stop)
    train(config, tmp_path / "run")
    assert_equal(tmp_path / "run", tmp_path / "whole")
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")
    logged = set().union(*last)
    assert {"train/image_decoded", "val/regression", "val/contrastive"} <= logged
    assert {"train/loss_to_guess", "train/rank_image"} <= logged


def test_a_finished_run_is_left_alone(contrastive, tiny_study, tmp_path):
    workdir = tmp_path / "again"
    shutil.copytree(contrastive[0], workdir)
    before = (workdir / "model.safetensors").read_bytes()
    result = run(tiny_study, workdir, val_fold="val", **{"eval.every": 3})
    assert result.step == 6
    assert (workdir / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_devices_do_not_change_the_result(tiny_study, contrastive, tmp_path):
    """One device against eight, with four-fold FSDP."""
    run(tiny_study, tmp_path, val_fold="val", **{"eval.every": 3, "mesh.fsdp": 4})
    a, b = parameters(contrastive[0]), parameters(tmp_path)
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            {"objective.loss": "sigmoid", "objective.aggregator": "attention"},
            marks=pytest.mark.slow,
        ),
        {"objective.name": "regression"},
        pytest.param(
            {"objective.name": "regression", "objective.loss": "negative_binomial"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "objective.name": "dino",
                "data.unit": "tile",
                "data.tiles": 1,
                "objective.prototypes": 16,
                "objective.hidden": 16,
                "objective.bottleneck": 8,
                "multicrop.local_px": 8,
                "multicrop.local_crops": 1,
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["sigmoid", "mse", "negative_binomial", "dino"],
)
def test_every_objective_trains_with_the_one_trainer(tiny_study, tmp_path, values):
    result = run(tiny_study, tmp_path, **values, **{"optim.steps": 3})
    losses = [row["train/loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert result.step == 3 and np.isfinite(losses).all()
    assert "vit" in load_model(tmp_path).params


@pytest.mark.slow
def test_the_planted_signal_is_learned(tiny_study, tmp_path):
    run(tiny_study, tmp_path, **{"optim.steps": 40, "objective.name": "regression"})
    losses = [row["train/loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_fine_tuning_starts_from_the_base_and_remembers_its_patients(
    tiny_study, contrastive, tmp_path
):
    base = contrastive[0]
    frozen = {"init": str(base), "optim.freeze": ("^vit/",), "optim.steps": 2}
    run(tiny_study, tmp_path, **{"objective.name": "regression"}, **frozen)
    a, b = parameters(base), parameters(tmp_path)
    encoder = [key for key in b if key.startswith("['vit']")]
    assert encoder and all(np.array_equal(a[key], b[key]) for key in encoder)
    stages = load_model(tmp_path).meta["audit"]
    assert [one["objective"] for one in stages] == ["contrastive", "regression"]
    with pytest.raises(ValueError, match="does not fit the model"):
        run(tiny_study, tmp_path / "x", init=str(base), **{"model.width": 48})


@pytest.mark.slow
def test_early_stopping(tiny_study, tmp_path):
    result = run(
        tiny_study,
        tmp_path,
        val_fold="val",
        **{"eval.every": 1, "eval.patience": 2, "optim.lr": 0.0, "optim.steps": 50},
    )
    # A learning rate of 0 never improves on the first validation.
    assert result.step == 3
    again = run(
        tiny_study,
        tmp_path,
        val_fold="val",
        **{"eval.every": 1, "eval.patience": 2, "optim.lr": 0.0, "optim.steps": 50},
    )
    assert again == result


def test_a_loss_that_is_not_finite_names_the_step_and_the_samples(tiny_study, tmp_path):
    with pytest.raises(
        NonFiniteError, match=r"at step \d; the batch held 8 samples: P"
    ):
        run(tiny_study, tmp_path, **{"optim.lr": 1e30, "optim.clip": 0.0})
    record = json.loads((tmp_path / "nonfinite.json").read_text())
    assert len(record["samples"]) == 8 and record["step"] >= 1
    with Checkpoints(tmp_path / "checkpoints", 2) as checkpoints:
        assert (checkpoints.latest() or 0) < record["step"]


def test_what_cannot_be_run_is_refused_before_it_starts(tiny_study, tmp_path):
    with pytest.raises(MeshError, match="data.batch=6 does not divide over 8 devices"):
        run(tiny_study, tmp_path, **{"data.batch": 6, "mesh.data": 8})
    with pytest.raises(ConfigError, match="did you mean 'data.batch'"):
        run(tiny_study, tmp_path, **{"data.bacth": 6})
    with pytest.raises(StudyError, match="set data.genes to at most"):
        run(tiny_study, tmp_path, **{"data.genes": 5000})
    with pytest.raises(StudyError, match="no split 'mian'"):
        run(tiny_study, tmp_path, split="mian")
    assert not (tmp_path / "checkpoints").exists()


def test_another_run_in_the_folder_is_refused(tiny_study, contrastive, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(contrastive[0], workdir)
    same = {"val_fold": "val", "eval.every": 3}
    with pytest.raises(ConfigError, match=r"optim.lr: 0.003 there, 0.1 here"):
        run(tiny_study, workdir, **same, **{"optim.lr": 0.1})
    with pytest.raises(StudyError, match="was trained on 8 genes, this run has 7"):
        run(tiny_study, workdir, **same, **{"data.genes": 7})


def test_nan_in_expression_is_refused_with_its_place(broken_copy, tmp_path):
    path = broken_copy.root / "expression.h5ad"
    expression = broken_copy.expression()
    expression.X[1, 3] = np.nan
    expression.write_h5ad(path)
    with pytest.raises(StudyError, match="first sample 'P01', gene 'G003'"):
        run(Study(broken_copy.root), tmp_path)


@pytest.mark.slow
def test_a_sample_without_expression_is_refused_or_left_out(broken_copy, tmp_path):
    path = broken_copy.root / "expression.h5ad"
    broken_copy.expression()[1:].copy().write_h5ad(path)
    study = Study(broken_copy.root)
    with pytest.raises(StudyError, match=r"1 of 8 samples .*first \['P00'\]"):
        run(study, tmp_path)
    run(study, tmp_path, **{"data.drop_unpaired": True})
    assert "P00" not in load_model(tmp_path).meta["audit"][0]["patients"]
