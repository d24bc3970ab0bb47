"""Checkpoints: exact, resharded on restore; damaged ones are named and set aside."""

import errno
import re
import subprocess
import sys
import textwrap
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_checkpoint import flip, flip_a_bit, make_checkpoint

from pathjax.parallel.mesh import make_mesh, state_sharding
from pathjax.train import checkpoint, seal
from pathjax.train.checkpoint import (
    CheckpointError,
    Checkpoints,
    committed_steps,
    newest,
    set_damaged_aside,
    tree_bytes,
)
from pathjax.train.seal import SEAL
from pathjax.train.state import TrainState


def make_state(mesh, seed=0, size=1024):
    random = np.random.default_rng(seed)
    state = TrainState(
        step=jnp.asarray(3, jnp.int32),
        params={"a": {"kernel": random.normal(size=(size, 512)).astype(np.float32)}},
        frozen={},
        extra={"centre": np.ones(4, np.float32)},
        opt_state=({"mu": random.normal(size=(size, 512)).astype(np.float32)},),
    )
    return jax.device_put(state, state_sharding(mesh, state))


def equal(one, two):
    same = jax.tree.map(lambda a, b: bool((a == b).all()), one, two)
    return all(jax.tree.leaves(same))


def test_round_trip_is_exact_and_keeps_what_was_beside(tmp_path):
    mesh = make_mesh()
    state = make_state(mesh)
    meta = {"iterator": {"next_index": 7}, "genes": ["A", "B"], "none": None}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(3, state, meta)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest() == 3
        assert checkpoints.meta(3) == meta
        assert equal(checkpoints.restore(3, make_state(mesh, seed=1)), state)


def test_restores_onto_another_mesh(tmp_path):
    state = make_state(make_mesh(fsdp=8))
    assert state.params["a"]["kernel"].sharding.spec[0] == "fsdp"
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, state, {})
        other = make_state(make_mesh(fsdp=1), seed=1)
        back = checkpoints.restore(1, other)
    assert equal(back, state)
    assert back.params["a"]["kernel"].sharding == other.params["a"]["kernel"].sharding


@pytest.mark.slow
def test_saving_is_not_disturbed_by_donation_after_it(tmp_path):
    """The state is donated to the next step while the save still runs."""
    state = make_state(make_mesh(), size=4096)
    expected = jax.device_get(state)
    overwrite = jax.jit(
        lambda s: jax.tree.map(lambda leaf: leaf * 0 - 1, s), donate_argnums=0
    )
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state, {})
        for _ in range(3):
            state = overwrite(state)
        checkpoints.wait()
        assert equal(checkpoints.restore(1, state), expected)


def test_only_the_newest_are_kept(tmp_path):
    state = make_state(make_mesh(), size=4)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state, {})
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit()) == ["2", "3"]


def test_too_little_room_is_said_before_writing(tmp_path, monkeypatch):
    state = make_state(make_mesh())
    usage = namedtuple("usage", "total used free")
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state, {})
        checkpoints.wait()
        monkeypatch.setattr(
            checkpoint.shutil, "disk_usage", lambda path: usage(10, 9, 1 << 20)
        )
        with pytest.raises(CheckpointError, match=r"4 MiB are needed, 1 are free"):
            checkpoints.save(2, state, {})
        assert checkpoints.latest() == 1


