"""Damage of every kind is found, named and set aside; the oracle is sha256sum."""

import json
import subprocess

import pytest

from pathjax.train.seal import (
    SEAL,
    DamagedCheckpointWarning,
    committed_steps,
    damage,
    set_damaged_aside,
    warn_of_damage,
    write_seal,
)


def make_checkpoint(folder):
    """A folder like a committed checkpoint."""
    (folder / "state" / "d").mkdir(parents=True)
    (folder / "state" / "d" / "array").write_bytes(bytes(range(256)) * 40)
    (folder / "state" / "manifest").write_bytes(b"manifest")
    (folder / "meta").mkdir()
    (folder / "meta" / "metadata").write_text('{"step": 1}')
    write_seal(folder)
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps({"commit": 1}))
    (folder / "commit_success.txt").write_text("yes")
    return folder


def test_a_whole_one_passes_and_so_does_sha256sum(tmp_path):
    folder = make_checkpoint(tmp_path / "1")
    assert damage(folder) is None
    subprocess.run(["sha256sum", "--check", "--strict", SEAL], cwd=folder, check=True)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "how", "wanted"),
    [
        ("state/d/array", flip, "state/d/array is changed"),
        ("state/d/array", lambda p: p.write_bytes(b""), r"\(0 bytes are left\)"),
        ("state/d/array", lambda p: p.unlink(), "state/d/array is missing"),
        ("meta/metadata", lambda p: p.write_text("{"), "meta/metadata is changed"),
        (SEAL, lambda p: p.write_text(""), f"{SEAL} is cut short"),
        (SEAL, lambda p: p.write_bytes(p.read_bytes()[:-5]), f"{SEAL} is cut short"),
        (SEAL, lambda p: p.write_bytes(p.read_bytes()[80:]), f"not in {SEAL}"),
        (SEAL, lambda p: p.write_bytes(b"\xff" * 9 + b"\n"), f"{SEAL} is damaged"),
        (SEAL, flip, "state/d/array|state/manifest|is damaged"),
        ("_CHECKPOINT_METADATA", lambda p: p.unlink(), "never committed"),
        ("_CHECKPOINT_METADATA", lambda p: p.write_text("{,"), "is not JSON"),
        ("_CHECKPOINT_METADATA", lambda p: p.write_bytes(b"\xff"), "is not JSON"),
    ],
)
def test_damage_is_named(tmp_path, name, how, wanted):
    folder = make_checkpoint(tmp_path / "1")
    how(folder / name)
    with pytest.raises(AssertionError, match=wanted):
        raise AssertionError(damage(folder))


def test_one_from_before_there_were_seals_passes(tmp_path):
    folder = make_checkpoint(tmp_path / "1")
    (folder / SEAL).unlink()
    assert damage(folder) is None


def test_damaged_ones_are_set_aside_not_deleted_and_named(tmp_path):
    for step in (5, 10, 15):
        make_checkpoint(tmp_path / str(step))
    (tmp_path / "20.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "15.damaged").mkdir()  # from another time
    for step in (10, 15):
        flip(tmp_path / str(step) / "state" / "manifest")
    used, found = set_damaged_aside(tmp_path)
    assert used == 5 and list(found) == [15, 10]
    assert committed_steps(tmp_path) == [5]
    assert (tmp_path / "15.damaged-2" / "state" / "manifest").exists()
    assert (tmp_path / "10.damaged").is_dir()
    with pytest.warns(DamagedCheckpointWarning) as warned:
        warn_of_damage(tmp_path, used, found)
    assert len(warned) == 2
    assert "checkpoint 15" in str(warned[0].message)
    assert "checkpoint 5 is used" in str(warned[0].message)


def test_when_none_is_whole_nothing_is_renamed(tmp_path):
    flip(make_checkpoint(tmp_path / "5") / "state" / "manifest")
    used, found = set_damaged_aside(tmp_path)
    assert used is None and list(found) == [5]
    assert committed_steps(tmp_path) == [5]


def test_no_folder_is_no_checkpoint(tmp_path):
    assert set_damaged_aside(tmp_path / "none") == (None, {})
