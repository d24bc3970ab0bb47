"""Intervals over blocks and over rows, of results written and read again."""

import dataclasses
import json
import zlib

import numpy as np
import pytest
import scipy.stats

from pathjax.evals.results import read_predictions, read_results
from pathjax.report.compare import MANY, compare, load_runs
from pathjax.report.csv_table import read_table, write_table
from pathjax.report.scores import Scores
from pathjax.report.table import load_table, render_markdown
from pathjax.report.table_data import ReportError, table_json
from pathjax.stats.metrics import METRICS, mean_pearson
from pathjax.stats.permutation import Swaps

BLOCKS = 9


def blocked(outcomes, noise, seed):
    made = outcomes.gene_outcome("genes", noise, seed, patients=1)
    task = dataclasses.replace(made.task, blocks_um=1000.0)
    block = np.array([f"S {i % BLOCKS},0" for i in range(made.n)])
    return dataclasses.replace(made, task=task, block=block)


@pytest.fixture
def blocks_run(tmp_path, outcomes):
    run = tmp_path / "blocks"
    outcomes.write_model(run, "base", [blocked(outcomes, 2.0, 1)])
    for seed in range(2):
        tuned = blocked(outcomes, 1.0, 10 + seed)
        outcomes.write_model(run, "tuned", [tuned], base="base", seed=seed)
    return run


def test_intervals_equal_a_jackknife_over_blocks_and_one_over_rows(blocks_run):
    results = read_results(blocks_run)
    base, *tuned = [read_predictions(results.root, one) for one in results.entries]

    def delta(keep, seed):
        after, before = (
            mean_pearson(rows["truth"][keep], rows["prediction"][keep])
            for rows in (tuned[seed], base)
        )
        return after - before

    def by_hand(unit):
        names = np.unique(unit)
        count = len(names)
        without = np.array(
            [[delta(unit != name, seed) for name in names] for seed in range(2)]
        )
        whole = np.array([delta(np.full(len(unit), True), seed) for seed in range(2)])
        spread = ((without.mean(0) - without.mean()) ** 2).sum() * (count - 1) / count
        mixed = without - without.mean(0)
        mixed = ((mixed - mixed.mean(1, keepdims=True)) ** 2).sum() * (count - 1)
        seeds = max(0.0, (whole.var(ddof=1) - mixed / count) / 2)
        parts = np.array([spread, seeds])
        freedom = parts.sum() ** 2 / (parts**2 / [count - 1, 1]).sum()
        width = scipy.stats.t.ppf(0.975, freedom) * parts.sum() ** 0.5
        return pytest.approx((whole.mean() - width, whole.mean() + width), abs=1e-9)

    row = compare(load_runs([blocks_run])).rows[1]
    found = row.deltas["genes"]
    assert (found.low, found.high) == by_hand(base["block"])
    assert (found.row_low, found.row_high) == by_hand(base["unit"])
    assert found.permutations == 2**BLOCKS  # the test exchanges blocks too
    value = row.values["genes"]
    assert value.row_low is not None and value.row_low != value.low


