"""Deltas and intervals against a bootstrap written out row by row."""

import dataclasses
import zlib

import numpy as np
import pytest
import scipy.stats
from made_results import change

from pathjax.evals.results import read_predictions, read_results
from pathjax.registry import allow_code
from pathjax.report.compare import compare, gene_correlations, load_runs
from pathjax.report.table_data import ReportError
from pathjax.stats.metric import StatisticsError
from pathjax.stats.metrics import (
    BALANCED_ACCURACY,
    METRICS,
    balanced_accuracy,
    mean_pearson,
)
from pathjax.stats.permutation import Swaps


def rows_of(table):
    return {row.name: row for row in table.rows}


def test_values_deltas_and_order(run):
    table = compare(load_runs([run]))
    assert [row.name for row in table.rows] == ["base", "tuned", "colour"]
    assert [column.task for column in table.columns] == ["kind", "genes"]
    entries = read_results(run).entries
    rows = rows_of(table)
    for task in ("kind", "genes"):
        by = {(e["model"], e["seed"]): e["value"] for e in entries if e["task"] == task}
        tuned = np.mean([by["tuned", s] for s in range(3)])
        assert rows["base"].values[task].value == by["base", None]
        assert rows["tuned"].values[task].value == pytest.approx(tuned)
        delta = rows["tuned"].deltas[task]
        assert delta.value == pytest.approx(tuned - by["base", None])
        assert delta.low < delta.value < delta.high and delta.certain
    deltas = [one.value for one in rows["tuned"].deltas.values()]
    assert rows["tuned"].mean.value == pytest.approx(np.mean(deltas))
    assert rows["tuned"].seeds == 3
    assert rows["base"].mean is None and rows["colour"].deltas == {}


def test_intervals_equal_a_jackknife_by_hand(run):
    """Scores of rows without each patient; seeds add what their spread has beyond that."""
    table = compare(load_runs([run]))
    arrays = {
        (e["model"], e["seed"], e["task"]): read_predictions(run, e)
        for e in read_results(run).entries
    }
    patients = np.unique(arrays["base", None, "kind"]["patient"])

    def score(model, seed, task, without):
        part = arrays[model, seed, task]
        rows = part["patient"] != without
        truth, guess = part["truth"][rows], part["prediction"][rows]
        metric = balanced_accuracy if task == "kind" else mean_pearson
        return metric(truth, guess)

    def by_hand(deltas):
        """Of `[3, 1 + 20]` deltas, all and without each patient."""
        mean, without = deltas[:, 0].mean(), deltas[:, 1:]
        variance = 19 * without.mean(axis=0).var()
        mixed = 19 * (without - without.mean(axis=0)).var(axis=1).sum() / 6
        seeds = max(0, deltas[:, 0].var(ddof=1) / 3 - mixed)
        half = np.hypot(
            scipy.stats.t.ppf(0.975, 19) * np.sqrt(variance),
            scipy.stats.t.ppf(0.975, 2) * np.sqrt(seeds),
        )
        return pytest.approx((mean - half, mean + half), abs=1e-9)

    deltas = {
        task: np.array(
            [
                [
                    score("tuned", seed, task, one) - score("base", None, task, one)
                    for one in ("", *patients)
                ]
                for seed in range(3)
            ]
        )
        for task in ("kind", "genes")
    }
    row = rows_of(table)["tuned"]
    for task, found in deltas.items():
        assert (row.deltas[task].low, row.deltas[task].high) == by_hand(found)
    mean = (deltas["kind"] + deltas["genes"]) / 2
    assert (row.mean.low, row.mean.high) == by_hand(mean)


