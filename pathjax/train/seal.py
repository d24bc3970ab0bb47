"""Seals: whether a checkpoint on disk is still the one that was written.

Orbax writes a folder under another name and renames it, so a kill leaves no half
checkpoint; but a byte that changes later in an array is read back without an error
(OCDBT has checksums for its index, zarr's chunks have none). So before a checkpoint
gets its final name, the SHA-256 of its files is written into it, in the format of
`sha256sum -c`, and it is compared before the checkpoint is used. It guards against
damage, not against an attacker.
"""

import json
import os
import warnings
from pathlib import Path

from pathjax.data.study import sha256
from pathjax.files import write_text

SEAL = "SHA256SUMS"
# Written by Orbax when it commits, which is after the seal.
AFTER_SEAL = ("_CHECKPOINT_METADATA", "commit_success.txt")


class DamagedCheckpointWarning(UserWarning):
    """A damaged checkpoint was set aside; the message says why, and what is used."""


def sealed_files(folder: Path) -> list[str]:
    """What a seal covers: all files below `folder`, as sorted relative paths."""
    names = (
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )
    return sorted(name for name in names if name not in (SEAL, *AFTER_SEAL))


def write_seal(folder: Path) -> None:
    """Writes the digests of all files of a checkpoint into it.

    Raises:
      OSError: such as on a full disk.
    """
    lines = [f"{sha256(folder / name)}  {name}\n" for name in sealed_files(folder)]
    write_text(folder / SEAL, "".join(lines))


def damage(folder: Path) -> str | None:
    """What is wrong with a committed checkpoint; None when it is whole.

    A checkpoint without a seal, from before there were seals, passes if Orbax's own
    record of it can be read.
    """
    record = folder / "_CHECKPOINT_METADATA"
    try:
        json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "it was never committed (_CHECKPOINT_METADATA is missing)"
    except ValueError:
        return "_CHECKPOINT_METADATA is not JSON"
    seal = folder / SEAL
    if not seal.exists():
        return None
    text = seal.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        return f"{SEAL} is cut short"
    wanted = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if not name:
            return f"{SEAL} is damaged"
        wanted[name] = digest
    there = sealed_files(folder)
    if missing := sorted(set(wanted) - set(there)):
        return f"{_first(missing)} missing, or {SEAL} is damaged"
    if extra := sorted(set(there) - set(wanted)):
        return f"{_first(extra)} not in {SEAL}, which may be cut short"
    changed = [name for name in there if sha256(folder / name) != wanted[name]]
    if changed:
        sizes = (folder / changed[0]).stat().st_size
        return f"{_first(changed)} changed or cut short ({sizes} bytes are left)"
    return None


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more files are" if len(names) > 1 else " is"
    return f"{names[0]}{more}"


def committed_steps(folder: Path) -> list[int]:
    """Steps with a folder of a final name, newest first; whole or not."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def set_damaged_aside(folder: Path) -> tuple[int | None, dict[int, str]]:
    """Finds the newest whole checkpoint; renames damaged newer ones to `N.damaged`.

    Nothing is renamed when none is whole, so that the next run does not silently begin
    at step 0.

    Returns:
      The step of the newest whole one, None when there is none, and what is wrong
      with those that are not.
    """
    found: dict[int, str] = {}
    for step in committed_steps(folder):
        why = damage(folder / str(step))
        if why is None:
            for bad in found:
                os.replace(folder / str(bad), _free_name(folder, bad))
            return step, found
        found[step] = why
    return None, found


def warn_of_damage(folder: Path, used: int, found: dict[int, str]) -> None:
    """Warns of what `set_damaged_aside` set aside."""
    for step, why in found.items():
        warnings.warn(
            f"checkpoint {step} in {folder} is damaged: {why}. It was set aside as "
            f"{step}.damaged; checkpoint {used} is used instead, so the steps after "
            f"{used} are done again",
            DamagedCheckpointWarning,
            stacklevel=2,
        )


def _free_name(folder: Path, step: int) -> Path:
    name, count = folder / f"{step}.damaged", 1
    while name.exists():
        count += 1
        name = folder / f"{step}.damaged-{count}"
    return name
