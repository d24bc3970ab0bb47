"""Scores of gene sets: against NumPy, trained on and scored as genes are."""

import numpy as np
import pytest
from extras import need
from tiny_study import config_for

from pathjax.cli import main
from pathjax.data.check import check_study
from pathjax.data.set_scores import score_sets, ssgsea
from pathjax.data.study import Study, StudyError
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.models.model_file import load_model
from pathjax.train.trainer import train


@pytest.fixture(scope="module")
def gmt(tiny_study, tmp_path_factory):
    genes = list(tiny_study.expression().var_names)
    sets = {"FIRST": genes[:6], "SECOND": [*genes[4:9], "Q"], "SMALL": ["Q", genes[9]]}
    path = tmp_path_factory.mktemp("sets") / "sets.gmt"
    path.write_text("\n".join("\t".join([n, "", *own]) for n, own in sets.items()))
    return path


@pytest.fixture(scope="module")
def scored(tiny_study, gmt, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "study"
    words = ["data", "gene-sets", str(tiny_study.root), "--out", str(out)]
    assert main([*words, "--gmt", str(gmt), "--split", "main"]) == 0
    return Study(out)


def test_the_mean_z_score_is_by_the_fold(tiny_study, scored):
    assert not check_study(scored).problems
    found, values = scored.expression(), tiny_study.expression().X
    mean, std = values[:8].mean(axis=0), values[:8].std(axis=0)
    z = (values - mean) / std
    expected = np.stack([z[:, :6].mean(axis=1), z[:, 4:9].mean(axis=1)], axis=1)
    np.testing.assert_allclose(found.X, expected, atol=1e-4)
    assert list(found.var_names) == ["FIRST", "SECOND"]
    record = scored.meta["provenance"]["gene_set_scores"]
    assert record["left_out"] == {"SMALL": 1} and record["fit"]["samples"] == 8


def test_a_gene_that_is_constant_in_the_fold_is_left_out(
    tiny_study, gmt, tmp_path, monkeypatch
):
    """Of 8 times 0.7 its standard deviation in float32 is 6e-8."""
    made = tiny_study.expression()
    made.X[:8, 0] = 0.7
    assert made.X[:8].std(axis=0)[0] > 0
    monkeypatch.setattr(Study, "expression", lambda self: made.copy())
    how = {"method": "mean_z", "split": "main", "fit": "train"}
    _, notes = score_sets(tiny_study, tmp_path / "scored", gmt, **how)
    assert any("of 19 genes are in none" in note for note in notes)


@pytest.mark.slow
def test_sets_are_targets_and_tasks_by_name(scored, tmp_path):
    values = {"objective.name": "regression", "data.genes": 2, "optim.steps": 2}
    train(config_for(scored, **values), tmp_path / "run")
    panel = load_model(tmp_path / "run").meta["panel"]
    assert set(panel["genes"]) == {"FIRST", "SECOND"}
    assert panel["unit"] == "mean z-score of genes"
    features = np.random.default_rng(0).normal(size=(len(scored), 3))
    task = Task(
        *("sets", scored.name, None, "expression", "main", "val", "train"),
        genes=("SECOND",),
    )
    found = run_task(task, scored, features.astype(np.float32))
    assert found.truth.shape[1] == 1 and np.isfinite(found.value)


def test_ssgsea_is_barbies_running_sum():
    need("gseapy")
    random = np.random.default_rng(3)
    values = random.normal(size=(4, 30)).astype(np.float32)
    members = [(0, 4, 7, 20), (1, 2, 3)]

    def score(row, genes):
        rank = row.argsort().argsort() + 1.0
        order = np.argsort(-row)
        inside = np.isin(order, genes)
        weight = np.where(inside, rank[order] ** 0.25, 0)
        hit = np.cumsum(weight) / weight.sum()
        miss = np.cumsum(~inside) / (~inside).sum()
        return (hit - miss).sum()

    expected = np.array([[score(row, genes) for genes in members] for row in values])
    found = ssgsea(values, members)
    # gseapy scales by a constant; the order and the ratios are what counts.
    np.testing.assert_allclose(found / expected, (found / expected)[0, 0], rtol=1e-3)


def test_what_cannot_be_scored(tiny_study, gmt, tmp_path):
    def scores(out=tmp_path / "new", **options):
        options = {"method": "mean_z", "split": "main", "fit": "train"} | options
        score_sets(tiny_study, out, gmt, **options)

    with pytest.raises(StudyError, match="--method: expected mean_z or ssgsea, got"):
        scores(method="gsva")
    with pytest.raises(StudyError, match="exists: give --out a new folder"):
        scores(out=tmp_path)
    with pytest.raises(StudyError, match="none of 3 gene sets has 9 of the measured"):
        scores(min_genes=9)
    assert not (tmp_path / "new").exists()
