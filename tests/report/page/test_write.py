"""The command writes the page beside the report's other files."""

import pytest

from pathjax.cli import main
from pathjax.report.csv_table import write_csv


def test_report_html(run, tmp_path, tabled, capsys):
    path = tmp_path / "table1.csv"
    write_csv(tabled(run), path)
    assert main(["report", str(path), "--html", "--out", str(tmp_path / "out")]) == 0
    page = tmp_path / "out" / "index.html"
    assert str(page) in capsys.readouterr().out
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert not list(page.parent.glob(".partial*"))


def test_its_flags_without_it(run, tmp_path, capsys):
    words = ["report", str(run), "--points", "a.csv", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "--points is for the page: add --html" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("title", ["", "Table 1 of us"])
def test_its_title(run, tmp_path, tabled, title):
    from pathjax.report.page import write_page

    path = write_page([run], tabled(run), tmp_path, title=title)
    assert f"<title>{title or 'run'}</title>" in path.read_text("utf-8")
