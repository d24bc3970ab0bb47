"""A public model from outside the package: the example of the docs, used as written."""

import re
from pathlib import Path

import pytest
from tiny_zoo import write_weights

from pathjax import zoo
from pathjax.cli import main
from pathjax.embeddings.embedding_file import read_embeddings

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "model.md"
NAME = "my_models:TINY"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Random weights, in a working directory with the page's module."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_models.py").write_text(block)
    return write_weights(tmp_path, zoo.get(NAME))


def test_it_is_shown_imported_and_embeds(weights, tiny_study, capsys):
    assert main(["models", NAME]) == 0
    assert "Tiny, an example" in capsys.readouterr().out
    assert main(["import", NAME, "--weights", str(weights), "--out", "tiny"]) == 0
    assert main(["embed", "tiny", str(tiny_study.root), "--out", "e.h5"]) == 0
    assert read_embeddings(Path("e.h5"), tiny_study).features.shape == (
        len(tiny_study.tiles),
        96,
    )


def test_another_file_is_refused(weights, capsys):
    other = write_weights(weights.parent, zoo.get("dino-vits16"))
    assert main(["import", NAME, "--weights", str(other), "--out", "x"]) == 1
    text = capsys.readouterr().err
    assert "does not fit tiny: in the names of timm, " in text and len(text) < 600
    assert "It fits dino-vits16, kaiko-vits16, lunit-vits16: import it as" in text
    assert main(["import", "my_models:NONE", "--out", "x"]) == 1
    assert "cannot import public model 'my_models:NONE'" in capsys.readouterr().err
