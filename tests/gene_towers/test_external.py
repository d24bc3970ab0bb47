"""The gene tower `external`: its scale, its run, and its way through the commands."""

import json
import logging

import h5py
import numpy as np
import pytest

from pathjax.cli import main
from pathjax.config import ConfigError
from pathjax.data.expression import fit_panel
from pathjax.data.study import StudyError
from pathjax.embeddings.shared_space import joint_embeddings
from pathjax.gene_towers import TowerError
from pathjax.gene_towers.external import External
from pathjax.train.trainer import train


@pytest.fixture
def vectors(tiny_study, tmp_path):
    """A file with a vector per sample, and of two that the study has not."""
    ids = [*tiny_study.samples["sample_id"], "X1", "X2"]
    values = 5 + 3 * np.random.default_rng(0).normal(size=(len(ids), 6))
    np.savez(tmp_path / "v.npz", sample_id=ids, values=values.astype(np.float32))
    return tmp_path / "v.npz"


def test_the_scale_is_that_of_the_training_samples(tiny_study, vectors, caplog):
    ids = list(tiny_study.expression().obs_names)
    panel = fit_panel(tiny_study.expression(), ids[:8], 5)
    tower = External(str(vectors))
    with caplog.at_level(logging.INFO):
        resources = tower.read(tiny_study, ids[:8], panel)
    assert "vectors of 14 samples, 2 of them not of this study" in caplog.text
    values = np.load(vectors)["values"]
    mean, std = values[:8].mean(axis=0), values[:8].std(axis=0).mean()
    found = tower.sample_vectors(resources)
    np.testing.assert_allclose(found.values, (values - mean) / std, rtol=1e-4)
    with pytest.raises(TowerError, match="expected vectors of 7 dimensions, as in"):
        tower.sample_vectors(resources | {"dimensions": 7, "mean": [0.0] * 7})
    with pytest.raises(TowerError, match="0 of 1 training samples, first .'Q'"):
        tower.read(tiny_study, ["Q"], panel)
    np.savez(vectors, sample_id=ids, values=np.ones((len(ids), 2)))
    with pytest.raises(TowerError, match="all training samples have one vector"):
        tower.read(tiny_study, ids, panel)


@pytest.mark.slow
def test_it_trains_is_evaluated_and_retrieves(
    check_run, tiny_study, vectors, tmp_path, capsys, config_of
):
    tower = {"name": "external", "vectors": str(vectors)}
    model = check_run(tower, val_fold="val", **{"eval.every": 2})
    assert model.params["expression"]["fc1"]["kernel"].shape == (6, 16)

    # Retrieval reads the file of training, or another; the vectors are what counts.
    run, other = tmp_path / "whole", tmp_path / "other.npz"
    values = dict(np.load(vectors))
    np.savez(other, **values | {"values": -values["values"]})
    _, there = joint_embeddings(model, tiny_study)
    _, here = joint_embeddings(model, tiny_study, vectors=other)
    assert np.isfinite(there).all() and np.abs(there - here).max() > 0.01
    np.savez(other, sample_id=values["sample_id"][1:], values=values["values"][1:])
    _, here = joint_embeddings(model, tiny_study, vectors=other)
    assert np.isnan(here[0]).all() and (here[1:] == there[1:]).all()

    tasks = [{"name": "recall", "study": "tiny", "target": None, "kind": "retrieval",
              "split": "main", "fit": None, "test": "val"}]  # fmt: skip
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    study = str(tiny_study.root)
    words = ["evaluate", f"a={run}", "--tasks", str(tmp_path / "tasks.json")]
    words += ["--study", study, "--out", str(tmp_path / "eval")]
    assert main(words) == 0
    entry = json.loads((tmp_path / "eval" / "results.json").read_text())
    (inputs,) = [one["inputs"] for one in entry["entries"]]
    assert len(inputs["vectors"]) == 64
    words = ["predict", str(run), study, "--reference", study, "--out"]
    words += [str(tmp_path / "predicted"), "--neighbours", "2"]
    capsys.readouterr()
    assert main([*words, "--reference-vectors", str(other)]) == 1
    assert "1 of 8 samples of the reference, first 'P00'" in capsys.readouterr().err
    vectors.rename(tmp_path / "moved.npz")
    assert main([*words, "--reference-vectors", str(tmp_path / "moved.npz")]) == 0

    # Another file under the same name is another run.
    other.rename(vectors)
    with pytest.raises(ConfigError, match="files of the objective: sha256"):
        train(config_of(tower, val_fold="val"), run)


def test_what_cannot_be_run(problems_of, tiny_study, tmp_path, capsys):
    assert "expression_tower.vectors is not set" in problems_of({"name": "external"})
    tower = {"name": "external", "vectors": "v.npz", "keys": "x"}
    assert "unknown option 'objective.expression_tower.keys'" in problems_of(tower)
    with h5py.File(tmp_path / "v.h5ad", "w") as file:
        file.create_group("obsm")
    with pytest.raises(StudyError, match="has no obsm 'X_uce': set key; it has none"):
        External(str(tmp_path / "v.h5ad"), "X_uce").read(tiny_study, [], None)