def test_both_intervals_are_in_every_form_of_the_table(blocks_run, tmp_path):
    table = compare(load_runs([blocks_run]))
    assert "; rows [" in render_markdown(table).replace("\\", "")
    assert any(f"over {BLOCKS} blocks of 1 x 1 mm" in note for note in table.notes)
    cell = table_json(table)["cells"][1]
    assert cell["n_blocks"] == BLOCKS
    assert cell["delta_row_low"] == table.rows[1].deltas["genes"].row_low
    write_table(table, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv")
    delta, known = (one.rows[1].deltas["genes"] for one in (again, table))
    assert delta.row_low == pytest.approx(known.row_low, abs=1e-9)
    assert again.columns[0].n_blocks == BLOCKS


def test_a_table_without_blocks_has_none_of_their_fields(run, tmp_path):
    table = compare(load_runs([run]))
    assert "n_blocks" not in table_json(table)["cells"][0]
    write_table(table, tmp_path / "table.csv")
    assert "row_low" not in (tmp_path / "table.csv").read_text()
    assert (
        "blocks_um"
        not in json.loads((run / "results.json").read_text())["entries"][0]["declared"]
    )


def test_models_with_and_without_blocks_are_not_compared(blocks_run, outcomes):
    plain = outcomes.gene_outcome("genes", 1.0, 5, patients=1)
    outcomes.write_model(blocks_run, "other", [plain], base="base", seed=0)
    with pytest.raises(ReportError, match=r"other rows \(block\)"):
        compare(load_runs([blocks_run]))


def probabilities(outcomes, right, seed, metric="balanced_accuracy", more=()):
    """A classification by three probabilities, scored by several metrics."""
    made = outcomes.class_outcome("kind", right, seed)
    noise = np.random.default_rng(seed).dirichlet(np.ones(3), made.n)
    score = (noise + np.eye(3)[made.prediction]).astype(np.float32) / 2

    def scored(name):
        own = METRICS[name]
        value = own.value(made.truth, own.as_needed(score))
        return {"value": value, "chance": own.chance_level(made.truth)}

    record = [{"metric": name, "values": [], **scored(name)} for name in more]
    task = dataclasses.replace(made.task, metric=metric, more_metrics=more)
    more = tuple(record)
    kept = score if more else METRICS[metric].as_needed(score)
    return dataclasses.replace(
        made, task=task, metric=metric, prediction=kept, more_metrics=more,
        **scored(metric),
    )  # fmt: skip


def written(outcomes, root, *metrics, genes=True):
    """A base and a tuned model, scored by these metrics."""
    for name, base, right, seed in (("base", None, 0.4, 1), ("tuned", "base", 0.8, 2)):
        first, *more = metrics
        made = [probabilities(outcomes, right, seed, first, tuple(more))]
        if genes:
            made.append(outcomes.gene_outcome("genes", 1.0, seed))
        outcomes.write_model(root, name, made, base=base, seed=None)
    return compare(load_runs([root]), permutations=999)


def test_the_test_of_auprc_leaves_its_bias_in(tmp_path, outcomes):
    table = written(outcomes, tmp_path, "auprc", genes=False)
    base, tuned = (item.rows for item in load_runs([tmp_path]))
    patients = np.unique(base["patient"])

    def delta(without=""):
        kept = base["patient"] != without
        values = [
            METRICS["auprc"].value(one["truth"][kept], one["prediction"][kept])
            for one in (base, tuned)
        ]
        return values[1] - values[0]

    without = np.array([delta(), *map(delta, patients)])
    adds = -(len(patients) - 1) * (without[1:] - without[1:].mean()) + without[0]
    key = zlib.crc32("\n".join(["cohort", "patient", *patients]).encode())
    swaps = np.concatenate(list(Swaps(len(patients), 999, (0, key)).blocks()))
    far = np.abs(np.where(swaps, -adds, adds).mean(axis=1))
    ties = (np.abs(far - abs(without[0])) < 1e-9).sum()
    hits = (far > abs(without[0]) + 1e-9).sum() + ties / 2
    found = table.rows[1].deltas["kind"]
    assert found.p == pytest.approx((1 + hits) / 1000)


def test_further_metrics_are_columns_beside_the_first(tmp_path, outcomes):
    """Each as a task of its own would be; the first and the mean delta as without."""
    table = written(outcomes, tmp_path / "all", "balanced_accuracy", "auroc", "auprc")
    alone = written(outcomes, tmp_path / "one", "balanced_accuracy")
    further = written(outcomes, tmp_path / "auc", "auroc", genes=False)
    assert [(c.task, c.of) for c in table.columns] == [
        ("kind", ""), ("kind (auroc)", "kind"), ("kind (auprc)", "kind"), ("genes", ""),
    ]  # fmt: skip
    (base, tuned), plain = table.rows, alone.rows[1]
    for task in ("kind", "genes"):
        assert tuned.deltas[task] == plain.deltas[task]
    assert tuned.mean == plain.mean
    assert base.values["kind (auroc)"] == further.rows[0].values["kind"]
    own = further.rows[1].deltas["kind"]
    found = tuned.deltas["kind (auroc)"]
    assert (found.value, found.low, found.high) == (own.value, own.low, own.high)
    assert found.p == pytest.approx(own.p, abs=0.01) and found.p_holm >= found.p
    text = render_markdown(table)
    assert (
        "| kind (balanced accuracy, chance 33.3) | kind (AUROC, chance 50.0) |" in text
    )
    assert "not in the mean delta: kind (auroc), kind (auprc)" in text
    assert "Protocol linear/1, auroc: kind." in text
    assert text.count("Test rows") == 1
    write_table(table, tmp_path / "t.csv")
    again = read_table(tmp_path / "t.csv")
    assert [c.of for c in again.columns] == ["", "kind", "kind", ""]
    assert again.rows[1].mean.value == pytest.approx(tuned.mean.value)
    (cell,) = [c for c in table_json(table)["cells"] if c["task"] == "kind (auprc)"][:1]
    assert cell["of"] == "kind" and cell["chance"] == pytest.approx(1 / 3, abs=0.02)


def test_q_values_where_they_are_asked_for(tmp_path, outcomes):
    written(outcomes, tmp_path, "balanced_accuracy", "auroc")
    scored = load_runs([tmp_path])
    assert not compare(scored, permutations=99).has_q
    table = compare(scored, permutations=99, q_values=True)
    deltas = table.rows[1].deltas
    first = {task: deltas[task].p for task in ("kind", "genes")}
    q = scipy.stats.false_discovery_control([*first.values()])
    assert [deltas[task].q for task in first] == list(q)
    assert table.rows[1].mean.q is None
    text = render_markdown(table)
    assert f"; q {q[0]:.2g}" in text and "Benjamini and Hochberg" in text
    write_table(table, tmp_path / "t.csv")
    again = read_table(tmp_path / "t.csv").rows[1].deltas
    assert again["kind"].q == pytest.approx(q[0])


def test_many_tasks_have_q_values(tmp_path, outcomes):
    for name, base, noise in (("base", None, 2.0), ("tuned", "base", 1.0)):
        made = [outcomes.gene_outcome(f"g{k}", noise, k) for k in range(MANY + 1)]
        outcomes.write_model(tmp_path, name, made, base=base)
    assert compare(load_runs([tmp_path]), permutations=99).has_q
    with pytest.raises(ReportError, match="--q-values"):
        load_table([tmp_path / "t.csv"], q_values=True)


def test_intervals_of_a_metric_per_slide_are_of_its_slides(tmp_path, outcomes):
    made = outcomes.gene_outcome("genes", 1.0, 1)
    metric = METRICS["pearson_per_slide"]
    slide = np.array([f"S{i % 4}" for i in range(made.n)])
    strata, combine = metric.grouped(made.stratum, slide, "within")
    value = metric.value(made.truth, made.prediction, strata, combine)
    record = {"metric": metric.name, "value": value, "chance": 0.0, "values": []}
    outcomes.write_model(
        tmp_path,
        "base",
        [dataclasses.replace(made, slide=slide, more_metrics=(record,))],
    )
    first, further = load_runs([tmp_path])
    assert further.entry["combine"] == "mean" and first.entry["combine"] == "within"
    scores = Scores([first, further])
    for item in (first, further):
        every = scores.of("base", item.entry["task"], [None]).units
        assert every[0, 0] == pytest.approx(item.entry["value"])