@pytest.mark.slow
def test_a_write_that_fails_midway_keeps_the_one_before(tmp_path):
    """A real failure of the file system: files may not grow past 1 MiB any more."""
    program = textwrap.dedent(
        f"""
        import resource, signal, sys
        sys.path.insert(0, {str(sys.path[0])!r})
        import jax
        from test_checkpoint import make_state
        from pathjax.train.checkpoint import CheckpointError, Checkpoints
        from pathjax.parallel.mesh import make_mesh
        from pathlib import Path
        folder = Path({str(tmp_path)!r})
        with Checkpoints(folder, keep=2) as checkpoints:
            checkpoints.save(1, make_state(make_mesh()), {{}})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            with Checkpoints(folder, keep=2) as checkpoints:
                checkpoints.save(2, make_state(make_mesh(), seed=5), {{}})
        except CheckpointError as error:
            print("NAMED", error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        timeout=120,
    )
    assert "NAMED" in done.stdout, done.stderr[-2000:]
    assert "Whole ones there: [1]" in done.stdout
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest() == 1
        like = make_state(make_mesh(), seed=9)
        assert equal(checkpoints.restore(1, like), make_state(make_mesh()))


def test_every_committed_one_is_sealed_by_what_sha256sum_accepts(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(make_mesh(), size=4), {})
    for step in ("1", "2"):
        command = ["sha256sum", "--check", "--strict", "--quiet", SEAL]
        subprocess.run(command, cwd=tmp_path / step, check=True)


def test_a_flipped_bit_is_found_and_the_one_before_is_used(tmp_path, caplog):
    mesh = make_mesh()
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(mesh, seed=step, size=64), {"at": step})
    flip_a_bit(tmp_path / "2")
    (tmp_path / "3.orbax-checkpoint-tmp").mkdir()  # of a write that was killed
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert re.search("checkpoint 2 .* checkpoint 1 is used instead", caplog.text)
        assert checkpoints.latest() == 1 and checkpoints.meta(1) == {"at": 1}
        back = checkpoints.restore(1, make_state(mesh, seed=9, size=64))
        assert equal(back, make_state(mesh, seed=1, size=64))
        checkpoints.save(2, back, {})  # its place is free again
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["1", "2", "2.damaged"]


def test_a_flipped_bit_in_a_large_file_is_found_while_it_is_read(
    tmp_path, caplog, monkeypatch
):
    mesh = make_mesh()
    monkeypatch.setattr(seal, "SMALL", 1 << 14)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(mesh, seed=step, size=64), {"at": step})
        assert checkpoints.resume(make_state(mesh, seed=9, size=64))[0] == 2
    flip_a_bit(tmp_path / "2")
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest() == 2 and not caplog.messages
        step, back = checkpoints.resume(make_state(mesh, seed=9, size=64))
        assert re.search("checkpoint 2 .* checkpoint 1 is used instead", caplog.text)
        assert step == checkpoints.latest() == 1 and checkpoints.meta(1) == {"at": 1}
        assert equal(back, make_state(mesh, seed=1, size=64))
        checkpoints.save(2, back, {})  # its place is free again
    flip_a_bit(tmp_path / "1")
    flip_a_bit(tmp_path / "2")
    with (
        Checkpoints(tmp_path, keep=2) as checkpoints,
        pytest.raises(
            CheckpointError, match=r"none of the checkpoints .*; 1|: 1: state/"
        ),
    ):
        checkpoints.resume(make_state(mesh, seed=9, size=64))


def test_nothing_to_resume_from(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.resume(make_state(make_mesh(), size=4)) is None


def test_when_all_are_damaged_the_run_does_not_silently_begin_anew(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(make_mesh(), size=4), {})
    flip_a_bit(tmp_path / "1")
    (tmp_path / "2" / "meta" / "metadata").write_text("{garbage")
    for _ in range(2):  # the second time it is no different
        with pytest.raises(CheckpointError, match="none of the checkpoints") as error:
            Checkpoints(tmp_path, keep=2)
    assert "2: meta/metadata is changed" in str(error.value)
    assert "; 1: state/" in str(error.value)


def test_one_without_a_seal_that_cannot_be_read_is_a_named_error(tmp_path):
    like = make_state(make_mesh(), size=64)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, like, {})
    (tmp_path / "1" / SEAL).unlink()
    (tmp_path / "1" / "state" / "manifest.ocdbt").write_bytes(b"")
    with (
        Checkpoints(tmp_path, keep=2) as checkpoints,
        pytest.raises(CheckpointError, match="checkpoint 1 in .* cannot be read"),
    ):
        checkpoints.restore(1, like)


def test_tree_bytes_and_full_disk_hint(tmp_path):
    assert tree_bytes({"a": np.zeros((3, 5), np.float32)}) == 60
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        full = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(CheckpointError, match="the disk is full"):
            checkpoints._fail(4, str(full), full)


def test_a_process_that_is_gone_is_no_fault_of_the_disk(tmp_path, monkeypatch):
    gone = jax.errors.JaxRuntimeError("UNKNOWN: Gloo AllGather failed: Read error")

    def fail(*args, **kwargs):
        raise gone

    with Checkpoints(tmp_path, keep=1) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", fail)
        with pytest.raises(jax.errors.JaxRuntimeError, match="Gloo"):
            checkpoints.save(1, make_state(make_mesh(), size=8), {})


def test_damaged_ones_are_set_aside_not_deleted_and_named(tmp_path, caplog):
    for step in (5, 10, 15):
        make_checkpoint(tmp_path / str(step))
    (tmp_path / "20.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "15.damaged").mkdir()  # from another time
    for step in (10, 15):
        flip(tmp_path / str(step) / "state" / "manifest")
    set_damaged_aside(tmp_path)
    assert committed_steps(tmp_path) == [5]
    assert (tmp_path / "15.damaged-2" / "state" / "manifest").exists()
    assert (tmp_path / "10.damaged").is_dir()
    first, second = caplog.messages
    assert "checkpoint 15" in first and "checkpoint 5 is used" in first
    assert "set aside as 15.damaged-2" in first and "checkpoint 10" in second


def test_no_folder_is_no_checkpoint(tmp_path):
    set_damaged_aside(tmp_path / "none")
    assert committed_steps(tmp_path / "none") == []
    assert newest(str(tmp_path / "none")) is None


def test_the_newest_complete_checkpoint_for_launchers(tmp_path):
    for name in ("5", "10", "20.damaged", "30.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert newest(f"{tmp_path}/") == 10
