"""The reference of configs: complete, and printed by the commands that take one."""

import ast
import dataclasses
import importlib.util
import re

import pytest

from pathjax.cli import main
from pathjax.config import RunConfig, flatten, reference, shipped_folder
from pathjax.gene_towers import TOWERS
from pathjax.models.variants import VARIANTS, ViTConfig
from pathjax.objectives import OBJECTIVES

ROWS = [row for section in reference.sections() for row in section.rows]


def test_every_key_has_a_row_with_its_default_and_a_meaning():
    keys = {row.key: row.default for row in ROWS}
    assert set(flatten(RunConfig().to_dict())) <= set(keys)
    options = {f"model.{field.name}" for field in dataclasses.fields(ViTConfig)}
    for key in OBJECTIVES:
        options |= {f"objective.{name}" for name in OBJECTIVES[key].option_names()}
    left_out = {f"model.{name}" for name in reference.SET_ELSEWHERE}
    tower = f"objective.{reference.TOWER}"  # has options of its own
    options.add(f"{tower}.name")
    for kind in TOWERS.values():
        options |= {f"{tower}.{name}" for name in kind.option_names()}
    known = set(flatten(RunConfig().to_dict())) | options
    assert set(keys) == known - left_out - {tower}
    assert keys["optim.lr"] == "0.001" and keys["data.flip"] == "true"
    assert keys["fold"] == "train" and keys["study"] == '""'
    assert all(len(row.meaning) > 5 for row in ROWS)


def test_choices_are_named():
    meaning = {row.key: row.meaning for row in ROWS}
    assert all(name in meaning["model.variant"].split("; ")[0] for name in VARIANTS)
    assert all(f'"{name}"' in meaning["objective.name"] for name in OBJECTIVES)


def test_meanings_are_comments_and_attributes():
    assert reference.meanings(Described) == {
        "a": "Of the comment",
        "b": "Shared, over two lines",
        "c": "Shared, over two lines",
    }


@dataclasses.dataclass
class Described:
    """A class.

    Attributes:
      a: replaced by the comment.
      b, c: shared, over
        two lines.

    Note: not an attribute.
    """

    a: int = 1  # of the comment
    b: str = "#"
    c: str = ""


@pytest.mark.parametrize(("file", "words", "purpose"), reference.shipped())
def test_the_words_of_shipped_configs(file, words, purpose):
    """Modes that are listed exist, and every flag and option is listed."""
    path = shipped_folder() / file.removeprefix("configs/")
    spec = importlib.util.spec_from_file_location(f"words_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (call,) = (
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "parse_arg"
    )
    options = {word.arg for word in call.keywords} - {"mode"}
    listed = re.findall(r"`([\w=]+)`", words)
    assert options <= {word.rstrip("=") for word in listed}
    for word in listed:
        if not word.endswith("="):
            assert module.get_config(word).name
    assert purpose


@pytest.mark.parametrize("command", ["train", "plan", "sweep"])
def test_the_help_of_commands(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--config.help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for row in ROWS:
        assert f"  {row.key} = {row.default}\n" in text
    assert "Learning rate after the warm-up" in text
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: pathjax {command}" in text and "--config.help" in text
    assert "configs/demo.py" in text and "multimodal or regression" in text
