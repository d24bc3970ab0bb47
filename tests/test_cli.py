"""Words of the command line: help at once, errors in one line, overrides."""

import subprocess
import sys
import time

import pytest

from pathjax.cli import main
from pathjax.commands.training import overrides


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from pathjax.cli import build_parser; build_parser();"
        "print([m for m in ('jax', 'flax', 'anndata', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_overrides():
    words = ["--config.optim.lr=3e-5", "--config.name", "x", "--config.a=b=c"]
    assert overrides(words) == {"optim.lr": "3e-5", "name": "x", "a": "b=c"}
    with pytest.raises(ValueError, match="unknown argument --confg.x=1"):
        overrides(["--confg.x=1"])
    with pytest.raises(ValueError, match="has no value"):
        overrides(["--config.x"])


def test_errors_are_one_line_and_status_1(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 1
    text = capsys.readouterr().err
    assert "has no study.json" in text and "Traceback" not in text


def test_check_and_show(tiny_study, tmp_path, capsys):
    assert main(["data", "check", str(tiny_study.root)]) == 0
    assert "0 problems" in capsys.readouterr().out
    sheet = tmp_path / "sheet.png"
    assert main(["data", "show", str(tiny_study.root), "--sheet", str(sheet)]) == 0
    text = capsys.readouterr().out
    assert "SYNTHETIC study tiny" in text and "12 patients" in text
    assert sheet.read_bytes()[:4] == b"\x89PNG"


def test_check_exits_with_1_on_a_broken_study(broken_copy, capsys):
    path = broken_copy.root / "splits" / "main.json"
    path.write_text(path.read_text() + "\n")
    assert main(["data", "check", str(broken_copy.root)]) == 1
    assert "splits/main.json is not" in capsys.readouterr().out


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["data", "check", "x", "--config.optim.lr=1"])
    assert "unknown arguments" in capsys.readouterr().err


def test_train_names_the_nearest_key(tiny_study, tmp_path, capsys):
    begun = time.monotonic()
    status = main(
        [
            "train",
            "--config=configs/demo.py:contrastive",
            f"--workdir={tmp_path}",
            "--config.optim.lrr=1",
        ]
    )
    assert status == 1 and "did you mean 'optim.lr'" in capsys.readouterr().err
    assert time.monotonic() - begun < 60 and not any(tmp_path.iterdir())
