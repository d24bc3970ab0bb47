"""A folder like a committed checkpoint, and damage to one."""

import json
from pathlib import Path

from pathjax.train.seal import write_seal


def make_checkpoint(folder: Path) -> Path:
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


def flip(path: Path) -> None:
    """Turns one bit over, in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_a_bit(folder: Path) -> None:
    """One bit of the largest file of arrays: Orbax reads it back without an error."""
    flip(max(folder.rglob("d/*"), key=lambda path: path.stat().st_size))
