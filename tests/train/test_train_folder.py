"""Nothing stale in a run's folder: one run at a time, weights by hash, finite numbers."""

import json
import os
import shutil
import socket

import numpy as np
import pytest
from stopping import Stopped, stop_at
from tiny_study import config_for

from pathjax.config import ConfigError, RunConfig
from pathjax.data.study import Study, sha256
from pathjax.models.model_file import FILE, load_model, save_model
from pathjax.train import hooks, train
from pathjax.train.hooks import NonFiniteError

SHORT = {"optim.steps": 3, "checkpoint.every": 1}
TUNED = SHORT | {"objective.name": "regression", "model.variant": ""}


@pytest.fixture(scope="module")
def base(tiny_study, tmp_path_factory):
    """A model that others are tuned from."""
    workdir = tmp_path_factory.mktemp("base")
    train(config_for(tiny_study, **SHORT), workdir)
    return workdir


@pytest.fixture
def copy_of_base(base, tmp_path):
    return shutil.copytree(base, tmp_path / "base")


def replace_weights(folder):
    """Another model under the same path."""
    model = load_model(folder)
    model.params["vit"]["cls_token"] = model.params["vit"]["cls_token"] + 1
    model.meta["audit"][0]["patients"] = []
    save_model(folder, model)


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_by_name(tiny_study, tmp_path):
    config, refused = config_for(tiny_study, **SHORT), []

    def second(done, note=""):
        with pytest.raises(ConfigError, match="is in use by another process") as error:
            train(config, tmp_path)
        refused.append(str(error.value))

    train(config, tmp_path, second)
    assert f"pid {os.getpid()} on {socket.gethostname()} since 20" in refused[0]
    assert train(config, tmp_path).step == 3  # the folder is free again


@pytest.mark.slow
def test_a_finished_model_is_not_overwritten_by_another_config(
    tiny_study, copy_of_base, caplog
):
    shutil.rmtree(copy_of_base / "checkpoints")
    before = (copy_of_base / FILE).read_bytes()
    for changes in ({"seed": 1}, {"objective.name": "regression"}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            train(config_for(tiny_study, **SHORT | changes), copy_of_base)
    assert (copy_of_base / FILE).read_bytes() == before
    train(config_for(tiny_study, **SHORT), copy_of_base)
    assert "it is trained again" in caplog.text


def test_a_model_that_no_run_wrote_is_not_overwritten(tiny_study, base, tmp_path):
    model = load_model(base)
    del model.meta["config"]
    save_model(tmp_path, model)
    with pytest.raises(ConfigError, match="was not written by a run"):
        train(config_for(tiny_study, **SHORT), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "towers"])
def test_a_base_replaced_during_an_interruption_is_refused(
    tiny_study, copy_of_base, tmp_path, mode
):
    config = config_for(tiny_study, init=str(copy_of_base), **TUNED)
    config.adapt.mode = mode
    workdir = tmp_path / "run"
    with pytest.raises(Stopped):
        train(config, workdir, stop_at(2))
    kept = {path.name: path.read_bytes() for path in workdir.glob("*.h5")}
    assert bool(kept) == (mode == "towers")
    replace_weights(copy_of_base)
    with pytest.raises(ConfigError, match=r"init: sha256 \w+ there, sha256 \w+ here"):
        train(config, workdir)
    assert kept == {path.name: path.read_bytes() for path in workdir.glob("*.h5")}


@pytest.mark.slow
def test_a_base_may_move(tiny_study, copy_of_base, tmp_path):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    with pytest.raises(Stopped):
        train(
            config_for(tiny_study, init=str(copy_of_base), **TUNED), workdir, stop_at(2)
        )
    copy_of_base.rename(moved)
    assert train(config_for(tiny_study, init=str(moved), **TUNED), workdir).step == 3


def test_the_lineage_travels_in_the_model(tiny_study, base, tmp_path):
    train(config_for(tiny_study, init=str(base), **TUNED), tmp_path / "one")
    train(config_for(tiny_study, init=str(tmp_path / "one"), **TUNED), tmp_path / "two")
    meta = load_model(tmp_path / "two").meta
    parents = [sha256(folder / FILE) for folder in (base, tmp_path / "one")]
    assert [parent["sha256"] for parent in meta["lineage"]] == parents
    assert [parent["stages"] for parent in meta["lineage"]] == [1, 2]
    assert len(meta["audit"]) == 3
    assert load_model(base).meta["lineage"] == []


