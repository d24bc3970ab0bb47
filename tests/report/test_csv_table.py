import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from pathjax.report import table, table_data
from pathjax.report.csv_table import read_table, write_table
from pathjax.report.style import BETTER, WORSE
from pathjax.report.table_data import Column, Estimate, ReportError, Row, Table

HEAD = "model,base,task,value,delta,low,high\n"
HEAD_P = "model,base,task,value,delta,low,high,p\n"


def written(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def test_delta_follows_from_values(tmp_path):
    path = written(tmp_path, HEAD + "b,,t,50,,,\nm,b,t,53.5,,1,6\n")
    row = read_table(path).rows[1]
    assert row.deltas["t"].value == pytest.approx(0.035)
    assert (row.deltas["t"].low, row.deltas["t"].high) == (0.01, 0.06)
    assert row.deltas["t"].excludes_zero and row.values["t"].low is None
    assert row.mean.value == pytest.approx(0.035)


@pytest.mark.parametrize(
    ("higher_is_better", "mean", "colours"),
    [(True, -0.03, [WORSE, WORSE]), (False, None, [BETTER, BETTER])],
)
def test_metric_direction_decides_mean_and_colour(
    tmp_path, monkeypatch, higher_is_better, mean, colours
):
    metric = types.SimpleNamespace(label="error", higher_is_better=higher_is_better)
    monkeypatch.setattr(table_data, "find_metric", lambda name, **_: metric)
    figures = []
    monkeypatch.setattr(table, "save", lambda figure, *a, **k: figures.append(figure))
    text = HEAD_P + "b,,t,50,,,,\nb,,u,50,,,,\nm,b,t,48,,-3,-1,0\nm,b,u,46,,-5,-3,0\n"
    result = read_table(written(tmp_path, text))
    found = result.rows[1].mean
    assert found is None if mean is None else found.value == pytest.approx(mean)
    table.draw_table(result, tmp_path / "t.png")
    boxes = figures[0].axes[0].collections
    assert [tuple(box.get_facecolor()[0][:3]) for box in boxes] == [
        to_rgb(colour) for colour in colours
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,task,value\n", "lacks the columns base, delta"),
        (HEAD, "no line"),
        (HEAD + "b,,t,x,,,\n", "line 2: value is 'x'"),
        (HEAD + "b,,t,nan,,,\n", "neither value nor delta"),
        (HEAD + "b,,t,inf,,,\n", "value is 'inf'"),
        (HEAD + "b,,t,,,,\n", "neither value nor delta"),
        (HEAD + "b,,t,,1,,\n", "a delta but no base"),
        (HEAD + "b,,t,1,,,\nb,,t,1,,,\n", "b, t occurs twice"),
        (HEAD + "b,,t,1,,0,\n", "low and high go together"),
        (HEAD + "b,,t,50,,60,70\n", "expected low <= 50 <= high, got 60 and 70"),
        (HEAD + "b,,t,5,,,\nm,b,t,,1,2,0.5\n", "line 3: expected low <= 1 <= high"),
        (HEAD[:-1] + ",n\nb,,t,5,,,,1.5\n", "n is 1.5, expected a whole number"),
        (HEAD[:-1] + ",seeds\nb,,t,5,,,,-2\n", "seeds is -2, expected a whole number"),
        (
            HEAD[:-1] + ",metric\nb,,t,5,,,,auroc\nm,b,t,5,,,,accuracy\n",
            "line 3: metric of t is accuracy, before auroc",
        ),
        (
            HEAD[:-1] + ",unit\nb,,t,5,,,,score\nm,b,t,5,,,,percent\n",
            "line 3: unit of t is percent, before score",
        ),
        (HEAD + "b,,t\n", "1 rows have too many or few cells .line 2: 3 cells for 7"),
        (HEAD + "b,,t,1,,,\nm,b,mean delta,1,,,\n", "line 3: mean delta has no delta"),
        (HEAD + ",,t,1,,,\n", "expected a model and a task"),
        (HEAD[:-1] + ",unit\nb,,t,1,,,,mm\n", "unit is 'mm', expected percent or"),
        (HEAD_P + "b,,t,1,,,,0.1\n", "b has a p but no base"),
        (HEAD_P + "b,,t,1,,,,\nm,b,t,1,,,,1.1\n", "line 3: p is 1.1, expected 0 to 1"),
        (HEAD + "m,b,t,,1,,\n", "names 'b' as its base, which has no results"),
        (HEAD + "b,,t,1,,,\nm,b,t,,1,,\nm,,u,1,,,\n", "m has base None, before b"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    with pytest.raises(ReportError, match=message):
        read_table(written(tmp_path, text))


def test_what_does_not_agree_or_is_not_read_is_noted(tmp_path):
    text = HEAD[:-1] + ",metrc\nb,,t,50,,,,x\nm,b,t,55,9,,,x\nn,b,t,55,5.1,,,x\n"
    notes = read_table(written(tmp_path, text)).notes
    assert "Columns that were not read: metrc." in notes
    (note,) = (note for note in notes if "difference" in note)
    assert note == "m, t: the delta, 9, is not the difference of the values, 5."


def test_an_error_is_written_and_read_in_its_own_unit(tmp_path):
    columns = (Column("kind", "accuracy"), Column("fit", "my:BRIER", percent=False))
    base = {"kind": Estimate(0.5), "fit": Estimate(0.25, 0.2, 0.3)}
    delta = {"kind": Estimate(0.1), "fit": Estimate(-0.05, -0.07, -0.03)}
    rows = (Row("b", None, True, base, {}), Row("m", "b", False, {}, delta))
    write_table(Table(columns, rows), tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text()
    assert (
        "m,b,fit,my:BRIER,,-0.05,-0.07,-0.03," in text and "b,,kind,accuracy,50" in text
    )
    again = read_table(tmp_path / "t.csv")
    assert [column.percent for column in again.columns] == [True, False]
    assert again.rows[1].deltas == delta and again.rows[0].values["fit"].low == 0.2
    assert again.rows[1].mean.value == pytest.approx(0.1)  # of the accuracy alone
    assert any("not in the mean delta" in note for note in again.notes)


def test_a_table_is_read_in_the_spellings_of_spreadsheets(tmp_path):
    path = tmp_path / "t.csv"
    text = "# from a sheet\nModel;Base;Task;Value;Delta\nNA;;t;50,5;\nm;NA;t;53,5;n/a\n"
    path.write_text(text, encoding="utf-16")
    table = read_table(path)
    assert [row.name for row in table.rows] == ["NA", "m"]
    assert table.rows[1].deltas["t"].value == pytest.approx(0.03)
    assert "from a sheet" in table.notes


names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1
)
names = names.map(str.strip).filter(lambda n: n and not n.startswith("#"))
numbers = st.floats(-1, 1).map(lambda x: round(x, 6))


@settings(max_examples=30, deadline=None)
@given(
    base=names, tuned=names, tasks=st.lists(names, min_size=1, max_size=3, unique=True),
    value=numbers, delta=numbers, p=st.none() | st.floats(0, 1), width=st.floats(0, 1).map(lambda x: round(x, 6)),
)  # fmt: skip
def test_what_is_written_is_read(
    tmp_path_factory, base, tuned, tasks, value, delta, p, width
):
    if base == tuned:
        tuned += "'"
    test = (None, None, None) if p is None else (p, min(1.0, 2 * p), 1000)
    estimate = Estimate(delta, delta - width, delta + width, *test)
    values = {task: Estimate(value, value, value) for task in tasks}
    deltas = dict.fromkeys(tasks, estimate)
    table = Table(
        tuple(Column(task, "pearson", None, 7, 3) for task in tasks),
        (
            Row(base, None, True, values, {}, None, 1),
            Row(tuned, base, False, {}, deltas, estimate, 3),
        ),
        ("a note",),
    )
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_table(table, path)
    again = read_table(path)
    assert again.columns == table.columns and again.notes == table.notes
    assert [(r.name, r.base, r.seeds) for r in again.rows] == [
        (base, None, 1),
        (tuned, base, 3),
    ]
    for task in tasks:
        found = again.rows[1].deltas[task]
        assert found.value == pytest.approx(delta, abs=1e-9)
        assert found.high == pytest.approx(delta + width, abs=1e-9)
        assert (found.p is None) == (p is None) and found.permutations == test[2]
        if p is not None:
            assert (found.p, found.p_holm) == pytest.approx(test[:2], rel=1e-9)
    assert again.rows[1].mean.low == pytest.approx(delta - width, abs=1e-9)
    rewritten = path.with_name("again.csv")
    write_table(again, rewritten)
    assert path.read_text(encoding="utf-8") == rewritten.read_text(encoding="utf-8")
