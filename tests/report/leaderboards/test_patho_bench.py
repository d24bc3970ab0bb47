"""Patho-Bench's files; scikit-learn's scores of each fold are the oracle."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from extras import extra

from pathjax.evals.tasks import Task
from pathjax.report.compare import compare, load_runs
from pathjax.report.leaderboards import write_layout

metrics = extra("sklearn.metrics")


def probabilities(outcome, seed):
    noise = np.random.default_rng(seed).dirichlet(np.ones(3), outcome.n)
    score = ((noise + np.eye(3)[outcome.prediction]) / 2).astype(np.float32)
    auroc = {"metric": "auroc", "value": 0.8, "chance": 0.5, "values": []}
    task = dataclasses.replace(outcome.task, more_metrics=("auroc",))
    return dataclasses.replace(
        outcome, task=task, prediction=score, more_metrics=(auroc,)
    )


def read(path):
    return json.loads(path.read_text())


def test_folds_and_their_mean(tmp_path, outcomes, crossed):
    made = crossed(probabilities(outcomes.class_outcome("KRAS", 0.7, 3), 1))
    outcomes.write_model(tmp_path / "run", "base", [made])
    out = tmp_path / "out"
    _, notes = write_layout(load_runs([tmp_path / "run"]), "patho-bench", out)
    assert any("linear/1 is not its own protocol, so" in note for note in notes)
    folder = out / "cohort" / "KRAS" / "base_linprobe" / "protocol=linear-1"
    each = []
    for k, rows in enumerate((slice(0, 25), slice(25, 45), slice(45, 60))):
        truth, score = made.truth[rows], made.prediction[rows].astype(float)
        guess = score.argmax(axis=1)
        score /= score.sum(axis=1, keepdims=True)
        each.append({
            "macro-ovr-auc": metrics.roc_auc_score(truth, score, multi_class="ovr"),
            "bacc": metrics.balanced_accuracy_score(truth, guess),
            "acc": metrics.accuracy_score(truth, guess),
            "macro-f1": metrics.f1_score(truth, guess, average="macro"),
        })  # fmt: skip
        found = read(folder / "test_metrics" / f"fold_{k}" / "metrics.json")
        assert found["overall"] == pytest.approx(each[-1], abs=1e-6)
    summary = read(folder / "test_metrics_summary.json")
    for name in each[0]:
        values = [scores[name] for scores in each]
        mean, se = np.mean(values), np.std(values) / np.sqrt(3)
        assert summary[name]["mean"] == pytest.approx(mean, abs=1e-6)
        assert summary[name]["se"] == pytest.approx(se, abs=1e-6)
        assert summary[name]["formatted"] == f"{mean:.3f} ± {se:.3f}"
    with open(out / "results_summary.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["metric"] for line in lines] == list(each[0])
    assert lines[0]["source"] == "cohort" and lines[0]["model"] == "base_linprobe"
    assert lines[0]["val_mean"] == "" and lines[0]["test_ci_low"] == ""


def test_one_fold_has_the_interval_of_the_table(tmp_path, outcomes):
    made = outcomes.class_outcome("KRAS", 0.7, 3)  # class numbers alone: no AUROC
    outcomes.write_model(tmp_path / "run", "base", [made])
    scored = load_runs([tmp_path / "run"])
    paths, _ = write_layout(scored, "patho-bench", tmp_path / "out")
    summary = read(paths[-2])
    assert list(summary) == ["bacc", "acc", "macro-f1"]
    value = compare(scored).rows[0].values["KRAS"]
    found = summary["bacc"]
    assert (found["mean"], found["lower"], found["upper"]) == pytest.approx(
        (value.value, value.low, value.high)
    )
    assert found["formatted"].startswith(f"{value.value:.3f} (")


def test_survival_has_a_c_index_of_each_fold(tmp_path, outcomes, crossed):
    rng = np.random.default_rng(0)
    base = outcomes.gene_outcome("OS", 1.0, 1)
    time = rng.exponential(30, 60)
    event = np.ones(60)
    event[45:] = 0  # the last fold has no pair
    task = Task("OS", "cohort", "os", "survival", "s", None, "*")
    made = crossed(
        dataclasses.replace(base, task=task),
        metric="c_index",
        protocol="cox/1",
        truth=np.stack([time, event], axis=1),
        prediction=np.column_stack([-time, np.full((60, 20), 0.5)]).astype(np.float32),
    )
    outcomes.write_model(tmp_path / "run", "base", [made])
    write_layout(load_runs([tmp_path / "run"]), "patho-bench", tmp_path / "out")
    folder = tmp_path / "out" / "cohort" / "OS" / "base_coxnet" / "protocol=cox-1"
    folds = [
        read(folder / "test_metrics" / f"fold_{k}" / "metrics.json") for k in range(3)
    ]
    assert folds == [{"cindex": 1.0}, {"cindex": 1.0}, {"cindex": None}]
    assert read(folder / "test_metrics_summary.json")["cindex"]["mean"] == 1.0
