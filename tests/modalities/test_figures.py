"""The table and the figures hold what the results hold."""

import csv
import json

import pytest
from matplotlib.image import imread

from pathjax.modalities.figures import rows_of, write_all


def result():
    def cell(target, kind, names, rows, scores):
        return {
            "target": target,
            "kind": kind,
            "modalities": names,
            "rows": rows,
            "n": 50,
            "patients": 40,
            "classes": {"a": 20, "b": 30, "c": 0} if kind == "class" else {},
            "scores": {
                metric: {"value": v, "low": v - 0.1, "high": v + 0.1, "chance": c}
                for metric, v, c in scores
            },
        }

    both = [("balanced_accuracy", 0.8, 0.5), ("auroc", 0.85, 0.5)]
    return {
        "cohort": "c$ohort",
        "patients": 40,
        "synthetic": True,
        "options": {"folds": 5},
        "cells": [
            cell("tp53@type=X", "class", ["rna"], "common", both),
            cell("tp53@type=X", "class", ["rna", "text"], "common", both),
            cell("tp53@type=X", "class", ["rna"], "all", both),
            cell("age", "number", ["rna"], "common", [("pearson", 0.3, 0.0)]),
        ],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_all(result(), tmp_path_factory.mktemp("figures"))


def test_the_table_has_a_row_per_cell_and_metric(written):
    with open(written[0], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(rows_of(result())) == 7
    assert rows[2]["modalities"] == "rna + text" and rows[2]["value"] == "0.8000"
    assert rows[2]["classes"] == "2"  # that the rows are of
    assert rows[-1] | {} == {
        **dict.fromkeys(rows[-1], ""),
        "target": "age",
        "kind": "number",
        "modalities": "rna",
        "rows": "common",
        "n": "50",
        "patients": "40",
        "metric": "pearson",
        "value": "0.3000",
        "low": "0.2000",
        "high": "0.4000",
        "chance": "0.0000",
    }


def test_without_samples_in_common_there_is_no_figure(tmp_path):
    whole = result()
    whole["cells"] = [one for one in whole["cells"] if one["rows"] == "all"]
    names = [path.name for path in write_all(whole, tmp_path)]
    assert names == ["matrix.csv", "matrix.md", "grid.json"]


def test_the_table_for_documents_has_the_same_rows(written):
    lines = written[1].read_text().splitlines()
    assert len(lines) == 2 + 7
    assert lines[2].split(" | ")[4:] == [
        "balanced accuracy",
        "0.800 [0.700, 0.900]",
        "0.500 |",
    ]


def test_the_grid_is_one_that_the_page_reads(written):
    grid = json.loads(written[2].read_text())
    assert grid["rows"] == ["rna", "rna + text"]
    assert grid["columns"] == ["tp53@type=X", "age"]
    assert [one["metric"] for one in grid["cells"]] == ["auroc", "auroc", "pearson"]
    assert grid["cells"][0]["n"] == 50 and grid["cells"][0]["chance"] == 0.5


@pytest.mark.parametrize("place", [3, 4])
def test_the_figures_are_pictures(written, place):
    picture = imread(written[place])
    assert picture.std() > 0.05 and min(picture.shape[:2]) > 200
