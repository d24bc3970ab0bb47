"""HEST-bench's files; SciPy's r of each gene and split is the oracle."""

import csv
import json

import numpy as np
import pytest
import scipy.stats

from pathjax.cli import main
from pathjax.report.compare import load_runs
from pathjax.report.leaderboards import write_layout
from pathjax.report.table_data import ReportError


def read(path):
    return json.loads(path.read_text())


def test_splits_encoders_and_averages(tmp_path, outcomes, crossed, capsys):
    run = tmp_path / "run"
    made = {}
    for name, base, noise in (("base", None, 1.0), ("tuned", "base", 0.5)):
        made[name] = [
            crossed(
                outcomes.gene_outcome(f"HEST {t}", noise, k), protocol="hest-ridge/1"
            )
            for k, t in enumerate(("IDC", "READ"))
        ]
        own = [*made[name], outcomes.class_outcome("kind", 0.8, 1)]
        outcomes.write_model(run, name, own, base=base)
    assert main(["report", str(run), "--format", "hest"]) == 0
    assert "note: hest: not of its kinds, left out: kind" in capsys.readouterr().out
    out = run / "report" / "hest"
    outcome = made["base"][0]
    means = []
    for k, rows in enumerate((slice(0, 25), slice(25, 45), slice(45, 60))):
        split = read(out / "IDC" / "base" / f"split{k}" / "results.json")
        truth, guess = (
            a[rows].astype(float) for a in (outcome.truth, outcome.prediction)
        )
        genes = [gene for gene in range(truth.shape[1]) if gene != 2]  # 2 is constant
        r = [scipy.stats.pearsonr(truth[:, g], guess[:, g])[0] for g in genes]
        found = [gene["pearson_corr"] for gene in split["pearson_corrs"]]
        assert found[2] is None
        assert [found[g] for g in genes] == pytest.approx(r)
        assert split["pearson_mean"] == pytest.approx(np.mean(r))
        assert split["pearson_std"] == pytest.approx(np.std(r))
        error = ((truth - guess) ** 2).mean(axis=0)
        assert split["l2_errors"] == pytest.approx(error.tolist())
        assert split["l2_error_q2"] == pytest.approx(np.median(error))
        r2 = 1 - error[0] / truth[:, 0].var()
        assert split["r2_scores"][0] == pytest.approx(r2)
        summary = read(out / "IDC" / "base" / f"split{k}" / "summary.json")
        assert (summary["n_train"], summary["n_test"]) == (60 - len(truth), len(truth))
        means.append(np.mean(r))
    whole = read(out / "IDC" / "base" / "results_kfold.json")
    assert whole["mean_per_split"] == pytest.approx(means)
    assert whole["pearson_mean"] == pytest.approx(np.mean(means))
    assert whole["pearson_std"] == pytest.approx(np.std(means))
    best = [gene["mean"] for gene in whole["pearson_corrs"]]
    assert best[:-1] == sorted(best[:-1], reverse=True) and best[-1] is None
    encoders = read(out / "IDC" / "enc_results.json")["results"]
    assert [one["encoder_name"] for one in encoders] == ["tuned", "base"]
    every = read(out / "dataset_results.json")
    assert [one["dataset_name"] for one in every["results"]] == ["IDC", "READ"]
    parts = [read(out / t / "tuned" / "results_kfold.json") for t in ("IDC", "READ")]
    mean = np.mean([part["pearson_mean"] for part in parts])
    assert list(every["average"]) == ["tuned", "base"]
    assert every["average"]["tuned"] == pytest.approx(mean)
    with open(out / "dataset_results.csv") as file:
        first, *_ = csv.DictReader(file)
    assert first["dataset"] == "IDC"
    assert float(first["base_mean"]) == pytest.approx(np.mean(means))


def test_what_is_not_comparable_or_not_there_is_said(tmp_path, outcomes, crossed):
    made = crossed(outcomes.gene_outcome("genes", 1.0, 1))
    outcomes.write_model(tmp_path / "run", "base", [made])
    scored = load_runs([tmp_path / "run"])
    _, notes = write_layout(scored, "hest", tmp_path / "out")
    (note,) = notes
    assert note.startswith("hest: ridge/1 is not its own protocol (hest-ridge/1)")
    with pytest.raises(ReportError, match="results with rows of kind classification"):
        write_layout(scored, "eva", tmp_path / "out")


def test_a_csv_has_no_rows(run, tmp_path, capsys):
    assert main(["report", str(run), "--out", str(tmp_path)]) == 0
    assert main(["report", str(tmp_path / "table.csv"), "--format", "hest"]) == 1
    assert "a CSV has no rows and runs" in capsys.readouterr().err
