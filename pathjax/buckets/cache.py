"""Local copies of objects: downloaded when needed, within a limit, and uploaded.

    buckets/files/SCHEME/BUCKET/KEY   the copies, which other modules read and write
    buckets/tags/SCHEME/BUCKET/KEY    size and token of the object that a copy is of

in the folder of caches. A tag is also the lock of its copy. Files are downloaded when an
address is first used, but tiles' shards and checkpoints one by one, when they are read.
The least recently used copies make room for others; what a running process uses stays.
The bucket is what counts: copies that it does not have are removed, except unfinished
work (names with a leading dot, and folders *.partial).
"""

import concurrent.futures
import contextlib
import fcntl
import io
import json
import logging
import math
import os
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pathjax import files
from pathjax.buckets import store
from pathjax.buckets.store import BucketError, Stat, is_address

LIMIT = "PATHJAX_CACHE_GB"
DEFAULT_GB = 50.0
COPIES = "/buckets/files/"
AT_ONCE = 8  # downloads
LARGE = 1e8  # bytes of a download that is logged
HELD_SECONDS = 60.0  # to wait for readers of a copy whose object was replaced
DOWNLOAD = ".download-"  # before the name of a copy that is not complete
# Not downloaded with the folder they are in, nor uploaded when written. Of addresses from
# the folder in use on: what is above it may be called so too.
SHARD = ".array_record"
_LAZY = re.compile(rf"\{SHARD}$|/(checkpoints|heartbeats|profile|tensorboard)/")
_APART = re.compile(rf"{_LAZY.pattern}|/\.|\.partial/")  # and unfinished work
# Looked for by name too, as a store may list an object later than it can be read.
KNOWN = ("study.json", "results.json", "model.safetensors", "config.json")
KNOWN += ("metrics.jsonl",)


class Lock(io.FileIO):
    """A file that is locked for as long as the object lives, or until it is closed."""

    def __del__(self) -> None:
        self.close()


log = logging.getLogger(__name__)
_pulled: dict[str, Lock] = {}  # addresses, and the locks that keep their copies
_stats: dict[str, Stat] = {}  # of shards, as they were listed
_pulling = threading.RLock()


def local(path: str | Path) -> Path:
    """The path to read or write; for an address that of its copy, up to date.

    Raises:
      BucketError: The store cannot be read, or the cache is too small.
    """
    path = copy_of(path)
    if address := address_of(path):
        with _pulling:
            if not any(f"{address}/".startswith(f"{done}/") for done in _pulled):
                _pull(address)
    return path


def copy_of(path: str | Path) -> Path:
    """The path of an address's copy, which may not exist; other paths as they are."""
    if not is_address(path):
        return Path(path)
    scheme, key = store.split(path)
    return _root("files") / scheme / key


def address_of(path: Path) -> str | None:
    """The address that a path stands for; None for a path outside of the cache."""
    if COPIES not in str(path):  # saves the look at the folder of caches
        return None
    root = _root("files")
    if not path.is_relative_to(root) or len(parts := path.relative_to(root).parts) < 2:
        return None
    return f"{parts[0]}://{'/'.join(parts[1:])}"


def shown(text: object) -> str:
    """A text with addresses in place of the paths of their copies."""
    if COPIES not in (text := str(text)):
        return text
    return re.sub(re.escape(f"{_root('files')}/") + r"([^/\s]+)/", r"\1://", text)


def limit() -> int:
    """Bytes that the copies may take.

    Raises:
      BucketError: PATHJAX_CACHE_GB is not a number above 0.
    """
    text = os.environ.get(LIMIT, str(DEFAULT_GB))
    try:
        size = float(text) * 1e9
    except ValueError:
        size = 0
    if not 0 < size < float("inf"):
        raise BucketError(f"{LIMIT}={text}: expected gigabytes, such as 50")
    return int(size)


