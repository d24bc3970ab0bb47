"""The simulation: its data has the stated scores, and it counts what tables report."""

import dataclasses
import json
from pathlib import Path

import interval_coverage as coverage
import numpy as np
import pytest
from interval_coverage import BASE, EFFECT, Design, Options, run_design, simulate
from scipy import stats

from pathjax.report.compare import compare

SMALL = Options(studies=6, permutations=40, processes=1)


def values(design, effect, count=1, model="tuned"):
    items = [one for i in range(count) for one in simulate(design, effect, (1, i))]
    return [one.entry["value"] for one in items if one.entry["model"] == model]


@pytest.mark.parametrize("effect", [0.0, EFFECT])
def test_accuracy_is_that_of_the_normal_threshold(effect):
    design = Design("accuracy", patients=20_000, rows=1)
    expected = stats.norm.cdf(BASE["accuracy"] + effect)
    assert values(design, effect) == pytest.approx([expected] * 3, abs=0.01)
    base = values(design, effect, model="base")
    assert base == pytest.approx([stats.norm.cdf(BASE["accuracy"])] * 3, abs=0.01)


@pytest.mark.parametrize("effect", [0.0, EFFECT])
def test_correlation_is_the_one_stated(effect):
    design = Design("pearson", patients=4_000, rows=5)
    expected = np.tanh(BASE["pearson"] + effect)
    assert values(design, effect) == pytest.approx([expected] * 3, abs=0.02)


def test_rows_of_a_patient_are_alike_and_models_share_difficulty():
    few = Design("accuracy", patients=50, rows=5)
    patients = np.std(values(few, 0.0, 60))
    rows = np.std(values(Design("accuracy", patients=250, rows=1), 0.0, 60))
    assert patients > 1.2 * rows
    both = [values(few, 0.0, 60, model) for model in ("base", "tuned")]
    assert 0.3 < np.corrcoef(both)[0, 1] < 0.9


def test_folds_are_patients_apart_and_averaged():
    design = Design("pearson", patients=7, rows=5, folds=7)
    item = simulate(design, 0.0, (0,))[0]
    rows = item.rows
    assert item.entry["combine"] == "mean"
    assert {len(set(rows["patient"][rows["stratum"] == i])) for i in range(7)} == {1}
    expected = [
        stats.pearsonr(rows["truth"][part, gene], rows["prediction"][part, gene])[0]
        for part in (rows["stratum"] == i for i in range(7))
        for gene in range(rows["truth"].shape[1])
    ]
    assert item.entry["value"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    "design",
    [
        Design("accuracy", patients=8, rows=1, seeds=2),
        Design("pearson", patients=8, rows=5, folds=2),
    ],
)
def test_coverage_is_what_a_count_by_hand_gives(design):
    """Interval by interval and test by test, of the tables of the same studies."""
    found = run_design(design, SMALL)
    inside = {"null": [], "effect": []}
    false, family, of_mean = [], [], []
    deltas = []
    for name, effect in (("null", 0.0), ("effect", EFFECT)):
        for study in range(SMALL.studies):
            scored = simulate(design, effect, design.key(SMALL.seed, study, effect))
            table = compare(
                scored,
                permutations=SMALL.permutations if effect == 0 else 1,
                seed=study,
            )
            (row,) = [row for row in table.rows if row.name == "tuned"]
            own = list(row.deltas.values())
            inside[name].append([(one.low, one.value, one.high) for one in own])
            if effect == 0:
                false += [one.p < 0.05 for one in own]
                family.append(any(one.p_holm < 0.05 for one in own))
                of_mean.append(row.mean.p < 0.05)
            else:
                deltas += [one.value for one in own]
    hits = [low <= 0 <= high for s in inside["null"] for low, _, high in s]
    assert found["null"]["delta"] == pytest.approx(sum(hits) / len(hits))
    true = sum(deltas) / len(deltas)
    hits = [low <= true <= high for s in inside["effect"] for low, _, high in s]
    assert found["effect"]["delta"] == pytest.approx(sum(hits) / len(hits))
    assert found["null"]["test"] == pytest.approx(sum(false) / len(false))
    assert found["null"]["holm"] == pytest.approx(sum(family) / len(family))
    assert found["null"]["mean_test"] == pytest.approx(sum(of_mean) / len(of_mean))
    assert found["tables"] == 2 * SMALL.studies and found["without_interval"] == 0


