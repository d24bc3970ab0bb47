"""From slides' tiles, RNA and labels to a tuned model: the configs of TCGA, tiny."""

import pytest
from tiny_tcga import tcga_parts

from pathjax.cli import main
from pathjax.models.model_file import load_model


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    parts = tcga_parts(tmp_path_factory.mktemp("tcga"))
    words = ["data", "tcga", "--slides", parts["slides"], "--rna", parts["rna"]]
    words += ["--labels", *parts["labels"], "--out", parts["out"]]
    assert main([str(word) for word in [*words, "--keep-unpaired"]]) == 0
    return parts["out"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["contrastive", "regression"])
def test_the_smoke_run_tunes_on_patients_with_rna(study, tmp_path, mode, capsys):
    words = ["train", f"--config=configs/tcga.py:{mode},smoke", "--workdir"]
    assert main([*words, str(tmp_path), f"--config.study={study}"]) == 0
    model = load_model(tmp_path)
    assert len(model.meta["panel"]["genes"]) == 8
    (stage,) = model.meta["audit"]
    assert stage["study"] == "tcga" and len(stage["patients"]) >= 8


def test_the_command_says_what_was_made_and_what_was_not(tmp_path, capsys):
    parts = tcga_parts(tmp_path)
    words = ["data", "tcga", "--slides", parts["slides"], "--rna", parts["rna"]]
    words += ["--labels", *parts["labels"], "--out", parts["out"]]
    assert main([str(word) for word in [*words, "--no-site-preserved"]]) == 0
    said = capsys.readouterr().out
    assert "72 tiles, 23 samples" in said
    assert "never paired with a tumour" in said and "sources disagree" in said
    assert "split cohort: train 12" in said and "by patients" in said
    (parts["labels"][0]).write_text("a,b\n1,2\n")
    assert main([str(word) for word in words]) == 1
    assert "is not a table of labels" in capsys.readouterr().err
