"""Columns of survival: codes, units, and what is left out with its reason."""

import pandas as pd
import pytest

from pathjax.datasets.tcga.followup import agree_on_followup, split_followup
from pathjax.datasets.tcga.labels import read_labels, read_table
from pathjax.datasets.tcga.tables import TcgaError

NAMES = [f"TCGA-3C-AA{i:02d}" for i in range(8)]


def written(folder, header, rows):
    path = folder / "labels.csv"
    lines = [
        ",".join(map(str, (name, *row))) for name, row in zip(NAMES, rows, strict=False)
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def values(path):
    found = read_table(path)
    return list(found.loc[found["label"].isin(["os", "dss"]), "value"])


def test_codes_and_units_of_both_kinds_of_table(tmp_path):
    rows = [(12.5, 0), (30, 1.0)]
    path = written(tmp_path, "case_id,survival_months,censorship", rows)
    assert values(path) == ["12.50 months, event", "30.00 months, censored"]
    path = written(tmp_path, "case_id,DSS.time,DSS", [(365.25, 1), (731, 0)])
    assert values(path) == ["12.00 months, event", "24.02 months, censored"]


def test_a_bad_cell_of_another_column_leaves_survival_in(tmp_path):
    rows = [("Stage X", 12.5, 0), ("Stage II", 30, 1), ("Stage I", 5, 0)]
    labels = read_labels(
        [written(tmp_path, "case_id,stage,survival_months,censorship", rows)]
    )
    assert labels.table["os"].tolist() == [12.5, 30, 5]
    assert [reason[:6] for _, reason in labels.unused] == ["stage:"]


def test_bad_and_missing_cells_are_left_out_with_their_line(tmp_path):
    rows = [(5, 0)] * 5 + [(-3, 1), (0, 0), ("NA", 1)]
    path = written(tmp_path, "case_id,survival_months,censorship", rows)
    labels = read_labels([path])
    assert labels.table["os"].notna().sum() == 5
    reasons = dict(labels.unused)
    assert reasons["line 7 of labels.csv"] == (
        "survival_months: expected a time above 0, got -3"
    )
    assert "got 0" in reasons["line 8 of labels.csv"] and len(reasons) == 2


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("case_id,OS.time,OS", [(900, 1), (400, 2)], "R codes events 2 and censored 1"),
        ("case_id,survival_months,censorship", [(2000, 1), (90, 0)], "expected months"),
        (
            "case_id,survival_months,censorship",
            [(-1, 1), (0, 0)],
            "2 bad rows or cells",
        ),
    ],
)
def test_tables_in_another_code_or_unit_are_refused(tmp_path, header, rows, message):
    with pytest.raises(TcgaError, match=message):
        read_table(written(tmp_path, header, rows))


def test_sources_may_round_differently_and_not_disagree():
    claims = pd.DataFrame(
        [
            ("a", "os", "24.00 months, event"),
            ("a", "os", "24.40 months, event"),
            ("b", "os", "24.00 months, event"),
            ("b", "os", "24.00 months, censored"),
            ("c", "os", "24.00 months, event"),
            ("c", "os", "26.00 months, event"),
            ("c", "tp53", "mutated"),
        ],
        columns=["patient", "label", "value"],
        dtype=object,
    )
    agree = agree_on_followup(claims)
    assert list(agree) == [True, True, False, False, False, False]
    months, events = split_followup(claims["value"][:4])
    assert list(months) == [24, 24.4, 24, 24] and list(events) == [1, 1, 1, 0]
