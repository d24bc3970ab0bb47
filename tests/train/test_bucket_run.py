"""Checkpoints in a bucket: committed last, whole when they arrive, whatever fails."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_bucket import (
    SERVERS,
    Faulty,
    another_machine,
    bucket_server,
    empty_store,
    nth,
)
from made_checkpoint import flip_a_bit
from stopping import Stopped, stop_at
from tiny_study import config_for

from pathjax.buckets import BucketError, cache, local, store
from pathjax.config import override
from pathjax.train import bucket_run, seal, train
from pathjax.train.checkpoint import CheckpointError, Checkpoints, newest
from pathjax.train.seal import write_seal
from pathjax.train.state import TrainState

RUN = "faulty://b/run"
FILES = ("state/d/1", "state/d/2", "state/manifest", "meta/metadata")


class Machine:
    """One that works in the run's folder."""

    def __init__(self, name, tmp_path, monkeypatch):
        another_machine(tmp_path / name, monkeypatch)
        self.workdir = local(RUN)
        self.folder = self.workdir / "checkpoints"
        self.workdir.mkdir(parents=True, exist_ok=True)
        (self.workdir / ".run.lock").write_text(f"pid 1 on {name}\n")
        with bucket_run.owned(self.workdir):
            pass
        bucket_run.fetch(self.folder)

    def save(self, step, keep=2):
        """As Orbax and `Checkpoints` leave a checkpoint, and its upload."""
        for name in FILES:
            path = self.folder / str(step) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(step, name))
        write_seal(self.folder / str(step))
        (self.folder / str(step) / "_CHECKPOINT_METADATA").write_text("{}")
        with open(self.workdir / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step}) + "\n")
        bucket_run.commit(self.folder, step, keep)

    def latest(self):
        """The step that is there, whole; None for none."""
        steps = [path.name for path in self.folder.glob("*")]
        if not steps:
            return None
        (step,) = map(int, steps)
        for name in FILES:
            assert (self.folder / str(step) / name).read_bytes() == content(step, name)
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        assert {json.loads(line)["step"] for line in lines} >= set(range(1, step + 1))
        return step


def content(step, name):
    return f"{name} of {step}".encode() * 100


@pytest.fixture
def machine(tmp_path, monkeypatch):
    empty_store()
    return lambda name="one": Machine(name, tmp_path, monkeypatch)


def test_a_checkpoint_moves_to_another_machine(machine):
    one = machine()
    assert one.latest() is None
    for step in (1, 2, 3):
        one.save(step)
    assert machine("two").latest() == 3
    names = {name.removeprefix(f"{RUN}/checkpoints/").split("/")[0]
             for name in store.listing(f"{RUN}/checkpoints")}  # fmt: skip
    assert names == {"2", "3", "steps.json"}
    store.write(f"{RUN}/checkpoints/4/state/d/1", b"not committed")
    assert newest(f"{RUN}/") == 3 and newest("faulty://b/none") is None
    # What only this machine had is not used.
    shutil.copytree(one.folder / "3", one.folder / "9")
    assert machine().latest() == 3


@pytest.mark.parametrize("number", range(30))
def test_a_run_that_dies_at_any_request_loses_nothing(machine, number):
    one = machine()
    one.save(1)
    one.save(2)
    Faulty.fault = staticmethod(
        nth({"put", "remove", "list", "stat"}, number, "cut", times=1000)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faulty, "fault", staticmethod(dies(Faulty.fault)))
        died = False
        try:
            one.save(3)
        except (BucketError, KeyboardInterrupt):
            died = True
    Faulty.fault = staticmethod(lambda operation, key: None)
    two = machine("two")
    assert two.latest() in ((2, 3) if died else (3,))
    two.save(two.latest() + 1)
    assert machine("three").latest() >= 3


def dies(fault):
    def then(operation, key):
        if fault(operation, key):
            raise KeyboardInterrupt  # as `kill`: nothing is tried again

    return then


@pytest.mark.parametrize("number", range(12))
def test_a_fetch_that_breaks_is_done_again(machine, tmp_path, monkeypatch, number):
    machine().save(1)
    Faulty.fault = staticmethod(nth({"get"}, number, "cut", times=1000))
    try:
        assert machine("two").latest() == 1
    except BucketError:
        folder = cache.copy_of(f"{RUN}/checkpoints")
        assert not (folder / "1/SHA256SUMS").exists()
    Faulty.fault = staticmethod(lambda operation, key: None)
    assert machine("two").latest() == 1