def test_tests_equal_signs_changed_by_hand(run):
    """What one and the same patients add changes its sign in both tasks."""
    one_seed = [item for item in load_runs([run]) if item.key[2] in (None, 0)]
    table = compare(one_seed, permutations=40, seed=3)
    arrays = {
        (e["model"], e["seed"], e["task"]): read_predictions(run, e)
        for e in read_results(run).entries
    }
    patients = np.unique(arrays["base", None, "kind"]["patient"])
    key = zlib.crc32("\n".join(["cohort", "patient", *patients]).encode())
    swaps = np.concatenate(list(Swaps(20, 40, (3, key)).blocks()))
    assert swaps.shape == (40, 20)

    def delta(task, without=""):
        metric = balanced_accuracy if task == "kind" else mean_pearson
        scores = []
        for name in (("tuned", 0, task), ("base", None, task)):
            rows = arrays[name]["patient"] != without
            parts = (arrays[name][key][rows] for key in ("truth", "prediction"))
            scores.append(metric(*parts))
        return scores[0] - scores[1]

    row = rows_of(table)["tuned"]
    observed = {task: delta(task) for task in ("kind", "genes")}
    null = {}
    for task, seen in observed.items():
        without = np.array([delta(task, one) for one in patients])
        adds = 20 * seen - 19 * without
        observed[task] = adds.mean()
        null[task] = np.where(swaps, -adds, adds).mean(axis=1)
    for found, seen, chance in [
        *((row.deltas[task], observed[task], null[task]) for task in observed),
        (row.mean, sum(observed.values()), np.sum([*null.values()], axis=0)),
    ]:
        far = np.abs(chance)
        ties = (np.abs(far - abs(seen)) < 1e-9).sum()
        hits = (far > abs(seen) + 1e-9).sum() + ties / 2
        assert found.p == pytest.approx((1 + hits) / 41)
        assert found.permutations == 40
    p = sorted(one.p for one in row.deltas.values())
    holm = sorted(one.p_holm for one in row.deltas.values())
    assert holm == pytest.approx([2 * p[0], max(2 * p[0], p[1])])
    assert row.mean.p_holm is None
    assert rows_of(table)["base"].values["kind"].p is None


def test_seeds_that_differ_have_no_star(tmp_path, outcomes):
    """Each seed is far from the base over these patients, but not on the same side."""
    base = outcomes.class_outcome("kind", 0.5, 1)
    outcomes.write_model(tmp_path, "base", [base])
    for seed, right in enumerate((0.2, 0.95, 1.0)):
        made = outcomes.class_outcome("kind", right, 10 + seed)
        outcomes.write_model(tmp_path, "tuned", [made], base="base", seed=seed)
    items = load_runs([tmp_path])
    (delta,) = rows_of(compare(items, permutations=500))["tuned"].deltas.values()
    alone = [
        rows_of(compare(items[:1] + [item], permutations=500))["tuned"].deltas["kind"].p
        for item in items[1:]
    ]
    assert max(alone) < 0.05 and delta.p > 0.1 and not delta.excludes_zero


def test_errors_are_not_in_the_mean_delta(tmp_path, outcomes, monkeypatch):
    """They have another unit, and another direction, than shares and correlations."""
    error = dataclasses.replace(
        BALANCED_ACCURACY, name="error", label="error", higher_is_better=False
    )
    monkeypatch.setitem(METRICS._items, "error", error)
    for name, base, right in (("base", None, 0.4), ("tuned", "base", 0.8)):
        made = [outcomes.class_outcome(task, right, 1) for task in ("good", "bad")]
        outcomes.write_model(tmp_path, name, made, base=base, seed=0)
    change(tmp_path, lambda e: e["task"] == "bad", metric="error")
    table = compare(load_runs([tmp_path]))
    row = rows_of(table)["tuned"]
    good = row.deltas["good"]
    assert (row.mean.value, row.mean.low, row.mean.high, row.mean.p) == (
        *(good.value, good.low, good.high, good.p),
    )
    assert any("not in the mean delta" in n and ": bad." in n for n in table.notes)
    change(tmp_path, lambda e: e["task"] == "good", metric="error")
    assert rows_of(compare(load_runs([tmp_path])))["tuned"].mean is None


def test_few_test_patients_have_an_exact_test_and_it_is_said(tmp_path, outcomes):
    for name, base, right in (("base", None, 0.1), ("tuned", "base", 1.0)):
        made = outcomes.class_outcome("kind", right, 1, patients=4)
        outcomes.write_model(tmp_path, name, [made], base=base, seed=0)
    table = compare(load_runs([tmp_path]), permutations=1000)
    delta = rows_of(table)["tuned"].deltas["kind"]
    assert (delta.p, delta.permutations) == (2 / 16, 16)
    assert any("for any p to be below 0.05: kind" in note for note in table.notes)


def test_a_star_that_cannot_be_won_is_said(tmp_path, outcomes):
    """Six patients: the least p is 2/64, which three tasks' correction raises above 0.05."""
    names = ["one", "two", "three"]
    for name, base, right in (("base", None, 0.1), ("tuned", "base", 1.0)):
        made = [outcomes.class_outcome(task, right, 1, patients=6) for task in names]
        outcomes.write_model(tmp_path, name, made, base=base, seed=0)
    table = compare(load_runs([tmp_path]), permutations=1000)
    best = {task: delta.p for task, delta in rows_of(table)["tuned"].deltas.items()}
    assert best == dict.fromkeys(names, 2 / 64)
    note = (
        "for a * among 3 tasks, where the least corrected p is 0.094: one, two, three"
    )
    assert any(note in line for line in table.notes)
    assert any("Fewer than 20 test patients" in line for line in table.notes)


