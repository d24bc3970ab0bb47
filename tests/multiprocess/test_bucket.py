"""Two processes with caches of their own train in a bucket: as on one file system."""

import json
import time
from pathlib import Path

import pytest
from launched import run_together, started
from made_bucket import SERVERS, another_machine, bucket_server
from tiny_study import config_for

from pathjax.buckets import store
from pathjax.models.model_file import parameters_sha256
from pathjax.train import train

VALUES = {"optim.steps": 4, "checkpoint.every": 2, "mesh.fsdp": 4}
CONFIG = """
from tiny_study import config_for

class study:
    root = {root!r}

def get_config(arg=None):
    return config_for(study, **{values!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SERVERS)
def test_a_run_of_two_machines_in_a_bucket(scheme, tiny_study, tmp_path, monkeypatch):
    run = f"{scheme}://bkt/run"
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(root=str(tiny_study.root), values=VALUES))
    options = {
        "devices": 2,
        "sharded_bytes": 1024,
        "script": str(Path(__file__).with_name("apart.py")),
        "PYTHONPATH": "tests",
    }

    def words(workdir, *more):
        return ["train", f"--config={config}", f"--workdir={workdir}", *more]

    def end(words, name):
        options["CACHES"] = str(tmp_path / f"cache-{name}")
        ended = run_together(words, 2, tmp_path / f"logs-{name}", **options)
        assert [one.status for one in ended] == [0, 0]

    another_machine(tmp_path / "here", monkeypatch)
    with bucket_server(scheme, monkeypatch):
        end(words(tmp_path / "whole"), "whole")
        options["CACHES"] = str(tmp_path / "cache-stopped")
        slow = words(run, "--config.checkpoint.every=1")
        with started(slow, 2, tmp_path / "logs-stopped", **options) as group:
            while not store.read(f"{run}/checkpoints/steps.json"):
                assert group.parent.poll() is None, group.told()
                time.sleep(0.05)
        # Both are killed now.
        steps = json.loads(store.read(f"{run}/checkpoints/steps.json"))
        assert 0 < max(steps) < VALUES["optim.steps"]
        another_machine(tmp_path / "here", monkeypatch)
        end(words(run), "resumed")
        model = tmp_path / "model.safetensors"
        model.write_bytes(store.read(f"{run}/model.safetensors"))
        assert parameters_sha256(model) == parameters_sha256(tmp_path / "whole")
        # One process reads what two wrote.
        values = VALUES | {"mesh.fsdp": 1}
        assert train(config_for(tiny_study, **values), run).step == 4
