"""Sections made from results: against NumPy, each thing once, long series thinned."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from pathjax.evals.results import read_results
from pathjax.report.compare import load_runs
from pathjax.report.page.files import rounded_within
from pathjax.report.page.sections import (
    POINTS,
    checkpoint_folder,
    describe_origin,
    gene_tables,
    read_curves,
    rounded,
    rounded_list,
    thinned,
    training_runs,
)


def write(folder, values):
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": n, "time": 0.0, "loss": v}) for n, v in values]
    (folder / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("/a/run/model.safetensors sha256:00", Path("/a/run")),
        ("runs/b c", Path("runs/b c")),
        (None, None),
    ],
)
def test_the_folder_of_a_checkpoint(text, folder):
    assert checkpoint_folder(text) == folder


def test_runs_inside_and_those_that_models_came_from(tmp_path):
    write(tmp_path / "out" / "tuned-0", [(1, 0.5)])
    write(tmp_path / "elsewhere" / "tuned-1", [(1, 0.5)])
    names = ["out/tuned-0", "elsewhere/tuned-1", "elsewhere/tuned-1", "gone"]
    entries = [
        {"checkpoint": f"{tmp_path / name}/model.safetensors sha256:0"}
        for name in names
    ]
    got = training_runs([tmp_path / "out"], entries)
    assert got == {
        "tuned-0": tmp_path / "out" / "tuned-0",
        "tuned-1": tmp_path / "elsewhere" / "tuned-1",
    }


def test_long_series_keep_their_ends(tmp_path):
    values = np.arange(10 * POINTS)
    kept = thinned(values)
    assert len(kept) == POINTS and kept[0] == 0 and kept[-1] == values[-1]
    assert np.diff(kept).max() - np.diff(kept).min() <= 1
    write(tmp_path / "run", [(n, 1 / (n + 1)) for n in range(1000)])
    (run,) = read_curves({"run": tmp_path / "run"})
    assert set(run["series"]) == {"loss"}
    steps, losses = run["series"]["loss"]
    np.testing.assert_allclose(losses, 1 / (np.array(steps) + 1), rtol=1e-3)


def test_a_run_that_logged_nothing(tmp_path):
    write(tmp_path / "run", [])
    assert read_curves({"run": tmp_path / "run"}) == []


def test_r_is_the_mean_over_seeds_and_null_for_a_constant_gene(run, tabled):
    scored = load_runs([run])
    (got,) = gene_tables(scored, tabled(run))
    assert got["task"] == "genes" and len(got["genes"]) == 7
    assert [(m["name"], m["base"]) for m in got["models"]] == [
        ("base", None),
        ("tuned", "base"),
        ("colour", None),
    ]
    tuned = [s.rows for s in scored if s.entry["model"] == "tuned" and s.rows is not
             None and s.entry["kind"] == "expression"]  # fmt: skip
    assert len(tuned) == 3
    for gene, r in enumerate(got["models"][1]["r"]):
        if gene == 2:
            assert r is None
            continue
        pairs = [
            (rows["truth"][:, gene], rows["prediction"][:, gene]) for rows in tuned
        ]
        want = np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs])
        assert r == pytest.approx(want, abs=1e-3)


def test_a_base_that_was_not_scored_on_genes(tmp_path, outcomes, tabled):
    root = tmp_path / "half"
    outcomes.write_model(root, "base", [outcomes.class_outcome("kind", 0.5, 1)])
    both = [
        outcomes.class_outcome("kind", 0.5, 2),
        outcomes.gene_outcome("genes", 1.0, 3),
    ]
    outcomes.write_model(root, "tuned", both, base="base", seed=0)
    (got,) = gene_tables(load_runs([root]), tabled(root))
    assert [(m["name"], m["base"]) for m in got["models"]] == [("tuned", None)]


def test_what_is_on_record(run, tmp_path, monkeypatch):
    study = tmp_path / "study"
    study.mkdir()
    build = {"provenance": {"command": "pathjax data demo --out 'a b'"}}
    (study / "study.json").write_text(json.dumps(build), encoding="utf-8")
    train = tmp_path / "tuned-0"
    train.mkdir()
    config = {
        "config": {"study": str(study), "optim": {"lr": 0.1, "weights": {}}},
        "panel": {"genes": ["A", "B"]},
        "versions": {"jax": "0.10"},
    }
    (train / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["/bin/pathjax", "report", "a run", "--html"])
    results = read_results(run)
    got = describe_origin([results], {"tuned-0": train, "bare": tmp_path / "bare"})
    assert got["written"] == [{"folder": str(run), **results.provenance}]
    assert got["studies"] == [
        {"study": "cohort", "fingerprint": "f", "synthetic": False}
    ]
    assert [(m["model"], m["seed"]) for m in got["models"]] == [
        ("base", None),
        ("tuned", 0),
        ("tuned", 1),
        ("tuned", 2),
        ("colour", None),
    ]
    assert got["protocols"] == [
        {"protocol": "linear/1", "tasks": ["kind"]},
        {"protocol": "ridge/1", "tasks": ["genes"]},
    ]
    (shown,) = got["configs"]
    assert shown == {
        "run": "tuned-0",
        "lines": [
            f"config.study={json.dumps(str(study))}",
            "config.optim.lr=0.1",
            "config.optim.weights={}",
            'versions.jax="0.10"',
        ],
    }
    assert got["commands"][0] == build["provenance"]["command"]
    assert got["commands"][-1] == "pathjax report 'a run' --html"


def test_four_digits_and_null():
    assert rounded_list([0.123456, -1234567.0, 3.0, math.nan, math.inf]) == [
        0.1235,
        -1235000,
        3,
        None,
        None,
    ]
    assert rounded(None) is None
    assert json.dumps(rounded(2.0)) == "2"


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_coordinates_keep_their_place_in_their_range(offset):
    values = np.random.default_rng(0).normal(offset, 3, 200)
    got = np.array(rounded_within(values))
    assert np.abs(got - values).max() <= np.ptp(values) / 4096
    assert len(json.dumps(got.tolist())) < len(json.dumps(values.tolist())) / 1.5


def test_a_coordinate_that_is_none():
    assert rounded_within(np.array([1.0, np.nan, 1.0])) == [1, None, 1]
