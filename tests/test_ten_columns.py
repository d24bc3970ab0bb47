"""The README's block of Table 1 on small studies: audit, evaluate, resume, report."""

import json
import re
import shlex
from pathlib import Path

import pytest
import ten_studies

from pathjax.cli import main
from pathjax.config import base_config, override
from pathjax.evals.results import read_results
from pathjax.evals.suites import load_tasks
from pathjax.train.trainer import train

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_table_1_of_a_base_and_the_model_tuned_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ten_studies.build(tmp_path / "studies")
    config = base_config()
    small = {
        "study": "studies/tcga",
        "split": "cohort",
        "data.batch": 8,
        "data.image_px": 16,
        "data.genes": 8,
        "model.variant": "Xs/8",
        "model.width": 24,
        "model.depth": 1,
        "objective.widths": (16,),
        "objective.embed_dim": 8,
        "optim.steps": 2,
        "optim.warmup": 1,
    }
    override(config, small)
    train(config, tmp_path / "dinov2")
    override(config, {"init": "dinov2"})
    train(config, tmp_path / "dinov2-tcga")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```bash\n(pathjax audit [^`]*)```", readme)
    lines = [shlex.split(line)[1:] for line in block.splitlines()]
    assert [words[0] for words in lines] == ["audit", "evaluate", "report"]
    for words in lines:
        assert main(words) == 0
    results = read_results("table1")
    names = [task.name for task in load_tasks("ten")]
    for model in ("base", "tuned"):
        mine = [e["task"] for e in results.entries if e["model"] == model]
        assert sorted(mine) == sorted(names)
    cells = json.loads(Path("table1/report/table.json").read_text())
    assert "mean delta" in Path("table1/report/table.md").read_text() and cells

    # Once more: nothing is computed anew.
    written = {e["written"] for e in results.entries}
    assert main(lines[1]) == 0
    assert {e["written"] for e in read_results("table1").entries} == written
