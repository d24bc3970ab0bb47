"""Tables of labels, task files and studies given to `pathjax evaluate`."""

import gzip
import json
import re

import pytest
from damage import cut, damaged_json, examples, json_bytes, refused, run, table_bytes
from hypothesis import given

from pathjax.data.tables import is_missing, read_table
from pathjax.data.tcga_barcodes import find as barcode
from pathjax.datasets.tcga.labels import COLUMNS, KEYS, read_labels
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.evals.suites import load_tasks

LABELS = (
    ["patient_id", "cancer_type", "tp53", "PAM50"],
    [
        ["TCGA-AA-0001", "LUAD", "mutated", ""],
        ["TCGA-AA-0002", "LUSC", "wild type", ""],
        ["TCGA-AA-0003", "BRCA", "", "LumA"],
    ],
)
TASK = [
    {
        "name": "tissue",
        "study": "tiny",
        "target": "tile_class",
        "kind": "classification",
        "level": "tile",
        "split": "main",
        "fit": "train",
        "test": "val",
        "protocol": None,
        "classes": ["dark", "light"],
    }
]


@examples(100)
@given(
    content=table_bytes(*LABELS) | table_bytes(*LABELS).map(gzip.compress).flatmap(cut)
)
def test_labels(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)

    def use():
        labels = read_labels([path])
        assert labels.table.index.str.fullmatch(r"TCGA-\w\w-\w{4}").all()
        assert labels.table.index.is_unique
        require_rows_used_or_named(path, labels)

    refused(use, TcgaError)


def require_rows_used_or_named(path, labels):
    """Each row with a label gives one to its patient, or its line is named."""
    short: list[tuple[int, str]] = []
    table = read_table(path, (*KEYS, *COLUMNS), comment="#", bad_rows=short)
    lines = (re.fullmatch(r"line (\d+) of .*", what) for what, _ in labels.unused)
    named = {int(line[1]) for line in lines if line}
    assert {line for line, _ in short} <= named
    key = next(name for name in KEYS if name in table)
    for line, row in table.iterrows():
        cells = [row[name] for name in table if name in COLUMNS]
        if line in named or all(is_missing(cell) for cell in cells):
            continue
        assert barcode(row[key]).patient in labels.patients[path.name], f"line {line}"


@examples(80)
@given(content=json_bytes(TASK))
def test_task_files(tmp_path, content):
    path = tmp_path / "tasks.json"
    path.write_bytes(content)

    def use():
        tasks = load_tasks(str(path))
        assert tasks and all(task.name and task.study for task in tasks)

    refused(use, ValueError)


@examples(6)
@given(value=damaged_json(TASK))
def test_evaluate(tmp_path_factory, tiny_study, value):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "t.json").write_text(json.dumps(value))
    words = ["--tasks", folder / "t.json", "--study", tiny_study.root]
    done = run("evaluate", "c=handcrafted", *words, "--out", folder / "out")
    results = folder / "out" / "results.json"
    if done.status == 0:
        got = [entry["task"] for entry in json.loads(results.read_text())["entries"]]
        assert got == [task["name"] for task in value]


@pytest.mark.parametrize("name", ["study.json", "splits/main.json"])
def test_studies(broken_copy, name):
    file = broken_copy.root / name
    content = json.loads(file.read_text())

    @examples(30)
    @given(data=json_bytes(content))
    def check(data):
        file.write_bytes(data)
        run_check(broken_copy.root)

    check()


def run_check(root):
    """`data check` lists problems and ends with 1: its list is not an error."""
    from pathjax.data.check import check_study
    from pathjax.data.study import Study

    refused(lambda: check_study(Study(root)), ValueError)
