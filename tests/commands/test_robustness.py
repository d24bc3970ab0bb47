"""The command on a made study; what it measures is in tests/evals/test_robustness.py."""

import json

import pytest
from sited_study import sited_study

from pathjax.cli import main

__all__ = ["sited_study"]


@pytest.fixture
def words(sited_study, tmp_path):
    study = [
        "--study",
        str(sited_study.root),
        "--split",
        "cohort",
        "--target",
        "status",
    ]
    return ["robustness", "colours=handcrafted", *study, "--out", str(tmp_path)]


@pytest.mark.slow
def test_all_measures_make_one_table(words, tmp_path):
    assert main([*words, "--k", "3"]) == 0
    entries = json.loads((tmp_path / "results.json").read_text())["entries"]
    assert [entry["metric"] for entry in entries] == [
        "robustness_index@3",
        "performance_drop",
        "clustering_score",
        "site_accuracy",
    ]
    assert (
        "robustness index, k = 3, chance 50.0"
        in (tmp_path / "report" / "table.md").read_text()
    )


def test_k_is_chosen_and_what_has_no_meaning_is_named(words, capsys):
    assert main([*words, "--site", "status"]) == 1
    assert "class and site are confounded" in capsys.readouterr().err
    assert main([*words, "--target", "nothing"]) == 1
    assert "unknown target" in capsys.readouterr().err
