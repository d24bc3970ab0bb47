import json

from pathjax.report.compare import compare, load_runs
from pathjax.report.json_table import table_json
from pathjax.report.table_data import Column, Estimate, Row, Table


def test_every_record_has_every_number(run):
    table = compare(load_runs([run]), replicates=60, permutations=30, title="T")
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
        "permutations": 30,
        "replicates": 60,
    }
    assert cells["tuned", "mean delta"]["p"] == row.mean.p
    assert cells["tuned", "mean delta"]["value"] is None
    assert cells["base", "kind"]["delta"] is None and cells["base", "kind"]["p"] is None


def test_what_is_not_known_is_null():
    row = Row("m", None, False, {"t": Estimate(0.5)}, {})
    (cell,) = table_json(Table((Column("t"),), (row,)))["cells"]
    known = {key: one for key, one in cell.items() if one is not None}
    assert known == {"model": "m", "task": "t", "value": 0.5}