def test_a_score_chosen_on_the_scored_rows_is_marked(tmp_path, outcomes):
    for name, base in (("base", None), ("tuned", "base")):
        made = outcomes.class_outcome("kind", 0.5, 1)
        outcomes.write_model(tmp_path, name, [made], base=base, seed=0)
    assert not compare(load_runs([tmp_path])).columns[0].optimistic
    chosen = {"chosen_by": "the scored fold test: epoch and learning rate"}
    for hyper in (chosen, {"rounds": {"fold1": chosen}}):
        change(tmp_path, lambda e: True, hyper=hyper)
        table = compare(load_runs([tmp_path]))
        assert [column.title for column in table.all_columns] == [
            "kind †", "mean delta †"
        ]  # fmt: skip
        assert any("too high" in note and "kind" in note for note in table.notes)


def test_a_model_against_itself_has_a_delta_of_exactly_zero(tmp_path, outcomes):
    outcomes.write_model(tmp_path, "base", [outcomes.class_outcome("kind", 0.6, 1)])
    same = outcomes.class_outcome("kind", 0.6, 1)
    outcomes.write_model(tmp_path, "copy", [same], base="base", seed=0)
    delta = rows_of(compare(load_runs([tmp_path])))["copy"].deltas["kind"]
    assert (delta.value, delta.low, delta.high, delta.p) == (0, 0, 0, 1)
    assert not delta.excludes_zero


def test_bases_with_seeds_are_paired_seed_by_seed(tmp_path, outcomes):
    for seed in (0, 1):
        strength = [0.4, 0.7][seed]
        before = outcomes.class_outcome("kind", strength, seed)
        outcomes.write_model(tmp_path, "base", [before], seed=seed)
        # Tuning changes nothing: paired by seed, the delta is 0 in every replicate.
        outcomes.write_model(tmp_path, "tuned", [before], base="base", seed=seed)
    row = rows_of(compare(load_runs([tmp_path])))["tuned"]
    delta = row.deltas["kind"]
    assert (delta.low, delta.high) == (0, 0)
    value = row.values["kind"]
    assert value.high > value.low


def test_one_test_patient_is_resampled_by_row_and_said(tmp_path, outcomes):
    for name, base in (("base", None), ("tuned", "base")):
        made = outcomes.gene_outcome("genes", 1.0, len(name), patients=1)
        outcomes.write_model(tmp_path, name, [made], base=base, seed=0)
    table = compare(load_runs([tmp_path]))
    delta = rows_of(table)["tuned"].deltas["genes"]
    assert delta.high > delta.low
    assert any("says nothing about other patients" in note for note in table.notes)


def test_results_without_rows_have_no_interval(run):
    change(run, lambda e: e["model"] == "tuned", predictions=None)
    row = rows_of(compare(load_runs([run])))["tuned"]
    assert row.deltas["kind"].low is None and row.mean.low is None
    assert row.deltas["kind"].p is None and row.mean.p is None
    assert row.mean.value > 0


def test_runs_join_and_the_same_result_twice_is_refused(run, tmp_path, outcomes):
    made = outcomes.class_outcome("kind", 0.5, 3)
    outcomes.write_model(tmp_path / "two", "late", [made], base="base", seed=0)
    table = compare(load_runs([run, tmp_path / "two", run]))
    assert [row.name for row in table.rows] == ["base", "tuned", "late", "colour"]
    assert any("late: mean delta over 1 of 2 tasks" in note for note in table.notes)
    outcomes.write_model(tmp_path / "three", "late", [made], base="base", seed=0)
    with pytest.raises(ReportError, match="occur twice"):
        load_runs([tmp_path / "two", tmp_path / "three"])


def test_seeds_that_cannot_be_paired_are_refused(tmp_path, outcomes):
    made = outcomes.class_outcome("kind", 0.5, 3)
    for name, base, seeds in (("base", None, (0, 1)), ("tuned", "base", (2, 3))):
        for seed in seeds:
            outcomes.write_model(tmp_path, name, [made], base=base, seed=seed)
    with pytest.raises(ReportError, match="cannot be paired"):
        compare(load_runs([tmp_path]))


