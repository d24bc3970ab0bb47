"""Checkpoints to resume from: Orbax, sealed with SHA-256 sums.

Orbax copies the state to the host, writes in the background under a temporary name and
renames, so that a kill leaves either the new checkpoint complete or the one before. It
reads back a byte that changed in an array without an error, though (zarr's chunks have
no checksums). So before the rename the digests of all files are written into the
checkpoint, in the format of `sha256sum -c`, and compared before it is used. They guard
against damage, not against an attacker. Nothing else imports Orbax.

Of a folder in a bucket each machine has a copy of its own (bucket_run.py). With several
processes the first one then writes whole arrays, and each reads them from its copy.
"""

import concurrent.futures
import contextlib
import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from pathjax.buckets import address_of
from pathjax.data.study import sha256
from pathjax.files import write_text
from pathjax.parallel.collective import (
    barrier,
    is_first,
    is_lost_connection,
    require_same,
    to_host,
)
from pathjax.train import bucket_run
from pathjax.train.state import TrainState, abstract_state

SEAL = "SHA256SUMS"
RECORD = "_CHECKPOINT_METADATA"
# Written by Orbax when it commits, which is after the seal.
AFTER_SEAL = (RECORD, "commit_success.txt")

log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says what remains."""


def tree_bytes(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last write.

    Opening it sets damaged checkpoints aside, with a warning, and removes what a killed
    write left.

    Args:
      folder: `WORKDIR/checkpoints`.
      keep: How many of the newest to keep.

    Raises:
      CheckpointError: There are checkpoints, and all of them are damaged.
    """

    def __init__(self, folder: Path, keep: int):
        self._folder = folder.absolute()
        self._saving: int | None = None
        self._keep = keep
        self._commit: concurrent.futures.Future | None = None  # in a bucket
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        copied, me = address_of(self._folder) is not None, jax.process_index()
        self._apart = copied and jax.process_count() > 1
        together = ocp.options.MultiprocessingOptions()
        if self._apart:
            together = ocp.options.MultiprocessingOptions(
                primary_host=me,
                active_processes={me},
                barrier_sync_key_prefix=f"process-{me}",
            )
        if self._apart or is_first():
            bucket_run.fetch(self._folder)
            set_damaged_aside(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        barrier("checkpoints")
        self._manager = ocp.CheckpointManager(
            self._folder,
            item_names=("state", "meta"),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                create=False,
                cleanup_tmp_directories=True,
                multiprocessing_options=together,
                # Called when all files are written, before the folder is renamed.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )
        require_same({"newest checkpoint": self.latest()})

    def _seal(self) -> None:
        if not is_first():
            return
        # On object stores Orbax writes under the final name and commits by a file.
        written = sorted(self._folder.glob(f"{self._saving}.orbax-checkpoint-tmp*"))
        write_seal(written[-1] if written else self._folder / str(self._saving))

    def latest(self) -> int | None:
        """The newest whole checkpoint's step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, meta: dict[str, Any]) -> None:
        """Begins to write; every process calls it, at the same step.

        Raises:
          CheckpointError: This or the previous write failed, such as on a full disk.
        """
        needed, free = tree_bytes(state), shutil.disk_usage(self._folder).free
        if free < needed:
            self._fail(step, f"{needed >> 20} MiB are needed, {free >> 20} are free")
        self.wait()
        state = to_host(state) if self._apart else state
        if self._apart and not is_first():
            return
        self._saving = step  # for the seal; the previous write is complete
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        )
        try:
            self._manager.save(step, args=items)
        except (OSError, ValueError, RuntimeError) as error:
            if is_lost_connection(error):  # says nothing of the disk: launch.py tells
                raise
            self._fail(step, str(error), error)
        if is_first() and address_of(self._folder):
            self._commit = self._thread.submit(self._upload, step)

    def _upload(self, step: int) -> None:
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
        bucket_run.commit(self._folder, step, self._keep)

    def wait(self) -> None:
        """Returns when the last write is complete.

        Raises:
          CheckpointError: It failed.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
            if commit := self._commit:
                self._commit = None
                commit.result()
        except (OSError, ValueError, RuntimeError) as error:
            if is_lost_connection(error):
                raise
            self._fail(None, str(error), error)
        if self._apart:  # they end together
            barrier("checkpoint")

    def _fail(
        self, step: int | None, why: str, cause: Exception | None = None
    ) -> NoReturn:
        name = "the last checkpoint" if step is None else f"checkpoint {step}"
        full = isinstance(cause, OSError) and cause.errno == errno.ENOSPC
        hint = " (the disk is full)" if full else ""
        raise CheckpointError(
            f"{name} could not be written to {self._folder}{hint}: {why}. Whole ones "
            f"there: {sorted(committed_steps(self._folder)) or 'none'}. Make room and run "
            "the same command again: it resumes"
        ) from cause

    def meta(self, step: int) -> dict[str, Any]:
        """The metadata saved with the state."""
        items = ocp.args.Composite(meta=ocp.args.JsonRestore())
        return self._manager.restore(step, args=items)["meta"]

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Reads a state onto the shapes and shardings of `like`.

        Raises:
          CheckpointError: It does not fit, or is damaged.
        """
        target = ocp.args.StandardRestore(
            jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
            if self._apart
            else abstract_state(like)
        )
        try:
            items = self._manager.restore(step, args=ocp.args.Composite(state=target))
        except Exception as error:  # a bare one for an array that cannot be read
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be read: {error}"
            ) from error
        # Through a jitted identity, so that the buffers are laid out by XLA and may
        # be donated (jax#18617).
        shardings, state = (
            jax.tree.map(lambda leaf: leaf.sharding, like),
            items["state"],
        )
        if self._apart:
            state = jax.tree.map(_divide, state, shardings)
        return jax.jit(lambda state: state, out_shardings=shardings)(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self.wait()
            self._manager.close()
        else:
            # Closing waits for a write that may have failed; that would only hide the
            # error that is being raised.
            with contextlib.suppress(Exception):
                self._manager.close()


def _divide(whole: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    return jax.make_array_from_callback(whole.shape, sharding, lambda i: whole[i])


def committed_steps(folder: Path) -> list[int]:
    """Steps with a folder of a final name, newest first; whole or not."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def set_damaged_aside(folder: Path) -> None:
    """Renames damaged checkpoints newer than the newest whole one to `N.damaged`.

    Raises:
      CheckpointError: None is whole. Nothing is renamed then, so that the next run does
        not silently begin at step 0.
    """
    damaged: dict[int, str] = {}
    for step in committed_steps(folder):
        if why := damage(folder / str(step)):
            damaged[step] = why
            continue
        for bad, why in damaged.items():
            os.replace(folder / str(bad), aside := _free_name(folder, bad))
            log.warning(
                "checkpoint %d in %s is damaged: %s. It was set aside as %s; checkpoint "
                "%d is used instead, so the steps after it are done again",
                *(bad, folder, why, aside.name, step),
            )
        return
    if damaged:
        raise CheckpointError(
            f"none of the checkpoints in {folder} is whole: "
            + "; ".join(f"{step}: {why}" for step, why in damaged.items())
            + ". Restore one from a backup, or remove them to start at step 0"
        )


def _free_name(folder: Path, step: int) -> Path:
    name, count = folder / f"{step}.damaged", 1
    while name.exists():
        count += 1
        name = folder / f"{step}.damaged-{count}"
    return name


def write_seal(folder: Path) -> None:
    """Writes the digests of all files of a checkpoint into it."""
    lines = [f"{sha256(folder / name)}  {name}\n" for name in _sealed_files(folder)]
    write_text(folder / SEAL, "".join(lines))


def _sealed_files(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    return [name for name in names if name not in (SEAL, *AFTER_SEAL)]


def damage(folder: Path) -> str | None:
    """What is wrong with a committed checkpoint; None if it is whole.

    A checkpoint written before there were seals passes if Orbax's own record of it can
    be read.
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
    there = _sealed_files(folder)
    if missing := sorted(set(expected) - set(there)):
        return f"{_first(missing)} missing, or {SEAL} is damaged"
    if extra := sorted(set(there) - set(expected)):
        return f"{_first(extra)} not in {SEAL}, which may be cut short"
    if changed := [n for n in there if sha256(folder / n) != expected[n]]:
        size = (folder / changed[0]).stat().st_size
        return f"{_first(changed)} changed or cut short ({size} bytes are left)"
    return None


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more files are" if len(names) > 1 else " is"
    return f"{names[0]}{more}"
