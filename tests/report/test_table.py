import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from pathjax.report.csv_table import read_table, write_table
from pathjax.report.table import (
    load_table,
    percent,
    print_table,
    render_markdown,
    write_report,
)
from pathjax.report.table_data import (
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    records,
)

POSTER = Path(__file__).resolve().parents[2] / "docs" / "data" / "poster.csv"


def lines_of(markdown):
    """Model -> cells, of a Markdown table."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")][2:]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return {row[0]: row[1:] for row in cells}


def test_the_posters_numbers_give_the_posters_mean_deltas():
    table = load_table([POSTER])
    rows = lines_of(render_markdown(table))
    assert [row.name for row in table.rows] == [
        "Base model",
        "Direct fine-tuning",
        "Contrastive base",
        "Contrastive fine-tuning",
    ]
    assert rows["Direct fine-tuning (delta)"][-1] == "+0.5"
    assert rows["Contrastive fine-tuning (delta)"][-1] == "+0.8"
    assert rows["Base model (%)"][:3] == ["67.1", "89.0", "74.1"]
    assert rows["Contrastive fine-tuning (delta)"][6] == "0.0"
    assert len(table.columns) == 10
    assert "no intervals" in render_markdown(table)


@pytest.mark.parametrize(
    ("number", "signed", "text"),
    [
        (0.671, False, "67.1"),
        (-0.006, True, "-0.6"),
        (0.0001, True, "0.0"),
        (-0.0001, True, "0.0"),
        (-0.0001, False, "0.0"),
        (0.1, True, "+10.0"),
        (-0.1, True, "-10.0"),
    ],
)
def test_percent_has_one_decimal_and_no_negative_zero(number, signed, text):
    assert percent(number, signed=signed) == text


def small():
    return Table(
        (Column("a|b*", "pearson"), Column("c", "recall@10", chance=0.1)),
        (
            Row("base", None, True, {"a|b*": Estimate(0.5, 0.4, 0.6)}, {}),
            Row(
                "tuned",
                "base",
                False,
                {"a|b*": Estimate(0.6), "c": Estimate(0.3, 0.2, 0.4)},
                {"a|b*": Estimate(0.1, 0.02, 0.2)},
                Estimate(0.1, -0.01, 0.2),
                3,
            ),
            Row("colour", None, False, {"a|b*": Estimate(0.2)}, {}),
        ),
        ("about $x$ and <b>",),
        "Title",
    )


def test_markdown_flags_intervals_and_escapes_names():
    text = render_markdown(small())
    rows = lines_of(text)
    assert text.startswith("# Title\n")
    assert r"a\|b\* (mean Pearson r)" in text and r"\<b\>" in text
    assert "(recall@10, chance 10.0)" in text
    assert rows["base (%)"] == ["50.0 [40.0, 60.0]", "", ""]
    assert rows["tuned (delta)"][0] == "+10.0° [+2.0, +20.0]"  # no test: not bold
    assert rows["tuned (delta)"][2] == "+10.0 [-1.0, +20.0]"
    assert rows["tuned (delta)"][1] == "=30.0 [20.0, 40.0]"  # no base value: own value
    assert "its base has none" in text
    assert rows["colour (%)"] == ["20.0", "", ""]


def test_an_error_is_shown_in_its_own_unit():
    table = small()
    error = Column("c", "no:SUCH", chance=0.75, percent=False)
    table = dataclasses.replace(table, columns=(table.columns[0], error))
    text = render_markdown(table)
    assert "chance 0.750" in text
    assert lines_of(text)["tuned (delta)"][:2] == [
        "+10.0° [+2.0, +20.0]",
        "=0.300 [0.200, 0.400]",
    ]


def test_a_delta_with_a_small_corrected_p_has_a_star():
    table = small()
    row = table.rows[1]
    delta = dataclasses.replace(row.deltas["a|b*"], p=0.01, p_holm=0.02)
    mean = dataclasses.replace(row.mean, p=0.04)
    starred = dataclasses.replace(row, deltas={"a|b*": delta}, mean=mean)
    table = dataclasses.replace(table, rows=(table.rows[0], starred))
    cells = lines_of(render_markdown(table))["tuned (delta)"]
    assert cells[0] == r"**+10.0**\* [+2.0, +20.0]"
    assert cells[2] == r"+10.0\* [-1.0, +20.0]"
    console = Console(width=200, record=True, file=io.StringIO())
    print_table(table, console)
    assert console.export_text().count("+10.0*") == 2
    # What counts is the corrected p; the interval alone has another mark, everywhere.
    delta = dataclasses.replace(delta, p_holm=0.05)
    starred = dataclasses.replace(starred, deltas={"a|b*": delta})
    table = dataclasses.replace(table, rows=(table.rows[0], starred))
    cells = lines_of(render_markdown(table))["tuned (delta)"]
    assert cells[0] == "+10.0° [+2.0, +20.0]"
    print_table(table, console)
    assert "+10.0°" in console.export_text()
    marks = {cell["task"]: (cell["mark"], cell["bold"]) for cell in records(table)}
    assert marks["a|b*"] == ("°", False) and marks["mean delta"] == ("*", False)


def test_marks_survive_a_csv(tmp_path):
    table = small()
    columns = (dataclasses.replace(table.columns[0], optimistic=True), table.columns[1])
    table = dataclasses.replace(table, columns=columns)
    assert r"a\|b\* † (mean Pearson r)" in render_markdown(table)
    write_table(table, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv")
    assert [column.title for column in again.all_columns] == [
        "a|b* †", "c", "mean delta †"
    ]  # fmt: skip
    assert "°†" in (tmp_path / "table.csv").read_text()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_terminal_shows_every_number_at_any_width(width):
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(load_table([POSTER]), console)
    text = console.export_text()
    for number in ("67.1", "+2.9", "-1.5", "41.6", "+0.5", "+0.8"):
        assert number in text
    assert "…" not in text


def test_report_writes_everything_there_is(run, tmp_path):
    log = run / "train" / "metrics.jsonl"
    log.parent.mkdir()
    log.write_text('{"step": 1, "train/loss": 2.0}\n{"step": 2, "val/loss": 1.5}\n')
    _, paths = write_report([run], tmp_path / "out", title="A $ title")
    assert set(paths) == {
        "markdown", "csv", "json", "png", "deltas", "genes:genes", "learning"
    }  # fmt: skip
    for name, path in paths.items():
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 200, name
                assert len(set(image.convert("L").tobytes())) > 10, name
    again = read_table(paths["csv"])
    fresh = load_table([run])
    assert [row.name for row in again.rows] == [row.name for row in fresh.rows]
    for one, other in zip(again.rows, fresh.rows, strict=True):
        for task, delta in other.deltas.items():
            assert one.deltas[task].low == pytest.approx(delta.low, rel=1e-8)
        if other.mean:
            assert one.mean.high == pytest.approx(other.mean.high, rel=1e-8)
            assert one.mean.p == pytest.approx(other.mean.p, rel=1e-8)
    cells = json.loads(paths["json"].read_text())["cells"]
    assert [cell["task"] for cell in cells if cell["model"] == "tuned"] == [
        "kind", "genes", "mean delta"
    ]  # fmt: skip
    assert set(fresh.notes) <= set(again.notes)


def test_poster_report_has_a_table_and_deltas(tmp_path):
    _, paths = write_report([POSTER], tmp_path)
    assert set(paths) == {"markdown", "csv", "json", "png", "deltas"}


def test_a_csv_is_not_joined_with_runs(run):
    with pytest.raises(ReportError, match="finished table"):
        load_table([POSTER, run])
    with pytest.raises(ReportError, match="no run folder"):
        load_table([])
