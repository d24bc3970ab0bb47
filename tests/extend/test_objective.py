"""An objective from outside the package: the example of the docs, used as written."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from pathjax.cli import main
from pathjax.models.model_file import load_model
from pathjax.train.telemetry.metric_writer import read_metrics

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "objective.md"
NAME = "my_objective:Cosine"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the page's module, and no more."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_objective.py").write_text(block)
    yield tmp_path
    sys.modules.pop("my_objective", None)


def train(study, *more):
    return main(
        [
            "train",
            "--config=configs/demo.py:regression,smoke",
            "--workdir=run",
            f"--config.study={study.root}",
            "--config.split=main",
            "--config.fold=train",
            "--config.val_fold=val",
            "--config.data.image_px=16",
            "--config.data.genes=6",
            "--config.model.depth=1",
            "--config.log.every=1",
            f"--config.objective.name={NAME}",
            *more,
        ]
    )


def test_it_trains_is_scored_and_predicts(
    folder, tiny_study, tmp_path_factory, monkeypatch, capsys
):
    assert train(tiny_study, "--config.objective.eps=1e-5") == 0
    rows = read_metrics(folder / "run" / "metrics.jsonl")
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert len(losses) == 6 and np.isfinite(losses).all()
    assert all(-1 <= row["val/cosine"] <= 1 for row in rows if "val/cosine" in row)
    model = load_model("run")
    assert model.meta["objective"] == {"name": NAME, "eps": 1e-5}
    assert model.params["head"]["kernel"].shape == (96, 6)

    # As in a new process: the model file alone must not have the module imported.
    monkeypatch.delitem(sys.modules, "my_objective")
    predict = ["predict", "run", str(tiny_study.root), "--out", "predicted"]
    assert main(predict) == 1
    assert "if you trust it, add --allow-code my_objective" in capsys.readouterr().err
    assert "my_objective" not in sys.modules and not (folder / "predicted").exists()
    assert main([*predict, "--allow-code", "my_objective"]) == 0
    assert (folder / "predicted" / "predicted.json").is_file()

    # Another version of the file than the model was trained by.
    code = (folder / "my_objective.py").read_text()
    (folder / "my_objective.py").write_text(code + "\n")
    monkeypatch.delitem(sys.modules, "my_objective")
    assert main([*predict, "--allow-code", "my_objective"]) == 1
    assert "with other code in my_objective (SHA-256" in capsys.readouterr().err
    (folder / "my_objective.py").write_text(code)

    # From another folder, where the file of the objective cannot be imported.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delitem(sys.modules, "my_objective")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(folder)])
    words = ["predict", str(folder / "run"), str(tiny_study.root), "--out", "p"]
    capsys.readouterr()
    assert main([*words, "--allow-code", "my_objective"]) == 1
    error = capsys.readouterr().err
    assert "Run in the folder of my_objective.py, or set PYTHONPATH" in error
    assert len(error) < 600


def test_its_needs_and_options_are_checked(folder, tiny_study, capsys):
    assert train(tiny_study, "--config.data.genes=0") == 1
    assert f"{NAME} needs gene expression: set data.genes" in capsys.readouterr().err
    assert train(tiny_study, "--config.objective.epz=1") == 1
    assert "unknown option 'objective.epz'" in capsys.readouterr().err
    assert train(tiny_study, "--config.objective.eps=-1.0") == 1
    assert "eps=-1.0: expected a number above 0" in capsys.readouterr().err
    assert train(tiny_study, "--config.data.text=reports.h5") == 1
    assert "does not read text" in capsys.readouterr().err
    assert train(tiny_study, "--config.objective.name=my_objective:Sine") == 1
    assert "cannot import objective 'my_objective:Sine'" in capsys.readouterr().err
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("eps: float = 1e-6", "eps: float = 1e-3", "objective.eps: 1e-06 there, 0.001"),
        pytest.param(
            "1 - cosine, 0)",
            "2 * (1 - cosine), 0)",
            "code of my_objective (objective): ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_is_not_resumed_with_an_edited_objective(
    folder, tiny_study, monkeypatch, capsys, old, new, message
):
    assert train(tiny_study) == 0
    before = (folder / "run" / "model.safetensors").read_bytes()
    record = json.loads((folder / "run" / "config.json").read_text())
    assert record["objective_options"] == {"eps": 1e-6}
    assert train(tiny_study) == 0  # the same objective
    path = folder / "my_objective.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    monkeypatch.delitem(sys.modules, "my_objective")
    capsys.readouterr()
    assert train(tiny_study) == 1
    assert message in capsys.readouterr().err
    assert (folder / "run" / "model.safetensors").read_bytes() == before
