"""Results, tables and page files given to `pathjax report`: shown, or refused plainly."""

import json

import made_results as made
import pytest
from damage import damaged_json, examples, json_bytes, refused, table_bytes
from hypothesis import given

from pathjax.report.compare import compare, load_runs
from pathjax.report.csv_table import read_table, write_table
from pathjax.report.page.files import kind_of, read_grids, read_maps, read_points
from pathjax.report.page.gather import gather
from pathjax.report.page.render import escaped_json, render
from pathjax.report.page.sections import audit_records, read_audit
from pathjax.report.table import render_markdown

TABLE = (
    ["model", "base", "task", "metric", "value", "delta", "low", "high", "n",
     "n_patients", "seeds", "p", "p_holm", "permutations", "unit"],
    [
        ["b", "", "t", "accuracy", "50", "", "", "", "60", "20", "1", "", "", "", ""],
        ["m", "b", "t", "accuracy", "", "3", "1", "6", "60", "20", "3", ".01", ".02", "9", ""],
        ["m", "b", "mean delta", "", "", "3", "1", "6", "", "", "3", ".01", "", "9", ""],
        ["c", "", "t", "accuracy", "40", "", "", "", "60", "20", "1", "", "", "", ""],
    ],
)  # fmt: skip
POINTS = ["x", "y", "label", "id"], [["0", "1", "a", "s1"], ["2", "3", "", "s2"]]
SCORE = {"value": 0.5, "low": 0.1, "high": 0.8, "chance": 0.5}
GRID = {
    "title": "t",
    "rows": ["a"],
    "columns": ["b"],
    "cells": [{"row": "a", "column": "b", **SCORE, "n": 3, "metric": "auroc"}],
}
SPOTS = {
    "unit": {"measured": "u"},
    "slides": {
        "s": {
            "sample": ["a", "b"],
            "x": [0, 1],
            "y": [0, 1],
            "genes": {"G": {"measured": [1, 2], "predicted": [2, None]}},
        }
    },
}
AUDIT = [
    {
        "task": "t",
        "against": "m",
        "status": "clean",
        "beyond": [],
        "patients": ["P"],
        "pretrained_on": {"TCGA": 3},
    }
]


@examples(60)
@given(content=table_bytes(*TABLE))
def test_a_finished_table(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    def use():
        table = read_table(path)
        render_markdown(table)
        write_table(table, path)
        again = read_table(path)
        # No model, task or number is lost on the way.
        assert [row.name for row in again.rows] == [row.name for row in table.rows]
        assert again.tasks == table.tasks

    refused(use, ValueError)


@examples(40)
@given(content=table_bytes(*POINTS))
def test_points_for_the_page(tmp_path, content):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    kind_of(path)
    refused(lambda: escaped_json(read_points(path)), ValueError)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (GRID, read_grids),
        (SPOTS, read_maps),
        (AUDIT, lambda path: audit_records([], read_audit(path))),
    ],
    ids=["grid", "spots", "audit"],
)
def test_json_for_the_page(tmp_path, content, read):
    @examples(60)
    @given(data=json_bytes(content))
    def check(data):
        path = tmp_path / "a.json"
        path.write_bytes(data)
        kind_of(path)
        refused(lambda: escaped_json(read(path)), ValueError)

    check()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A base and a tuned model on one task: the folder, and its results.json."""
    root = tmp_path_factory.mktemp("results")
    made.write_model(root, "base", [made.class_outcome("kind", 0.5, 1)])
    tuned = [made.class_outcome("kind", 0.9, 2)]
    made.write_model(root, "tuned", tuned, base="base", seed=0)
    return root, json.loads((root / "results.json").read_text())


def test_results(results):
    root, content = results

    @examples(60)
    @given(value=damaged_json(content))
    def check(value):
        (root / "results.json").write_text(json.dumps(value))

        def use():
            scored = load_runs([root])
            table = compare(scored, permutations=10)
            names = {entry["model"] for entry in value["entries"]}
            assert {row.name for row in table.rows} == names
            render(gather([root], table))

        refused(use, ValueError)

    check()
