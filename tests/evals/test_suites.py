"""Shipped lists of tasks fit the studies they are for; files are checked."""

import dataclasses
import json

import pytest

from pathjax.datasets.demo import build_demo
from pathjax.evals import EvalError
from pathjax.evals.suites import load_tasks, site_tasks


def test_the_demo_list_fits_the_demo_study(tmp_path):
    study = build_demo(tmp_path, patients=24, tiles_per_patient=1, workers=1)
    tasks = load_tasks("demo")
    assert {task.name: task.problems(study) for task in tasks} == {
        task.name: [] for task in tasks
    }
    # A recipe is chosen on other patients, and probes are fitted on the same.
    assert {(t.fit, t.test) for t in load_tasks("demo-dev")} == {
        ("probe_fit", "finetune_val")
    }
    assert {(t.fit, t.test) for t in tasks} == {("probe_fit", "probe_test")}


def test_her2st_lists_name_the_test_sections():
    folds = {(task.split, task.test) for task in load_tasks("her2st")}
    assert folds == {("c_sections", "new_section"), ("c_sections", "new_patient")}
    assert {task.split for task in load_tasks("her2st-dev")} == {"c_sections_dev"}


def test_a_file_of_tasks(tmp_path):
    path = tmp_path / "tasks.json"
    (first, *_) = load_tasks("demo")
    path.write_text(json.dumps([dataclasses.asdict(first)]))
    assert load_tasks(str(path)) == [first]
    path.write_text(json.dumps([{"nmae": 1}, {"name": "x"}]))
    with pytest.raises(EvalError) as caught:
        load_tasks(str(path))
    assert "task 0: unknown key 'nmae'; did you mean 'name'?" in str(caught.value)
    assert "task 1" in str(caught.value)
    with pytest.raises(
        EvalError, match="unknown list of tasks 'dmeo'; did you mean 'demo'"
    ):
        load_tasks("dmeo")


def test_the_ten_columns_are_table_1s():
    names = [task.name for task in load_tasks("ten")]
    assert names == [
        "BACH", "PCam test", "MHIST", "CRC-MSI", "TCGA cancer type", "TCGA TP53",
        "TCGA breast IDC/ILC", "TCGA kidney", "TCGA lung", "TCGA expression",
    ]  # fmt: skip
    other = [task.name for task in load_tasks("ten-pam50")]
    assert set(other) ^ set(names) == {"TCGA breast IDC/ILC", "TCGA breast PAM50"}
    # No epoch is chosen on scored rows by default; eva's own list does as eva does.
    ten = {task.name: (task.select, task.protocol_name) for task in load_tasks("ten")}
    for name in ("BACH", "MHIST"):
        assert ten[name] == (None, "eva-linear-heldout/1")
    for name in ("PCam test", "CRC-MSI"):
        assert ten[name] in {("val", "eva-linear/1"), (None, "eva-linear-heldout/1")}
    assert {task.protocol_name for task in load_tasks("eva")} == {"eva-linear/1"}
    chosen = {task.name: task.select for task in load_tasks("eva")}
    assert chosen["PCam test"] == "val" and chosen["BRACS"] == "val"
    assert chosen["BACH"] is chosen["MHIST"] is chosen["CRC"] is None
    assert {task.level for task in load_tasks("tcga-abmil")} == {"sample"}


def test_the_site_is_asked_on_the_folds_of_the_first_task_of_each_study():
    demo = load_tasks("demo")
    (site,) = site_tasks(demo)
    assert (site.name, site.target, site.metric) == ("site", "site", "site_accuracy")
    assert (site.split, site.fit, site.test) == ("cohort", "probe_fit", "probe_test")
    names = [task.name for task in site_tasks([*demo, *load_tasks("bach")])]
    assert names == ["site (demo)", "site (bach)"]
