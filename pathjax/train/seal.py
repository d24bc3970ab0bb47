"""The seal of a checkpoint: SHA-256 of its files, in the format of `sha256sum -c`.

Orbax reads back a byte that changed in an array without an error (zarr's chunks have no
checksums). So each checkpoint has the digests of all its files, written before it is
committed and compared before it is used. They guard against damage, not against an
attacker. Files are hashed several at a time. Nothing here knows Orbax's interface, only
which files it writes; when to hash, and on which process, is up to checkpoint.py.
"""

import concurrent.futures
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pathjax.data.study import sha256
from pathjax.files import write_text

SEAL = "SHA256SUMS"
RECORD = "_CHECKPOINT_METADATA"
# Written by Orbax when it commits, which is after the seal.
AFTER_SEAL = (RECORD, "commit_success.txt")
SMALL = 1 << 20  # bytes; larger files are those of arrays
_WRITER = re.compile(r"(?:^|/)ocdbt\.process_(\d+)/")


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Hex SHA-256 of files by name; `hashlib` lets other threads run meanwhile."""
    names = list(names)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: sha256(folder / name), names)
        return dict(zip(names, found, strict=True))


def writer(name: str) -> int:
    """The process that wrote a file: the first one all that is not an array's data."""
    match = _WRITER.search(name)
    return int(match[1]) if match else 0


def is_small(path: Path) -> bool:
    """Whether hashing a file takes no time worth mentioning."""
    return path.stat().st_size < SMALL


def write_seal(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Writes the digests of all files of a checkpoint into it.

    Args:
      folder: Of the checkpoint.
      known: Digests that need not be computed, by name.
    """
    names, found = sealed_files(folder), dict(known or {})
    found |= digests(folder, (name for name in names if name not in found))
    write_text(folder / SEAL, "".join(f"{found[name]}  {name}\n" for name in names))


def sealed_files(folder: Path) -> list[str]:
    """Names of the files of a checkpoint that a seal covers."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    return [name for name in names if name not in (SEAL, *AFTER_SEAL)]


def damage(
    folder: Path, compared: Callable[[Path], bool] = lambda path: True
) -> str | None:
    """What is wrong with a committed checkpoint; None if it is whole.

    A checkpoint written before there were seals passes if Orbax's own record of it can
    be read.

    Args:
      folder: Of the checkpoint.
      compared: Says which files are to be hashed; all have to be there.
    """
    try:
        json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it was never committed ({RECORD} is missing)"
    except ValueError:
        return f"{RECORD} is not JSON"
    if not (folder / SEAL).exists():
        return None
    text = (folder / SEAL).read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        return f"{SEAL} is cut short"
    expected = {
        name: digest
        for digest, _, name in (line.partition("  ") for line in text.splitlines())
    }
    if "" in expected:
        return f"{SEAL} is damaged"
    there = sealed_files(folder)
    if missing := sorted(set(expected) - set(there)):
        return f"{_first(missing)} missing, or {SEAL} is damaged"
    if extra := sorted(set(there) - set(expected)):
        return f"{_first(extra)} not in {SEAL}, which may be cut short"
    found = digests(folder, (name for name in there if compared(folder / name)))
    if changed := [name for name in found if found[name] != expected[name]]:
        size = (folder / changed[0]).stat().st_size
        return f"{_first(changed)} changed or cut short ({size} bytes are left)"
    return None


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more files are" if len(names) > 1 else " is"
    return f"{names[0]}{more}"
