"""docs/extend/dataset.md: the page's class, built by the page's commands."""

import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathjax.cli import main
from pathjax.data.study import Study

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend" / "dataset.md"
TEXT = PAGE.read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    return found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with the page's module and the images of the page's table."""
    (tmp_path / "my_dataset.py").write_text(block("python"), encoding="utf-8")
    images = tmp_path / "images"
    images.mkdir()
    (images / "table.csv").write_text(block("csv"), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in "abc":
        buffer = io.BytesIO()
        pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        (images / f"{name}.png").write_bytes(buffer.getvalue())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("my_dataset", None)


def test_the_pages_commands_build_check_and_show_the_study(project, capsys):
    lines = block("bash").strip().splitlines()
    assert len(lines) == 3
    for line in lines:
        program, *words = shlex.split(line)
        assert (program, main(words)) == ("pathjax", 0), capsys.readouterr().err
    text = capsys.readouterr().out
    assert "study: 3 tiles, 3 samples" in text and "0 problems" in text
    assert "split mine: test 1, train 1 patients" in text
    study = Study(project / "study")
    assert study.split("mine").folds == {"test": ("P2",), "train": ("P1",)}
    assert list(study.expression().var_names) == ["ESR1", "KRT5"]
    assert study.samples["tumour"].tolist() == ["yes", "yes", "no"]
    # Options reach the class, and other ones are not mixed into the same directory.
    words = shlex.split(lines[0])[1:]
    assert main([*words[:-1], "32"]) == 1
    assert "tile_px: 64" in capsys.readouterr().err


def test_errors_name_the_dataset_and_its_options(project, capsys):
    assert main(["data", "build", "her2s", "--out", "x"]) == 1
    assert "unknown dataset 'her2s'; did you mean 'her2st'" in capsys.readouterr().err
    assert main(["data", "build", "my_dataset:GENES", "--out", "x"]) == 1
    assert "expected pathjax.datasets.dataset.Dataset" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["data", "build", "my_dataset:Mine", "--help"])
    text = capsys.readouterr().out
    assert "--tile-px" in text and "side of an image in pixels" in text
    with pytest.raises(SystemExit):
        main(["data", "build", "my_dataset:Mine", "--out", "x"])
    assert "required: --source" in capsys.readouterr().err


@pytest.mark.slow
def test_a_shipped_dataset_is_built_by_either_command(tmp_path):
    options = ["--patients", "20", "--tiles", "1", "--tile-px", "32"]
    assert main(["data", "build", "demo", "--out", str(tmp_path / "a"), *options]) == 0
    assert main(["data", "demo", "--out", str(tmp_path / "b"), *options]) == 0
    assert Study(tmp_path / "a").fingerprint == Study(tmp_path / "b").fingerprint
