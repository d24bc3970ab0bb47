"""docs/extend/probe.md and metric.md: their files and commands, in an empty folder."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from pathjax.cli import main
from pathjax.evals.results import read_predictions, read_results
from pathjax.stats.metrics import find_metric

PAGES = Path(__file__).resolve().parents[2] / "docs" / "extend"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folders by page, in which the page was run once."""
    return {}, tmp_path_factory.mktemp("pages")


@pytest.fixture
def project(done, tmp_path, monkeypatch):
    """Runs a page in a folder of its own; returns the results in a copy of it."""
    pages, root = done
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def run(page: str, module: str):
        if page not in pages:
            pages[page] = root / module
            pages[page].mkdir()
            run_page(page, module)
        shutil.copytree(pages[page], tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return read_results(tmp_path / "results")

    def run_page(page: str, module: str):
        text = (PAGES / page).read_text(encoding="utf-8")
        code, task, commands = (
            re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1]
            for kind in ("python", "json", "bash")
        )
        monkeypatch.chdir(pages[page])
        sys.path.append(str(pages[page]))
        Path(f"{module}.py").write_text(code, encoding="utf-8")
        Path("tissue.json").write_text(task, encoding="utf-8")
        for line in commands.strip().splitlines():
            program, *words = shlex.split(line)
            assert (program, main(words)) == ("pathjax", 0), line
        sys.path.remove(str(pages[page]))
        sys.modules.pop(module)

    yield run
    for module in ("my_probe", "my_metric"):
        sys.modules.pop(module, None)


@pytest.mark.slow
def test_a_probe_of_ones_own(project, capsys):
    results = project("probe.md", "my_probe")
    (entry,) = results.entries
    assert entry["protocol"] == "nearest-mean/1" and entry["value"] > 0.5
    assert entry["hyper"]["smallest_class"] > 0
    assert "nearest-mean/1" in Path("results/report/table.md").read_text()
    # A task that the probe cannot do is refused before anything is computed.
    tasks = json.loads(Path("tissue.json").read_text())
    tasks[0] |= {"kind": "regression", "target": "purity", "level": "sample"}
    Path("tissue.json").write_text(json.dumps(tasks))
    words = "evaluate c=handcrafted --tasks tissue.json --study study --out other"
    assert main(shlex.split(words)) == 1
    assert "is for classification, the task's kind is regression" in capsys.readouterr().err  # fmt: skip


def test_a_metric_of_ones_own(project):
    results = project("metric.md", "my_metric")
    (entry,) = results.entries
    assert entry["metric"] == "my_metric:BRIER"
    rows = read_predictions(results.root, entry)
    hit = np.eye(len(rows["columns"]))[rows["truth"]]
    wanted = ((rows["prediction"] - hit) ** 2).sum(axis=1).mean()
    assert entry["value"] == pytest.approx(wanted)
    assert entry["chance"] == 1 - 1 / len(np.unique(rows["truth"]))
    assert not find_metric(entry["metric"]).higher_is_better
    table = Path("results/report/table.md").read_text()
    assert "Brier score, lower is better, chance" in table
    row = json.loads(Path("results/report/table.json").read_text())["cells"][0]
    assert row["value_low"] < row["value"] < row["value_high"]


def edit(path, old, new):
    """Changes a module as a user does between two commands."""
    text = Path(path).read_text(encoding="utf-8")
    assert old in text
    Path(path).write_text(text.replace(old, new), encoding="utf-8")
    sys.modules.pop(Path(path).stem, None)


EVALUATE = (
    "evaluate colours=handcrafted --tasks tissue.json --study study --out results"
)
REPORT = ["report", "results", "--allow-code", "my_metric"]


def test_a_metric_that_was_edited_is_computed_again(project, capsys):
    (before,) = project("metric.md", "my_metric").entries
    assert set(before["inputs"]["code"]) == {"my_metric"}
    edit("my_metric.py", "return np.average(", "return 10 * np.average(")
    capsys.readouterr()
    assert main(REPORT) == 1
    message = capsys.readouterr().err
    assert "my_metric:BRIER" in message and "pathjax evaluate` again" in message
    assert main(shlex.split(EVALUATE)) == 0
    (entry,) = read_results("results").entries
    assert entry["value"] == pytest.approx(10 * before["value"])
    assert main(REPORT) == 0
    (row,) = json.loads(Path("results/report/table.json").read_text())["cells"]
    assert row["value_low"] < row["value"] < row["value_high"]
    # Not beside results of the new code only.
    edit("my_metric.py", "return 10 * np.average(", "return np.average(")
    assert main(shlex.split(EVALUATE.replace("colours", "other"))) == 1
    assert "the code of my_metric changed" in capsys.readouterr().err


def test_a_result_without_the_code_of_its_metric_is_reported_with_a_warning(
    project, caplog
):
    results = project("metric.md", "my_metric")
    path = results.root / "results.json"
    content = json.loads(path.read_text())
    del content["entries"][0]["inputs"]["code"]
    path.write_text(json.dumps(content))
    assert main(REPORT) == 0
    assert "code of metric my_metric:BRIER it is by was not recorded" in caplog.text


def test_a_probe_that_was_edited_is_computed_again(project):
    (before,) = project("probe.md", "my_probe").entries
    edit("my_probe.py", "logits = -np.linalg", "logits = np.linalg")
    assert main(shlex.split(EVALUATE)) == 0
    (entry,) = read_results("results").entries
    assert entry["value"] < before["value"]
    assert entry["inputs"]["code"] != before["inputs"]["code"]
    assert main(shlex.split(EVALUATE)) == 0  # and kept when nothing has changed
    (again,) = read_results("results").entries
    assert again == entry