def most_open(folder: Path, sizes: Sequence[int], most: int) -> int:
    """How many files of a folder, of these sizes in bytes, are to be held at once.

    Logs if the cache cannot hold all of them, so that some are downloaded repeatedly.
    """
    if address_of(folder) is None:
        return most
    if (total := sum(sizes)) > limit():
        log.warning(
            "the tiles of %s take %.3g GB, and the cache may take %.3g: shards are downloaded "
            "again and again, whole, for each tile that is not there; set %s=%d or more",
            *(address_of(folder), total / 1e9, limit() / 1e9, LIMIT),
            math.ceil(1.1 * total / 1e9),
        )
    return min(most, max(1, limit() // 2 // max(1, *sizes, 1)))


def has(path: Path) -> bool:
    """Whether a file is there, in the bucket too; it is downloaded unless read lazily."""
    if path.exists():
        return True
    address = address_of(path)
    if address is None:
        return False
    if address in _stats:
        return True
    found = store.stat(address)
    if found and not _is_lazy(address):
        _hold(address, found).close()
    return found is not None


def hold(path: Path) -> Lock | None:
    """Downloads a file if need be, and keeps it until the result is closed.

    None for a path outside of the cache.

    Raises:
      BucketError: There is no such object, or the cache is too small.
    """
    address = address_of(path)
    if address is None:
        return None
    expected = _stats.get(address) or store.stat(address)
    if expected is None:
        raise BucketError(f"{address} is not there: someone removed it")
    return _hold(address, expected)


def refresh(path: Path) -> None:
    """Brings a copy up to date with its object, if there is one."""
    if (address := address_of(path)) and (found := store.stat(address)):
        _hold(address, found).close()


def upload(path: Path) -> None:
    """Uploads a file that was written in place of an address; others are left alone."""
    if address := address_of(path):
        with _tag(address) as tag:
            fcntl.flock(tag, fcntl.LOCK_EX)
            _write_tag(tag, store.upload(path, address))


def is_uploaded(path: Path) -> bool:
    """Whether the object at a copy's address was this file, by size, when last seen."""
    address = address_of(path)
    if address is None or not _tag_path(address).exists():
        return False
    with _tag(address) as tag:
        return _read_tag(tag, path) is not None


def _upload_written(path: Path) -> None:
    if (address := address_of(path)) and not _is_lazy(address):
        upload(path)


def _is_lazy(address: str) -> bool:
    used = [one for one in _pulled if f"{address}/".startswith(f"{one}/")]
    return bool(_LAZY.search(address, len(min(used, key=len, default=""))))


files.AFTER_WRITE.append(_upload_written)


def _pull(address: str) -> None:
    """Makes the copies at or below an address those that the bucket has."""
    there = store.listing(address)
    if address not in there:
        for known in {f"{address}/{name}" for name in KNOWN} - set(there):
            if found := store.stat(known):
                there[known] = found
    pin, alone = _pin(address)
    if alone:  # or what another process is writing would be removed
        for path in _copies(copy_of(address)):
            one = str(address_of(path))
            if one not in there and not _APART.search(one, len(address)):
                if found := store.stat(one):
                    there[one] = found
                else:
                    path.unlink(missing_ok=True)
                    _tag_path(one).unlink(missing_ok=True)
        fcntl.flock(pin, fcntl.LOCK_SH)
    _stats.update({k: v for k, v in there.items() if k.endswith(SHARD)})
    to_hold = {
        one: stat for one, stat in there.items() if not _APART.search(one, len(address))
    }
    needed = sum(stat.size for one, stat in to_hold.items() if not _is_copy(one, stat))
    _make_room(needed)
    if needed > LARGE:
        log.info("downloading %.3g GB of %s", needed / 1e9, address)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for held in pool.map(lambda item: _hold(*item, room=True), to_hold.items()):
            held.close()
    _pulled[address] = pin


def _hold(address: str, expected: Stat, room: bool = False) -> Lock:
    """The tag of an object's copy, locked, after a download if need be."""
    path, tag = copy_of(address), _tag(address)
    until = time.monotonic() + HELD_SECONDS
    while True:
        fcntl.flock(tag, fcntl.LOCK_SH)
        if _read_tag(tag, path) == expected:
            os.utime(tag.fileno())  # used last now
            return tag
        try:
            fcntl.flock(tag, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Waiting for it would be for ever: who comes first keeps the copy for reading.
            if time.monotonic() > until:
                raise BucketError(
                    f"{address} was replaced, and this or another process still reads the "
                    f"copy of what it was before, after {HELD_SECONDS:g} s: end that process, "
                    "or give this one a cache of its own (XDG_CACHE_HOME)"
                ) from None
            time.sleep(random.uniform(0.01, 0.05))
            continue
        if _read_tag(tag, path) != expected:
            if not room:
                _make_room(expected.size)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(DOWNLOAD + path.name)
            try:
                with files.names_full_disk(path):
                    store.download(address, partial, expected)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
            _write_tag(tag, expected)


def _is_copy(address: str, expected: Stat) -> bool:
    if not _tag_path(address).exists():
        return False
    with _tag(address) as tag:
        return _read_tag(tag, copy_of(address)) == expected


def _make_room(needed: int) -> None:
    """Removes the least recently used copies until there is room."""
    copies = {}
    for path in _copies(_root("files")):
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            copies[path] = path.stat().st_size
    excess = sum(copies.values()) + needed - limit()
    by_use = []
    for path in copies if excess > 0 else ():
        with contextlib.suppress(FileNotFoundError):  # it has no tag: it is work
            whole = path.with_name(path.name.removeprefix(DOWNLOAD))
            by_use.append((_tag_path(str(address_of(whole))).stat().st_mtime, path))
    for _, path in sorted(by_use):
        if excess <= 0:
            return
        with _unused(path) as free:
            if free:
                path.unlink(missing_ok=True)
                excess -= copies[path]
    if excess > 0:
        raise BucketError(
            f"expected room for {needed / 1e9:.3g} GB in {_root('files')}, which may "
            f"take {limit() / 1e9:.3g} GB and is in use: raise {LIMIT} by at least "
            f"{excess / 1e9:.3g}"
        )


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Locks a copy against use; False if it is in use, or is not what was uploaded."""
    whole = path.with_name(path.name.removeprefix(DOWNLOAD))
    address = str(address_of(whole))
    with contextlib.ExitStack() as stack:
        # A lazy copy is kept by whom it is read by, others by those who use a folder.
        above = [a for a in map(address_of, [whole, *whole.parents]) if a]
        kept_by = [a for a in above if not _LAZY.search(address, len(a))]
        pins = map(_pin_path, kept_by)
        names = [_tag_path(address), *(pin for pin in pins if pin.exists())]
        locks = [stack.enter_context(Lock(name, "a+")) for name in names]
        try:
            for lock in locks:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield path != whole or _read_tag(locks[0], path) is not None


def _copies(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names]


def _root(name: str) -> Path:
    return files.cache_folder().resolve() / "buckets" / name


def _tag_path(address: str) -> Path:
    return _root("tags") / "/".join(store.split(address))


def _pin_path(address: str) -> Path:
    return _root("tags") / "{}/{}.pin".format(*store.split(address))


def _tag(address: str) -> Lock:
    path = _tag_path(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Lock(path, "a+")


def _read_tag(tag: Lock, path: Path) -> Stat | None:
    """The object that a copy is of; None if the copy is absent, partial or changed."""
    tag.seek(0)
    try:
        size, token = json.loads(tag.read())
        return Stat(size, token) if path.stat().st_size == size else None
    except (ValueError, TypeError, FileNotFoundError):
        return None


def _write_tag(tag: Lock, stat: Stat) -> None:
    tag.truncate(0)
    tag.write(json.dumps([stat.size, stat.token]).encode())
    tag.flush()


def _pin(address: str) -> tuple[Lock, bool]:
    """A lock that keeps the copies below an address, and whether nobody else has one."""
    path = _pin_path(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    pin = Lock(path, "a+")
    try:
        fcntl.flock(pin, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(pin, fcntl.LOCK_SH)
        return pin, False
    return pin, True
