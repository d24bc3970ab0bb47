"""`pathjax modalities` and `figure tsne` from words to files."""

import json

import pytest

from pathjax.cli import main


def test_a_study_to_its_matrix(tiny_study, tmp_path, capsys):
    words = ["--targets", "group", "--folds", "2", "--min-patients", "2"]
    out = tmp_path / "out"
    assert main(["modalities", str(tiny_study.root), "--out", str(out), *words]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[0] == str(out / "results.json")
    result = json.loads((out / "results.json").read_text())
    (cell,) = result["cells"]
    assert (cell["target"], cell["modalities"], cell["n"]) == ("group", ["rna"], 12)
    assert result["options"]["folds"] == 2 and result["options"]["least"] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["modalities", "--out", "o"], "expected a STUDY"),
        (
            ["modalities", "s", "--out", "o", "--labels", "l"],
            "--labels goes with --rna",
        ),
        (
            ["modalities", "s", "--out", "o", "--sequenced", "l"],
            "--sequenced would not be used",
        ),
        (
            ["predict", "m", "s", "--out", "o", "--neighbours", "3"],
            "--neighbours would not be used: retrieval needs a study, --reference",
        ),
        (
            [
                "predict",
                "m",
                ".",
                "--out",
                "o",
                "--slide-mpp",
                "1",
                "--min-tissue",
                "0",
            ],
            "--slide-mpp, --min-tissue would not be used: . is no slide",
        ),
        (["figure", "tsne", "--of", "rna", "--by", "t", "--out", "o.png"], "--labels"),
    ],
)
def test_what_does_not_go_together_is_told(words, told, capsys):
    assert main(words) == 1
    assert told in capsys.readouterr().err
