"""docs/config.md: its reference is the code's, and its example runs as written.

`python tests/docs/test_config_page.py` writes the reference into the page.
"""

import re
from pathlib import Path

import pytest

from pathjax.cli import main
from pathjax.config import ConfigError, load, reference
from pathjax.models.model_file import load_model

PAGE = Path(__file__).parents[2] / "docs" / "config.md"
START = "## Shipped configs\n"


def halves():
    """The written half of the page, and the half that the code writes."""
    written, start, rest = PAGE.read_text("utf-8").partition(START)
    return written, start + rest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the page's config file."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "my_config.py").write_text(block, "utf-8")
    return tmp_path


def test_the_reference_is_that_of_the_code():
    """Else run this file: it writes the page anew."""
    assert halves()[1] == reference.markdown()


@pytest.mark.slow
def test_the_example_trains(folder, tiny_study):
    (command,) = re.findall(r"^pathjax (train .*)$", PAGE.read_text(), re.MULTILINE)
    words = command.replace("STUDY", str(tiny_study.root)).split()
    tiny = ("data.image_px=16", "data.genes=6", "model.depth=1")
    assert main([*words, *(f"--config.{word}" for word in tiny)]) == 0
    assert load_model("mine").meta["objective"]["name"] == "regression"


def test_the_words_of_the_example(folder):
    config = load("my_config.py")
    assert (config.name, config.data.tiles) == ("mine-contrastive", 4)
    assert config.objective.options == {"dropout": 0.3}
    assert config.model.options == {"drop_path": 0.1}
    config = load("my_config.py:regression,tiles=2", {"optim.lr": 1e-3})
    assert (config.name, config.data.tiles) == ("mine-regression", 2)
    assert (config.optim.lr, config.optim.steps) == (1e-3, 2000)
    with pytest.raises(ConfigError, match="no mode 'dino'"):
        load("my_config.py:dino")


def test_what_the_page_says_of_unknown_keys(folder):
    text = Path("my_config.py").read_text().replace("config.split", "config.spilt")
    Path("mistyped.py").write_text(text)
    with pytest.raises(ConfigError, match="key 'spilt'; did you mean 'split'"):
        load("mistyped.py")


if __name__ == "__main__":
    PAGE.write_text(halves()[0] + reference.markdown(), "utf-8")