def test_the_command_writes_what_it_prints(tmp_path, capsys, monkeypatch):
    one = Design("accuracy", patients=7, rows=1)
    monkeypatch.setattr(coverage, "designs", lambda quick: [one])
    out = tmp_path / "coverage.json"
    words = ["--studies=5", "--permutations=40", "--processes=1", "--quick"]
    coverage.main([*words, f"--out={out}"])
    found = json.loads(out.read_text())
    assert coverage.markdown(found) in capsys.readouterr().out
    (row,) = found["designs"]
    assert row["patients"] == 7 and found["options"]["studies"] == 5
    assert found["versions"]["numpy"] == np.__version__


def test_a_run_that_was_stopped_resumes(tmp_path, monkeypatch, caplog):
    """Designs in the file are kept while code and options are the same."""
    grid = [Design("accuracy", patients=n, rows=1) for n in (7, 8)]
    monkeypatch.setattr(coverage, "designs", lambda quick: grid)
    made = []

    def one(design, options):
        made.append(design.patients)
        if len(made) == 2:
            raise KeyboardInterrupt
        return dataclasses.asdict(design) | {"run": len(made)}

    monkeypatch.setattr(coverage, "run_design", one)
    out = tmp_path / "coverage.json"
    with pytest.raises(KeyboardInterrupt):
        coverage.run(SMALL, True, out)
    found = coverage.run(SMALL, True, out)
    assert made == [8, 7, 7] and [row["run"] for row in found["designs"]] == [3, 1]
    assert json.loads(out.read_text()) == found
    coverage.run(dataclasses.replace(SMALL, processes=1), True, out)
    assert len(made) == 3 and not caplog.records
    coverage.run(dataclasses.replace(SMALL, seed=2), True, out)
    assert len(made) == 5 and "of other code or options" in caplog.text


def test_the_grid_is_the_one_promised():
    full, quick = coverage.designs(quick=False), coverage.designs(quick=True)
    assert set(quick) < set(full) and len(set(full)) == len(full)
    assert {d.patients for d in full} == {7, 20, 50, 60, 200}
    assert {d.rows for d in full} == {1, 5}
    assert {d.seeds for d in full} >= {1, 5} and {d.metric for d in full} == set(BASE)
    assert any(d.folds == d.patients for d in full)  # a patient a fold


def test_the_page_shows_the_recorded_run():
    docs = Path(__file__).resolve().parents[2] / "docs"
    for name in ("bench-coverage.json", "bench-coverage-ranks.json"):
        found = json.loads((docs / "data" / name).read_text("utf-8"))
        assert coverage.markdown(found) in (docs / "statistics.md").read_text("utf-8")


@pytest.mark.parametrize("effect", [0.0, EFFECT])
def test_the_area_is_that_of_two_normal_classes(effect):
    """Phi(d / sqrt 2), d the distance of their means (Green & Swets 1966, ch. 2)."""
    expected = stats.norm.cdf((BASE["auroc"] + effect) / 2**0.5)
    design = Design("auroc", patients=20_000, rows=1)
    assert values(design, effect) == pytest.approx([expected] * 3, abs=0.02)
    item = simulate(Design("auprc", patients=30, rows=5), 0.0, (0,))[0]
    of_patient = item.rows["truth"].reshape(30, 5)
    assert (of_patient == of_patient[:, :1]).all() and 0 < of_patient.mean() < 1


def test_concordance_grows_with_the_effect_and_some_are_censored():
    design = Design("c_index", patients=600, rows=1)
    none, effect = (np.mean(values(design, by, 2)) for by in (0.0, EFFECT))
    assert 0.6 < none < effect - 0.03
    truth = simulate(design, 0.0, (0,))[0].rows["truth"]
    assert 0.3 < truth[:, 1].mean() < 0.8


def test_designs_of_some_metrics_only(monkeypatch):
    made = []
    monkeypatch.setattr(
        coverage, "run_design",
        lambda design, options: made.append(design) or dataclasses.asdict(design),
    )  # fmt: skip
    coverage.run(dataclasses.replace(SMALL, only="auprc,c_index"), True)
    assert {design.metric for design in made} == {"auprc", "c_index"}
    with pytest.raises(ValueError, match="only=auc: expected some of accuracy"):
        coverage.run(dataclasses.replace(SMALL, only="auc"), True)
