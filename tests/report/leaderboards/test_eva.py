"""eva's files, with the statistics module as it has them."""

import dataclasses
import json
import statistics

import numpy as np
import pytest

from pathjax.report.compare import load_runs
from pathjax.report.leaderboards import write_layout


def with_runs(outcome, values, **changes):
    per_fold = [{"probe_seed": k, "value": value} for k, value in enumerate(values)]
    return dataclasses.replace(outcome, per_fold=per_fold, **changes)


def test_runs_of_a_task_and_the_leaderboards_table(tmp_path, outcomes):
    runs = [0.5, 0.75, 0.625]
    made = with_runs(
        outcomes.class_outcome("BACH", 0.7, 3),
        runs,
        value=float(np.mean(runs)),
        protocol="eva-linear/1",
        more_metrics=(
            {"metric": "auroc", "value": 0.8, "chance": 0.5, "values": [0.7, 0.8, 0.9]},
            {"metric": "accuracy", "value": 0.6, "chance": 0.4, "values": [0.6] * 3},
        ),
    )
    score = np.eye(3, dtype=np.float32)[made.prediction]
    task = dataclasses.replace(made.task, test="val")
    made = dataclasses.replace(made, task=task, study="bach", prediction=score)
    two = with_runs(
        outcomes.class_outcome("PCam test", 0.7, 4), [0.9, 0.5], study="pcam"
    )
    two = dataclasses.replace(two, columns=("a", "b"), value=0.9)
    outcomes.write_model(tmp_path / "run", "vit s", [made, two])
    out = tmp_path / "out"
    paths, notes = write_layout(load_runs([tmp_path / "run"]), "eva", out)
    found = json.loads((out / "BACH" / "vit-s" / "results.json").read_text())["metrics"]
    assert found["test"] == []
    assert found["val"] == [{
        "val/MulticlassAccuracy": {
            "mean": pytest.approx(statistics.mean(runs)),
            "stdev": pytest.approx(statistics.stdev(runs)),
            "values": runs,
        },
        "val/MulticlassAUROC": {
            "mean": pytest.approx(0.8), "stdev": pytest.approx(0.1),
            "values": [0.7, 0.8, 0.9],
        },
    }]  # fmt: skip
    # Bootstrap draws of a fit fold are no runs: the value alone is.
    other = json.loads((out / "PCam-test" / "vit-s" / "results.json").read_text())
    (metrics,) = other["metrics"]["test"]
    assert metrics["test/BinaryBalancedAccuracy"]["values"] == [0.9]
    assert paths[-1].read_text().splitlines() == [
        "model,bach,patch_camelyon/test", "vit-s,0.625,0.900",
    ]  # fmt: skip
    assert any("no name in eva: accuracy" in note for note in notes)
    assert any("linear/1 is not its own protocol (eva-linear/1 or" in n for n in notes)
