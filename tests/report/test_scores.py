"""Intervals over blocks and over rows, of results written and read again."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats

from pathjax.evals.results import read_predictions, read_results
from pathjax.report.compare import compare, load_runs
from pathjax.report.csv_table import read_table, write_table
from pathjax.report.table import render_markdown
from pathjax.report.table_data import ReportError, table_json
from pathjax.stats.metrics import mean_pearson

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