def test_gene_correlations_are_means_over_seeds(run):
    found = gene_correlations(load_runs([run]))
    assert list(found) == ["genes"]
    assert set(found["genes"]) == {"base", "tuned", "colour"}
    names, r = found["genes"]["tuned"]
    assert names[0] == "G0$_0$" and np.isnan(r[2]) and (r[[0, 1, 3]] > 0.3).all()


def test_a_deltas_interval_is_within_what_can_occur(tmp_path, outcomes):
    """Two patients who disagree: a t interval alone would be wider than -1 to 1."""
    for name, right, base in (("base", 0.2, None), ("tuned", 0.9, "base")):
        made = outcomes.class_outcome("kind", right, 3, patients=2)
        outcomes.write_model(tmp_path, name, [made], base, 0)
    row = rows_of(compare(load_runs([tmp_path])))["tuned"]
    for delta in (row.deltas["kind"], row.mean):
        assert -1 <= delta.low <= delta.value < delta.high == 1


def test_a_fault_of_ones_own_metric_names_it_and_the_task(run, tmp_path, monkeypatch):
    text = (
        "from pathjax.stats.metric import Metric\n"
        "def score(truth, prediction):\n    return 0.5\n"
        "BAD = Metric('bad', 'bad', 'classes', score)\n"
    )
    (tmp_path / "bad_metric.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    allow_code(["bad_metric"])
    change(run, lambda e: e["task"] == "kind", metric="bad_metric:BAD")
    expected = "metric bad_metric:BAD failed on task kind: TypeError: score"
    with pytest.raises(StatisticsError, match=expected):
        compare(load_runs([run]))


@pytest.mark.parametrize(
    ("which", "values", "message"),
    [
        ("tuned", {"protocol": "linear/2"}, "has protocol 'linear/2', base 'linear/1'"),
        ("tuned", {"study_fingerprint": "g"}, "has study_fingerprint 'g'"),
        ("tuned", {"combine": "mean"}, "has combine 'mean', base 'within'"),
        ("tuned", {"base": "nobody"}, "names 'nobody' as its base"),
        ("tuned", {"base": "tuned"}, "is itself tuned from"),
        ("tuned 0", {"base": "colour"}, "names several bases"),
        ("tuned 0", {"seed": 9}, "not the same seeds for all tasks"),
    ],
)
def test_results_that_do_not_fit_are_refused(run, which, values, message):
    def chosen(entry):
        name = which.split()[0]
        one = entry["seed"] == 0 and entry["task"] == "kind"
        return entry["model"] == name and (" " not in which or one)

    if "protocol" in values:
        one = chosen
        chosen = lambda e: one(e) and e["task"] == "kind"
    change(run, chosen, **values)
    with pytest.raises(ReportError, match=message):
        compare(load_runs([run]))


def test_other_test_rows_are_refused(run, tmp_path, outcomes):
    made = outcomes.class_outcome("kind", 0.5, 3, patients=5)
    outcomes.write_model(tmp_path / "two", "late", [made], base="base", seed=0)
    with pytest.raises(ReportError, match="tested on other rows"):
        compare(load_runs([run, tmp_path / "two"]))


def test_what_results_depend_on_has_to_be_the_same(run):
    """By the hashes that entries carry; those of earlier versions carry none."""

    def inputs(weights, base=(), **values):
        return {"weights": weights, "base_weights": list(base), "files": {}} | values

    def is_of(model, seed=None):
        return lambda entry: (entry["model"], entry["seed"]) == (model, seed)

    change(run, is_of("base"), inputs=inputs("b"))
    for seed in range(3):
        change(run, is_of("tuned", seed), inputs=inputs(f"t{seed}", ["b"]))
    compare(load_runs([run]))
    for changed, message in (
        (inputs("t1", ["b"]), "several seeds of tuned have the same weights"),
        (inputs("t0", ["old"]), r"tuned \(seed 0\) was scored beside other weights"),
    ):
        change(run, is_of("tuned", 0), inputs=changed)
        with pytest.raises(ReportError, match=message):
            compare(load_runs([run]))
    change(run, is_of("tuned", 0), inputs=inputs("t0", ["b"], files={"a": "1"}))
    change(run, is_of("base"), inputs=inputs("b", files={"a": "2"}))
    with pytest.raises(ReportError, match="was scored on other files than base"):
        compare(load_runs([run]))