def test_a_checkpoint_that_is_listed_late_is_found(machine):
    one = machine()
    one.save(1)
    one.save(2)
    Faulty.fault = staticmethod(
        lambda operation, key: "hide" if operation == "list" and "/2/" in key else None
    )
    assert machine("two").latest() == 2


def test_a_damaged_checkpoint_is_named(machine):
    machine().save(1)
    store.remove([f"{RUN}/checkpoints/1/state/d/2"])
    with pytest.raises(
        BucketError, match="1/state/d/2 is not there: someone removed it"
    ):
        machine("two")


@pytest.mark.parametrize("small", [seal.SMALL, 0])  # 0: compared when it is read
def test_a_damaged_copy_is_downloaded_anew(machine, monkeypatch, caplog, small):
    folder = machine().folder
    monkeypatch.setattr(seal, "SMALL", small)
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    state = TrainState(jnp.int32(1), {"a": jnp.asarray(values)}, {}, {}, ())

    def resumed():
        with Checkpoints(folder, keep=2) as checkpoints:
            step, back = checkpoints.resume(jax.tree.map(jnp.zeros_like, state))
        return step if (np.asarray(back.params["a"]) == values).all() else None

    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(1, state, {})
        checkpoints.save(2, state, {})
    flip_a_bit(folder / "2")
    assert resumed() == 2 and "is damaged: it is downloaded anew" in caplog.text
    flip_a_bit(folder / "2")
    (changed,) = (
        name for name in seal.sealed_files(folder / "2")
        if store.read(f"{RUN}/checkpoints/2/{name}") != (folder / "2" / name).read_bytes()
    )  # fmt: skip
    store.upload(folder / "2" / changed, f"{RUN}/checkpoints/2/{changed}")
    advice = "remove 2/commit_success.txt there to start at step 1"
    with pytest.raises(
        CheckpointError, match=f"the newest of .* is damaged: .*{advice}"
    ):
        resumed()
    store.remove([f"{RUN}/checkpoints/2/commit_success.txt"])
    assert resumed() == 1


def test_a_run_that_was_taken_over_stops(machine, tmp_path, monkeypatch):
    one = machine()
    one.save(1)
    folder = one.folder
    machine("two").save(2)
    another_machine(tmp_path / "one", monkeypatch)
    with pytest.raises(BucketError, match="taken over by another run .pid 1 on two"):
        bucket_run.commit(folder, 1, 2)
    assert machine("three").latest() == 2


def metrics(text):
    rows = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("time")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SERVERS)
def test_a_run_in_a_bucket_ends_as_one_on_disk(
    scheme, tiny_study, tmp_path, monkeypatch
):
    bucket = f"{scheme}://bkt"
    values = {"optim.steps": 5, "eval.every": 2, "val_fold": "val", "seed": 3}
    with bucket_server(scheme, monkeypatch) as server:
        another_machine(tmp_path / "one", monkeypatch)
        for path in tiny_study.root.rglob("*"):
            if path.is_file():
                name = path.relative_to(tiny_study.root).as_posix()
                store.upload(path, f"{bucket}/study/{name}")
        config = config_for(tiny_study, **values)
        override(config, {"study": f"{bucket}/study"})
        train(config, tmp_path / "whole")
        # Every seventh request fails.
        asked = iter(range(10**6))
        server.fault = lambda method, path: (
            "503 Slow Down" if next(asked) % 7 == 6 else None
        )
        for machine, last in (("two", 1), ("three", 3), ("four", None)):
            another_machine(tmp_path / machine, monkeypatch)
            if last is None:
                result = train(config, f"{bucket}/run")
            else:
                with pytest.raises(Stopped):
                    train(config, f"{bucket}/run", stop_at(last))
        assert result.step == 5
        server.fault = lambda method, path: None
        whole = (tmp_path / "whole/model.safetensors").read_bytes()
        assert store.read(f"{bucket}/run/model.safetensors") == whole
        there = store.read(f"{bucket}/run/metrics.jsonl").decode()
        assert metrics(there) == metrics((tmp_path / "whole/metrics.jsonl").read_text())
