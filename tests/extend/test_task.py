"""docs/extend/task.md: the page's declaration and commands."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pathjax.cli import main
from pathjax.evals.results import read_results

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "extend" / "task.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def test_the_declaration_is_of_ten_lines():
    (declaration,) = blocks("json")
    assert len(declaration.strip().splitlines()) == 10


@pytest.mark.slow
def test_each_line_does_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (declaration,) = blocks("json")
    (tmp_path / "msi.json").write_text(declaration)
    lines = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(lines) == 5
    for line in lines:
        program, *words = shlex.split(line)
        wanted = 1 if words[0] == "audit" else 0  # the page says that it finds overlap
        assert (program, main(words)) == ("pathjax", wanted), line
        if wanted:
            assert "OVERLAP" in capsys.readouterr().out
    (entry,) = read_results(tmp_path / "results").entries
    assert entry["declared"] == json.loads(declaration)[0] | {
        "select": None, "genes": 100, "classes": [], "site_preserved": False,
    }  # fmt: skip
    assert entry["metric"] == "auroc" and entry["chance"] == 0.5
    more = {one["metric"]: one["chance"] for one in entry["more_metrics"]}
    assert more == {"auprc": 0.5, "balanced_accuracy": 0.5}
    assert entry["n_patients"] == 24 and 0 <= entry["value"] <= 1
    (head, *_) = (tmp_path / "results" / "report" / "table.md").read_text().split("\n")
    for metric in ("AUROC", "AUPRC", "balanced accuracy"):
        assert f"MSI ({metric}, chance 50.0)" in head


@pytest.mark.parametrize("page", ["../protocols.md", "../study.md", "probe.md"])
def test_pages_it_points_to_are_there(page):
    assert f"]({page})" in TEXT and (REPOSITORY / "docs" / "extend" / page).is_file()