def test_labels_replaced_during_an_interruption_are_refused(broken_copy, tmp_path):
    """The recorded fingerprint stays; what is read does not."""
    config = config_for(broken_copy, **SHORT)
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stop_at(2))
    expression = broken_copy.expression()
    expression.X[0] *= 1.001
    expression.write_h5ad(broken_copy.root / "expression.h5ad")
    with pytest.raises(ConfigError, match="file expression.h5ad of the study: sha256"):
        train(config, tmp_path / "run")


def with_folds(study, **folds):
    """Changes the split in place."""
    path = study.root / "splits" / "main.json"
    split = json.loads(path.read_text())
    split["folds"] |= folds
    path.write_text(json.dumps(split))
    return Study(study.root)


def test_a_validation_fold_without_negatives_is_refused(broken_copy, tmp_path):
    study = with_folds(broken_copy, val=["P08"], test=["P09", "P10", "P11"])
    with pytest.raises(ConfigError, match="fold 'val' share one patient_id"):
        train(config_for(study, val_fold="val", **{"eval.every": 1}), tmp_path / "a")
    pearson = {"objective.name": "regression", "objective.loss": "pearson"}
    with pytest.raises(ConfigError, match="'val' has 1 sample.*expected at least 2"):
        train(
            config_for(study, val_fold="val", **pearson, **{"eval.every": 1}),
            tmp_path / "c",
        )
    # Without validation, or without negatives, it does not matter.
    train(config_for(study, val_fold="val", **SHORT), tmp_path / "b")


def test_parameters_that_are_not_finite_are_never_written(tiny_study, tmp_path):
    """The loss of the last step is from before its update, and finite."""
    rates = {"optim.lr": 1e38, "optim.vit_lr": 1e3}
    values = SHORT | rates | {"optim.steps": 2}
    with pytest.raises(NonFiniteError, match="parameters are not finite after step 2"):
        train(config_for(tiny_study, **values), tmp_path)
    assert not (tmp_path / FILE).exists()
    assert not (tmp_path / "checkpoints" / "2").exists()


def test_a_validation_that_is_never_finite_gives_no_model(
    tiny_study, tmp_path, monkeypatch
):
    monkeypatch.setattr(hooks, "means_of", lambda totals: {"loss": float("nan")})
    values = SHORT | {"val_fold": "val", "eval.every": 1}
    with pytest.raises(NonFiniteError, match="val/loss was never finite"):
        train(config_for(tiny_study, **values), tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_batch_of_one_row_is_refused_where_rows_are_compared():
    """With one row the correlation is undefined: loss 1, gradient 0."""
    run = RunConfig().replace({"study": "s", "split": "main", "data.genes": 8})
    for values in ({}, {"objective.name": "regression", "objective.loss": "pearson"}):
        with pytest.raises(ConfigError, match="data.batch of at least 2, got 1"):
            run.replace(values | {"data.batch": 1})
    run.replace({"objective.name": "regression", "data.batch": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.lr", np.nan),
        ("optim.lr", np.inf),
        ("optim.weight_decay", -0.1),
        ("data.image_px", -16),
        ("data.genes", -1),
        ("data.batch", 0),
        ("data.batch", 1),
        ("data.stain", np.nan),
        ("model.width", -24),
        ("model.depth", -1),
        ("model.drop_path", np.nan),
        ("objective.embed_dim", -8),
        ("objective.dropout", np.nan),
        ("objective.chunk", -8),
        ("objective.image_expression", np.inf),
        ("mesh.fsdp", -1),
        ("log.stall_seconds", np.nan),
        ("checkpoint.keep", 0),
        ("eval.patience", -1),
        ("seed", -1),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(tiny_study, tmp_path, key, value):
    with pytest.raises(ValueError, match=key.rpartition(".")[2]):
        train(config_for(tiny_study, **{key: value}), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()
