"""What is gathered, from where, and what is said of the rest."""

import json
from pathlib import Path

import pytest

from pathjax.report.csv_table import read_table, write_table
from pathjax.report.page.gather import HOW_TO_GET, Inputs, gather
from pathjax.report.table_data import ReportError


def test_every_section_is_found_by_what_is_in_the_files(full_run, tabled, hostile):
    got = gather([full_run], tabled(full_run))
    assert set(HOW_TO_GET) <= set(got) and got["absent"] == []
    assert got["table"]["tasks"] == ["kind", hostile, "genes"]
    assert [one["title"] for one in got["points"]] == ["tsne", "umap-age"]
    assert got["points"][0]["id"][:2] == ["#1", hostile.strip()]
    assert [one["title"] for one in got["maps"]] == ["spots"]
    assert [one["title"] for one in got["grids"]] == [hostile]
    assert got["genes"][0]["models"][1]["base"] == hostile
    assert [one["run"] for one in got["curves"]] == ["tuned-0"]
    overlap = [one for one in got["audit"] if one["overlap"]]
    assert [(one["against"], one["shared"]) for one in overlap] == [
        (hostile, {"patients": ["P1"]})
    ]
    json.dumps(got, allow_nan=False)


def test_a_report_beside_it_is_no_input_of_the_next(full_run, tabled):
    table = tabled(full_run)
    write_table(table, full_run / "report" / "table.csv")
    first = gather([full_run], table)
    again = gather([full_run], table)
    assert {**first, "made": ""} == {**again, "made": ""}


def test_named_files_come_first_and_once(run, tmp_path, tabled):
    named = tmp_path / "elsewhere.csv"
    named.write_text("x,y\n0,0\n", encoding="utf-8")
    inside = run / "umap.csv"
    inside.write_text("x,y,label\n0,0,a\n", encoding="utf-8")
    got = gather([run], tabled(run), inputs=Inputs(points=[named, inside]))
    assert [one["title"] for one in got["points"]] == ["elsewhere", "umap"]


def test_a_finished_table_has_no_other_sections(run, tmp_path, tabled):
    path = tmp_path / "table1.csv"
    write_table(tabled(run), path)
    got = gather([path], read_table(path))
    assert got["title"] == "table1"
    assert [name for name, _ in got["absent"]] == list(HOW_TO_GET)
    assert not set(HOW_TO_GET) & set(got)


def test_all_that_cannot_be_read_is_listed(run, tmp_path, tabled, monkeypatch):
    monkeypatch.chdir(tmp_path)  # of long paths a message shows the first only
    Path("a.csv").write_text("x,z\n1,1\n", encoding="utf-8")
    Path("b.json").write_text("[]", encoding="utf-8")
    Path("c.json").write_text("[1]", encoding="utf-8")
    inputs = Inputs(
        points=[Path("a.csv")],
        grids=[Path("b.json")],
        maps=[Path("gone.json")],
        audit=[Path("c.json")],
    )
    with pytest.raises(ReportError) as caught:
        gather([run], tabled(run), inputs=inputs)
    for part in (
        "a.csv lacks",
        "b.json: expected the content to be an object, got []",
        "gone.json",
        "c.json",
    ):
        assert part in str(caught.value)
    with pytest.raises(ReportError, match="expected a list of `pathjax audit`'s rec"):
        gather([run], tabled(run), inputs=Inputs(audit=inputs.audit))


def test_other_files_are_left_alone(run, tabled):
    (run / "notes.json").write_text("{", encoding="utf-8")
    (run / "cells.csv").write_text("x,y,area\n0,0,1\n", encoding="utf-8")
    (run / "empty.csv").write_text("", encoding="utf-8")
    (run / ".partial.csv").write_text("x,y,label\n", encoding="utf-8")
    got = gather([run], tabled(run))
    assert [name for name, _ in got["absent"]] == ["curves", "points", "grids", "maps"]
