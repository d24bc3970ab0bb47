"""Checkpoints of a run whose folder is in a bucket: fetched to resume, uploaded when whole.

    N/... , N/SHA256SUMS, N/_CHECKPOINT_METADATA, N/commit_success.txt, steps.json

in this order; Orbax's own commit on object stores is commit_success.txt too, and a step
without it does not exist. `steps.json` names the steps, as a store may list an object
late. Files are compared with the sums when they arrive. Metrics and the like are uploaded
before the commit, so that a resumed run has all lines up to its step.

Each machine of a run has a copy of its own; the first process uploads.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from pathjax.buckets import BucketError, address_of, hold, store, upload
from pathjax.buckets.cache import is_uploaded
from pathjax.parallel.collective import is_first

COMMIT = "commit_success.txt"
STEPS = "steps.json"
LOCK = ".run.lock"
LAST = ("SHA256SUMS", "_CHECKPOINT_METADATA", COMMIT)

log = logging.getLogger(__name__)


def fetch(folder: Path, *, anew: bool = False) -> None:
    """Makes a folder of checkpoints hold the newest complete one of its bucket, only.

    Args:
      folder: Of the checkpoints.
      anew: Downloads what is here already, too: a copy may be damaged.

    Raises:
      BucketError: It cannot be read, or does not agree with its sums.
    """
    address = address_of(folder)
    if address is None:
        return
    newest = next(iter(committed_steps(address)), None)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != str(newest):
            log.info("%s is not in the bucket and is removed from the cache", path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if newest is None:
        return
    final = folder / str(newest)
    sums = store.read(f"{address}/{newest}/{LAST[0]}")
    if sums is None:
        raise BucketError(f"{address}/{newest} has no {LAST[0]}: it is damaged")
    seal = final / LAST[0]
    if anew or (seal.is_file() and seal.read_bytes() != sums):
        # The latter is an attempt of this machine that was not committed.
        shutil.rmtree(final, ignore_errors=True)
    names = [line.partition("  ")[2] for line in sums.decode().splitlines()]
    for name in (*names, *LAST[1:], LAST[0]):
        if copy := hold(final / name):
            copy.close()


def commit(folder: Path, step: int, keep: int) -> None:
    """Uploads a checkpoint, after what the run wrote before it; removes old ones.

    Raises:
      BucketError: It could not be written, or another process took the run over.
    """
    address = address_of(folder)
    assert address is not None
    _require_own(folder.parent)
    upload_changed(folder.parent)
    here, there = folder / str(step), f"{address}/{step}"
    (here / COMMIT).touch()
    files = [path for path in here.rglob("*") if path.is_file()]
    names = sorted(path.relative_to(here).as_posix() for path in files)
    for name in (*(name for name in names if name not in LAST), *LAST):
        if name == COMMIT:
            _require_own(folder.parent)
            store.write(f"{there}/{name}", f"checkpoint {step}\n".encode())
        else:
            upload(here / name)
    steps = committed_steps(address, step)
    store.write(f"{address}/{STEPS}", json.dumps(steps[:keep]).encode())
    for old in steps[keep:]:
        objects = sorted(store.listing(f"{address}/{old}"))
        # Without its commit it is no checkpoint, whatever happens next.
        store.remove([f"{address}/{old}/{COMMIT}", *objects])


def upload_changed(workdir: Path) -> None:
    """Uploads files that grew since they were uploaded last; not checkpoints."""
    for path in sorted(workdir.rglob("*")):
        name = path.relative_to(workdir).as_posix()
        hidden = name.startswith(("checkpoints/", "heartbeats/", ".")) or "/." in name
        if path.is_file() and not hidden and not is_uploaded(path):
            upload(path)


@contextlib.contextmanager
def owned(workdir: Path) -> Iterator[None]:
    """Takes a folder of a bucket over: a run that was there before stops itself.

    At the end what was written last is uploaded.
    """
    if address_of(workdir) is None or not is_first():
        yield
        return
    upload(workdir / LOCK)
    yield
    upload_changed(workdir)


def _require_own(workdir: Path) -> None:
    there = store.read(f"{address_of(workdir)}/{LOCK}") or b""
    if there != (workdir / LOCK).read_bytes():
        raise BucketError(
            f"{address_of(workdir)} was taken over by another run "
            f"({there.decode(errors='replace').strip() or 'which removed the lock'}): "
            "this one stops before it writes a checkpoint"
        )


def committed_steps(address: str, *more: int) -> list[int]:
    """Steps of a folder of checkpoints that have a commit, newest first."""
    listed = [name.removeprefix(f"{address}/") for name in store.listing(address)]
    steps = {int(name.split("/")[0]) for name in listed if name.endswith(f"/{COMMIT}")}
    steps |= {*json.loads(store.read(f"{address}/{STEPS}") or b"[]"), *more}
    there = [step for step in steps if store.stat(f"{address}/{step}/{COMMIT}")]
    return sorted(there, reverse=True)
