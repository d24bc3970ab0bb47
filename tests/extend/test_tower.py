"""A gene tower from outside the package: the example of the docs, used as written."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_study import config_for

from pathjax.cli import main
from pathjax.config import ConfigError
from pathjax.models.model_file import load_model
from pathjax.train.trainer import train

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "tower.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the page's module, and no more."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_tower.py").write_text(block)
    yield tmp_path
    sys.modules.pop("my_tower", None)


@pytest.mark.slow
def test_it_trains_resumes_is_checked_and_predicts(
    folder, tiny_study, monkeypatch, capsys
):
    names = tiny_study.expression().var_names
    (folder / "none.txt").write_text(f"{names[0]}\n")
    tower = "objective.expression_tower"
    values = {f"{tower}.name": "my_tower:Weighted", f"{tower}.leave_out": "none.txt"}
    values |= {"data.genes": len(names), "data.tiles": 1, "optim.steps": 2}
    values |= {"model.width": 12, "model.heads": 1}
    train(config_for(tiny_study, **values), "run")
    model = load_model("run")
    resources = model.meta["resources"]
    place = model.meta["panel"]["genes"].index(names[0])
    assert not resources["kept"][place] and sum(resources["kept"]) == len(names) - 1
    # A gene that is left out has no gradient, and weight decay is for kernels.
    np.testing.assert_array_equal(model.params["expression"]["weights"][place], 0)

    with pytest.raises(ConfigError, match=r"expression_tower.least=2.0: expected 0 to"):
        train(config_for(tiny_study, **values, **{f"{tower}.least": 2.0}), "other")
    (folder / "none.txt").write_text(f"{names[1]}\n")
    with pytest.raises(ConfigError, match="files of the objective: sha256"):
        train(config_for(tiny_study, **values), "run")
    code = (folder / "my_tower.py").read_text()
    (folder / "my_tower.py").write_text(code + "\n")
    monkeypatch.delitem(sys.modules, "my_tower")
    with pytest.raises(ConfigError, match=r"code of my_tower \(objective\)"):
        train(config_for(tiny_study, **values), "run")
    (folder / "my_tower.py").write_text(code)

    monkeypatch.delitem(sys.modules, "my_tower")
    study = str(tiny_study.root)
    words = ["predict", "run", study, "--reference", study, "--out", "predicted"]
    assert main(words) == 1
    assert "if you trust it, add --allow-code my_tower" in capsys.readouterr().err
    assert main([*words, "--neighbours", "2", "--allow-code", "my_tower"]) == 0
    assert (folder / "predicted" / "predicted.json").is_file()
