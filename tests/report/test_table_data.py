import json

import pytest

from pathjax.report.compare import compare, load_runs
from pathjax.report.notes import mean_notes
from pathjax.report.table_data import (
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    check_bases,
    in_order,
    plain_mean,
    table_json,
)


def test_models_stand_below_their_base_and_others_last():
    bases = {"yard": None, "t1": "b1", "b1": None, "t2": "b2", "b2": None, "t3": "b1"}
    assert in_order(bases) == ["b1", "t1", "t3", "b2", "t2", "yard"]


def test_bases_have_to_be_there_and_be_bases():
    check_bases({"b": None, "t": "b"})
    with pytest.raises(ReportError, match="t names 'x'.*u's base t is itself"):
        check_bases({"b": None, "t": "x", "u": "t"} | {"x2": None})


@pytest.mark.parametrize(
    ("low", "high", "flagged"),
    [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False)],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(low, high, flagged):
    assert Estimate(0.0, low, high).excludes_zero is flagged
    assert not Estimate(0.5).excludes_zero


def test_significance_is_of_the_corrected_p_where_there_is_one():
    assert Estimate(0.1, p=0.049).significant
    assert not Estimate(0.1, p=0.01, p_holm=0.05).significant
    assert Estimate(0.1, p=0.01, p_holm=0.04).significant
    assert not Estimate(0.1, 0.05, 0.2).significant


def test_partial_means_are_noted():
    deltas = {"a": Estimate(0.1), "b": Estimate(0.3)}
    assert plain_mean(deltas.values()).value == pytest.approx(0.2)
    assert plain_mean([]) is None
    columns = tuple(map(Column, "abc"))
    row = Row("m", "x", False, {}, deltas)
    assert mean_notes(columns, (row,)) == [
        "m: mean delta over 2 of 3 tasks (none for c)."
    ]
    assert mean_notes(columns[:2], (row,)) == []
    (note,) = mean_notes((columns[0], Column("b", percent=False)), (row,))
    assert note.startswith("Errors, in their own unit") and note.endswith(": b.")


def test_every_record_has_every_number(run):
    table = compare(load_runs([run]), permutations=99, title="T")
    found = json.loads(json.dumps(table_json(table), allow_nan=False))
    assert (found["schema"], found["title"], found["interval"]) == (1, "T", 0.95)
    assert found["notes"] == list(table.notes)
    cells = {(cell["model"], cell["task"]): cell for cell in found["cells"]}
    assert len({tuple(cell) for cell in found["cells"]}) == 1
    tuned, row = cells["tuned", "genes"], table.rows[1]
    value, delta = row.values["genes"], row.deltas["genes"]
    assert tuned == {
        "model": "tuned",
        "base": "base",
        "task": "genes",
        "metric": "pearson",
        "protocol": "ridge/1",
        "chance": 0.0,
        "n": 60,
        "n_patients": 20,
        "seeds": 3,
        "value": value.value,
        "value_low": value.low,
        "value_high": value.high,
        "delta": delta.value,
        "delta_low": delta.low,
        "delta_high": delta.high,
        "p": delta.p,
        "p_holm": delta.p_holm,
        "q": None,
        "permutations": 99,
        "mark": "*",
        "bold": True,
        "of": None,
        "optimistic": False,
    }
    assert cells["tuned", "mean delta"]["p"] == row.mean.p
    assert cells["tuned", "mean delta"]["value"] is None
    assert cells["base", "kind"]["delta"] is None and cells["base", "kind"]["p"] is None


def test_what_is_not_known_is_null():
    row = Row("m", None, False, {"t": Estimate(0.5)}, {})
    (cell,) = table_json(Table((Column("t"),), (row,)))["cells"]
    known = {key: one for key, one in cell.items() if one not in (None, "", False)}
    assert known == {"model": "m", "task": "t", "value": 0.5}
