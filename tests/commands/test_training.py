"""What `pathjax train` prints at its end."""

from pathlib import Path

import pytest
from made_bucket import another_machine, empty_store

from pathjax import cli
from pathjax.buckets import local
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
