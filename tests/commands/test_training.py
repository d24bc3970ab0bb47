"""What `pathjax train` prints at its end, and whether it is one process of several."""

from pathlib import Path

import pytest
from made_bucket import another_machine, empty_store

from pathjax import cli
from pathjax.buckets import local
from pathjax.commands.training import is_one_of_several
from pathjax.train.trainer import TrainResult


@pytest.mark.parametrize("workdir", ["run", "faulty://b/run"])
def test_train_prints_its_model(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    empty_store()
    another_machine(tmp_path / "cache", monkeypatch)

    def train(config, folder: Path, progress):
        assert folder == local(workdir)
        return TrainResult(folder / "model.safetensors", 2, 0.5)

    monkeypatch.setattr("pathjax.train.trainer.train", train)
    words = ["train", "--config=demo.py:contrastive,smoke", f"--workdir={workdir}"]
    assert cli.main(words) == 0
    expected = f"{workdir}/model.safetensors: 2 steps, best 0.5\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("words", "environ", "several"),
    [
        ("train --config=a --workdir=b", {}, False),
        ("train --config=a --workdir=b --multihost", {}, True),
        ("train --config=a --workdir=b --process=0", {}, True),
        ("train --config=a --workdir=b", {"PATHJAX_PROCESS": "0"}, True),
        ("train --config=a --workdir=b", {"PATHJAX_SILENCE_SECONDS": "9"}, False),
        ("embed a b --out c --coordinator=d:1", {}, True),
        ("embed a b --out c --shard=1/2", {}, False),
        ("data check a", {"PATHJAX_PROCESS": "0"}, False),
    ],
)
def test_a_process_of_several_is_known_by_flags_or_environment(words, environ, several):
    assert is_one_of_several(cli.parse(words.split()), environ) == several
