"""A run folder whose names try to be markup, and everything that a page can show."""

import json

import pandas as pd
import pytest

from pathjax.report.compare import compare, load_runs

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">&lt;b&gt;\u2028"


@pytest.fixture
def hostile():
    return HOSTILE


@pytest.fixture
def full_run(tmp_path, outcomes):
    """A base named to break out, a tuned model, and a file for each section."""
    root = tmp_path / "full"
    tasks = [
        outcomes.class_outcome("kind", 0.5, 1, synthetic=True),
        outcomes.class_outcome(HOSTILE, 0.6, 3, synthetic=True),
        outcomes.gene_outcome("genes", 2.0, 2, synthetic=True),
    ]
    outcomes.write_model(root, HOSTILE, tasks)
    for seed in range(2):
        tasks = [
            outcomes.class_outcome("kind", 0.95, 10 + seed, synthetic=True),
            outcomes.class_outcome(HOSTILE, 0.6, 30 + seed, synthetic=True),
            outcomes.gene_outcome("genes", 1.0, 20 + seed, synthetic=True),
        ]
        outcomes.write_model(root, "tuned", tasks, base=HOSTILE, seed=seed)
    train = root / "tuned-0"
    train.mkdir()
    lines = [
        {"step": n, "time": 1.0, "train/loss": 1 / n, HOSTILE: n} for n in range(1, 9)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (train / "metrics.jsonl").write_text(text, encoding="utf-8")
    config = {"config": {"name": HOSTILE, "optim": {"lr": 0.1}}, "panel": ["G"] * 9}
    (train / "config.json").write_text(json.dumps(config), encoding="utf-8")
    points = {
        "x": [0.0, 1, 2, 3],
        "y": [0.0, 1, 0, 1],
        "label": ["a", HOSTILE, "a", ""],
        "id": ["#1", HOSTILE, "p3", "p4"],
    }
    pd.DataFrame(points).to_csv(root / "tsne.csv", index=False)
    ages = {"x": range(20), "y": range(20), "label": [*range(30, 49), ""]}
    pd.DataFrame(ages).to_csv(root / "umap-age.csv", index=False)
    genes = {"measured": [1.0, 2, 3, 4, 5, 6], "predicted": [1.0, 2, 3, 4, 5, None]}
    spots = {
        "x": [0, 1, 0, 1, 0, 1],
        "y": [0, 0, 1, 1, 2, 2],
        "genes": {HOSTILE: genes},
    }
    content = {"slides": {"spots": spots}}
    (root / "spots.json").write_text(json.dumps(content), encoding="utf-8")
    grid = {
        "title": HOSTILE,
        "rows": ["slide", "RNA"],
        "columns": ["TP53", HOSTILE],
        "cells": [
            {"row": "slide", "column": "TP53", "value": 0.61, "low": 0.5, "high": 0.7},
            {"row": "RNA", "column": HOSTILE, "value": 0.93, "chance": 0.5, "n": 12},
        ],
    }
    (root / "grid.json").write_text(json.dumps(grid), encoding="utf-8")
    audit = {
        "task": "kind",
        "against": HOSTILE,
        "status": "clean",
        "beyond": ["P1"],
        "patients": ["P1"],
    }
    (root / "audit.json").write_text(json.dumps([audit]), encoding="utf-8")
    return root


@pytest.fixture
def tabled():
    """The table of a run folder, quickly."""

    def made(root):
        return compare(load_runs([root]), permutations=50)

    return made
