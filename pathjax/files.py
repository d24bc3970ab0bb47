"""Files that appear whole or not at all, JSON as expected, caches, the command line.

Everything pathjax writes goes to a neighbour first and is renamed when it is complete,
so that a killed process or a full disk never leaves half a file under a final name.
Orbax does the same for checkpoints by itself; this module is for everything else.
"""

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

LONGEST_NAME = 255  # bytes of a file's name, on most file systems
# Called with each file that is complete under its final name; `buckets` uploads it.
AFTER_WRITE: list[Callable[[Path], None]] = []
# What readers raise on a damaged file; pyarrow's, pandas' and h5py's errors are among
# these. RuntimeError: an archive with a password.
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile, csv.Error),
)


def command_line() -> str:
    """The command that is running, for the record of what it makes."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/pathjax, ~/.cache/pathjax, or without a home a temporary folder.

    Raises:
      PermissionError: The temporary folder is open to other users, who could put
        compiled programs there.
    """
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home) / "pathjax"
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        return Path(home) / ".cache" / "pathjax"
    folder = Path(tempfile.gettempdir()) / f"pathjax-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise PermissionError(
            f"there is no home directory, and {folder} is open to other users: set "
            "XDG_CACHE_HOME to a folder of your own"
        )
    return folder


def short_name(name: str) -> str:
    """A name made from a user's; if it is too long, its start, a hash and its suffix."""
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{name[:24]}-{digest}{Path(name).suffix}"


def told_apart(paths: Iterable[Path]) -> dict[Path, str]:
    """The name of each file, after as many folders as tell it from the others."""
    whole = {path: path.absolute().parts for path in paths}
    names = {}
    for path, parts in whole.items():
        others, depth = [whole[one] for one in whole if one != path], 1
        while depth < len(parts) and parts[-depth:] in [one[-depth:] for one in others]:
            depth += 1
        names[path] = "/".join(parts[-depth:])
    return names


@contextlib.contextmanager
def names_full_disk(path: Path) -> Iterator[None]:
    """Adds the file to errors of a full disk, which an open file raises without it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise


@contextlib.contextmanager
def reading(
    path: Path | str, error: type[Exception], kind: str = "", advice: str = ""
) -> Iterator[None]:
    """Raises what a damaged file raises as `error`: "PATH cannot be read as KIND (why)".

    Args:
      path: The file, for the message.
      error: One that the block raises itself passes as it is.
      kind: What the file should be, such as "AnnData".
      advice: What to do, after a colon.
    """
    try:
        yield
    except error:
        raise
    except UNREADABLE as cause:
        why = str(cause)[:200] or type(cause).__name__
        raise error(
            f"{path} cannot be read{kind and f' as {kind}'} ({why})"
            + (advice and f": {advice}")
        ) from cause


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a path beside `final`; renames it to `final` when the block succeeds.

    The temporary name is random, so that two processes never share one (containers all
    have the same ids), and keeps the suffix, because writers choose a format by it. On an exception the
    partial file is removed and `final` is left as it was. A file that stands for an
    object of a bucket is then uploaded. Its permissions are those of any new file, also
    where the writer (safetensors) makes it for its owner alone.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(
        short_name(f".partial-{secrets.randbelow(10**9)}-{final.name}")
    )
    try:
        with names_full_disk(final):
            partial.touch()
            mode = partial.stat().st_mode
            partial.unlink()
            yield partial
            if partial.stat().st_mode != mode:
                partial.chmod(mode)
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)
    for done in AFTER_WRITE:
        done(final)


def link(source: Path, final: Path) -> None:
    """Hard-links a file, or copies it where the file system has no such links."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, final)
    except OSError:
        with atomic_path(final) as partial:
            shutil.copyfile(source, partial)


def digest(path: Path, algorithm: str) -> str:
    """Checksum of a file in hexadecimal digits; finds damage, not malice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return digest(path, "sha256")


def write_text(final: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `final`, atomically."""
    with atomic_path(final) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(final: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `final`, atomically; NaN is refused.

    Raises:
      ValueError: `value` holds a NaN or an infinity, which JSON has no word for.
    """
    write_text(final, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, shape: Any = None) -> Any:
    """The content of a JSON file in any Unicode encoding, checked against a shape.

    Raises:
      ValueError: It is not JSON or of another shape, with the file's name.
      OSError: It cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if shape is not None and (problem := mismatch(content, shape)):
        raise ValueError(f"{path}: {problem}")
    return content


def _kinds(shape: Any) -> tuple[type, ...]:
    if isinstance(shape, list | dict):
        return (type(shape),)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return (*kinds, int) if float in kinds else kinds


def mismatch(value: Any, shape: Any, place: str = "the content") -> str:
    """The first difference between a JSON value and its expected shape; "" if none.

    A shape is a type or a tuple of types (float is any number), `[shape]` for a list,
    `{str: shape}` for an object of any keys, or `{"key": shape, "optional?": shape}`
    for one that may have other keys too. None is allowed for an optional key.
    """
    kinds = _kinds(shape)
    if type(value) not in kinds:
        words = {dict: "an object", list: "a list", str: "text", float: "a number",
                 int: "a whole number", bool: "true or false"}  # fmt: skip
        shown = [kind for kind in kinds if kind is not int or float not in kinds]
        expected = " or ".join(words.get(kind, "null") for kind in shown)
        return f"expected {place} to be {expected}, got {repr(value)[:60]}"
    if isinstance(shape, list):
        kinds = _kinds(shape[0])
        nested = isinstance(shape[0], list | dict)
        checked = [
            i for i, item in enumerate(value) if nested or type(item) not in kinds
        ]
        items = [(f"{place}[{i}]", value[i], shape[0]) for i in checked]
    elif isinstance(shape, dict) and str in shape:
        items = [(f"{place}.{key}", item, shape[str]) for key, item in value.items()]
    elif isinstance(shape, dict):
        optional = {key.removesuffix("?") for key in shape if key[-1] == "?"}
        inner = {key.removesuffix("?"): part for key, part in shape.items()}
        lacking = [key for key in inner if key not in value and key not in optional]
        if lacking:
            return f"{place} lacks {', '.join(lacking)}"
        items = [
            (f"{place}.{key}", value[key], part)
            for key, part in inner.items()
            if key not in optional or value.get(key) is not None
        ]
    else:
        return ""
    found = (
        mismatch(item, inner, where.removeprefix("the content."))
        for where, item, inner in items
    )
    return next(filter(None, found), "")


def write_csv(
    final: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    notes: Iterable[str] = (),
) -> None:
    """Writes a CSV file in UTF-8, atomically; None becomes an empty field.

    Args:
      final: Path of the file.
      columns: Names for the heading.
      rows: One sequence of values per line; may be a generator.
      notes: Lines above the heading, each written after `# `.
    """
    with (
        atomic_path(final) as partial,
        open(partial, "w", encoding="utf-8", newline="") as file,
    ):
        file.writelines(f"# {' '.join(note.split())}\n" for note in notes)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
