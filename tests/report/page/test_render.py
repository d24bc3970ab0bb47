"""The file: nothing from data is markup, and its policy allows its own code alone."""

import base64
import hashlib
import html.parser
import json
import re
from importlib import resources

import pytest

from pathjax.cli import main
from pathjax.report.csv_table import write_table
from pathjax.report.page.gather import gather
from pathjax.report.page.render import SCRIPTS, escaped_json, render, write_page


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag in ("script", "style", "title")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            tag, attrs = self.tags[-1]
            self.inside.append((tag, attrs.get("type"), data))


@pytest.fixture
def page(full_run, tabled, hostile):
    return render(gather([full_run], tabled(full_run), title=hostile))


def test_names_from_data_are_no_markup(page, hostile):
    elements = Elements(page)
    assert not [tag for tag, _ in elements.tags if tag in ("img", "b")]
    (text,) = [data for _, kind, data in elements.inside if kind == "application/json"]
    assert json.loads(text)["title"] == hostile
    assert not set("<>&") & set(text)
    (title,) = [data for tag, _, data in elements.inside if tag == "title"]
    assert title == hostile


def test_the_policy_allows_what_is_in_the_file_and_no_more(page):
    elements = Elements(page)
    (policy,) = [
        attrs["content"]
        for tag, attrs in elements.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"

    def sealed(tag):
        return {
            "'sha256-"
            + base64.b64encode(hashlib.sha256(data.encode()).digest()).decode()
            + "'"
            for name, kind, data in elements.inside
            if name == tag and kind is None
        }

    assert set(rules["script-src"].split()) == sealed("script")
    assert set(rules["style-src"].split()) == sealed("style")
    assert "unsafe" not in policy and "http" not in policy


def test_nothing_is_fetched_and_no_handler_is_in_the_markup(page):
    for tag, attrs in Elements(page).tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
        assert "src" not in attrs
        assert attrs.get("href", "#").startswith(("#", "data:,")), tag


def test_the_scripts_never_parse_text():
    for name in (*SCRIPTS, "theme.js"):
        text = (resources.files("pathjax.report.page") / name).read_text("utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "eval(",
            "document.write",
        ):
            assert word not in text, name


def test_json_has_no_word_for_nan():
    with pytest.raises(ValueError, match="Out of range float"):
        escaped_json({"a": float("nan")})


def test_a_file_name_that_is_no_text():
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert json.loads(escaped_json(name).encode("utf-8")) == name


def test_each_place_of_the_template_is_filled_once(page):
    assert not re.search(r"{{(policy|title|style|theme|data|script)}}", page)


def test_text_that_looks_like_a_place_stays_text(run, tabled):
    page = render(gather([run], tabled(run), title="{{script}}"))
    assert "<title>{{script}}</title>" in page


def test_report_html(run, tmp_path, tabled, capsys):
    path = tmp_path / "table1.csv"
    write_table(tabled(run), path)
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
    path = write_page([run], tabled(run), tmp_path, title=title)
    assert f"<title>{title or 'run'}</title>" in path.read_text("utf-8")
