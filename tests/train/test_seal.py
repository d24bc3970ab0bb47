"""Damage to a checkpoint is named, by sha256sum's judgement."""

import re
import subprocess

import pytest
from made_checkpoint import flip, make_checkpoint

from pathjax.files import sha256
from pathjax.train import seal
from pathjax.train.seal import SEAL, damage, digests, is_small, write_seal, writer


def test_a_whole_one_passes_and_so_does_sha256sum(tmp_path):
    folder = make_checkpoint(tmp_path / "1")
    assert damage(folder) is None
    subprocess.run(["sha256sum", "--check", "--strict", SEAL], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("name", "change", "message"),
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
def test_damage_is_named(tmp_path, name, change, message):
    folder = make_checkpoint(tmp_path / "1")
    change(folder / name)
    assert re.search(message, damage(folder))


def test_one_from_before_there_were_seals_passes(tmp_path):
    folder = make_checkpoint(tmp_path / "1")
    (folder / SEAL).unlink()
    assert damage(folder) is None


def test_only_what_is_asked_for_is_hashed(tmp_path, monkeypatch):
    folder = make_checkpoint(tmp_path / "1")
    flip(folder / "state/d/array")
    assert damage(folder, lambda path: path.name != "array") is None
    monkeypatch.setattr(seal, "SMALL", 100)
    assert not is_small(folder / "state/d/array") and is_small(folder / "meta/metadata")
    assert damage(folder, is_small) is None
    (folder / "state/d/array").unlink()
    assert "array is missing" in damage(folder, is_small)


def test_digests_that_are_known_are_not_computed_again(tmp_path):
    folder = make_checkpoint(tmp_path / "1")
    known = {"state/manifest": "0" * 64}
    write_seal(folder, known)
    assert damage(folder).startswith("state/manifest is changed")
    names = ["state/d/array", "meta/metadata"]
    assert digests(folder, names) == {name: sha256(folder / name) for name in names}


def test_who_wrote_a_file():
    names = ("state/ocdbt.process_12/d/0a", "state/d/0a", "meta/metadata")
    assert [writer(name) for name in names] == [12, 0, 0]
