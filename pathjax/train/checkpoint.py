"""Checkpoints to resume from: Orbax, sealed with SHA-256 sums (seal.py).

Orbax copies the state to the host, writes in the background under a temporary name and
renames, so that a kill leaves either the new checkpoint complete or the one before. The
seal is written before the rename: each process hashes what it wrote, in Orbax's thread.
When a run resumes, large files are compared with it while their arrays are read, or with
several processes, each of which hashes its own, just before. Nothing else imports Orbax.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from pathjax.buckets import address_of, is_address
from pathjax.parallel.collective import (
    barrier,
    coordinator,
    first_said,
    is_first,
    is_lost_connection,
    require_same,
    to_host,
)
from pathjax.train import bucket_run
from pathjax.train.seal import (
    damage,
    digests,
    is_small,
    sealed_files,
    write_seal,
    writer,
)
from pathjax.train.state import TrainState, abstract_state

log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says what remains."""


def tree_bytes(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last write.

    Opening it sets damaged checkpoints aside, with a warning, and removes what a killed
    write left. Large files are not read yet: `resume` compares them.

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
        self._fetched_anew = False
        if self._apart or is_first():
            bucket_run.fetch(self._folder)
            self._set_damaged_aside()
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
                async_options=ocp.AsyncOptions(
                    # Both in the background: when this process has written its files, and
                    # when all files are written, before the folder is renamed.
                    barrier_sync_fn=None if self._apart else self._hash_own,
                    post_finalization_callback=self._seal,
                ),
            ),
        )
        require_same({"newest checkpoint": self.latest()})

    def _hash_own(self, *, key: str, timeout_ms: int) -> None:
        """Orbax's barrier between the processes of a save; before it, the own files."""
        if "async_write_complete" in key and not is_first():
            # Of a folder that is yet to be renamed, too: state.orbax-checkpoint-tmp.
            parts = self._written().glob(f"state*/ocdbt.process_{jax.process_index()}")
            found = {
                f"state/{part.name}/{name}": digest
                for part in parts  # one, or none where it wrote nothing
                for name, digest in digests(part, sealed_files(part)).items()
            }
            name = f"{self._sums()}/{jax.process_index()}"
            coordinator().key_value_set(name, json.dumps(found), True)
        ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)

    def _seal(self) -> None:
        if not is_first():
            return
        known: dict[str, str] = {}
        if jax.process_count() > 1 and not self._apart:
            for _, text in coordinator().key_value_dir_get(f"{self._sums()}/"):
                known |= json.loads(text)
            coordinator().key_value_delete(f"{self._sums()}/")
        write_seal(self._written(), known)

    def _sums(self) -> str:
        return f"pathjax/sums/{self._saving}"

    def _written(self) -> Path:
        # On object stores Orbax writes under the final name and commits by a file.
        written = sorted(self._folder.glob(f"{self._saving}.orbax-checkpoint-tmp*"))
        return written[-1] if written else self._folder / str(self._saving)

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

    def resume(self, like: TrainState) -> tuple[int, TrainState] | None:
        """The newest whole checkpoint's step and state; None where there is none.

        One whose arrays' files have changed is set aside, with a warning.

        Raises:
          CheckpointError: All are damaged, or one does not fit.
        """
        self.wait()
        several = jax.process_count() > 1
        while (step := self.latest()) is not None:
            check = self._thread.submit(damage, self._folder / str(step), self._is_due)
            # Alone, it reads meanwhile. Several do not, as they would wait for one that fails.
            if not several or not (why := first_said(check.result() or "")):
                try:
                    state = self.restore(step, like)
                except CheckpointError:
                    if not (why := check.result() or ""):
                        raise
                else:
                    if not (why := check.result() or ""):
                        return step, state
            if self._apart or is_first():
                self._set_damaged_aside({step: why})
            barrier("damaged")
            self._manager.reload()
            require_same({"newest checkpoint": self.latest()})
        return None

    def _set_damaged_aside(self, known: Mapping[int, str] | None = None) -> None:
        """`set_damaged_aside`; a copy of a bucket's is downloaded anew first, once."""
        try:
            set_damaged_aside(self._folder, known)
        except CheckpointError:
            if self._fetched_anew or address_of(self._folder) is None:
                raise
            self._fetched_anew = True
            log.warning(
                "the copy of the newest checkpoint in %s is damaged: it is downloaded anew",
                self._folder,
            )
            bucket_run.fetch(self._folder, anew=True)
            set_damaged_aside(self._folder)

    def _is_due(self, path: Path) -> bool:
        """Whether this process compares a file when it resumes: its own large ones."""
        mine = writer(path.as_posix()) % jax.process_count() == jax.process_index()
        return not is_small(path) and (mine or self._apart)

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


def newest(workdir: str) -> int | None:
    """Step of a run's newest complete checkpoint, in a folder or a bucket; for launchers.

    Raises:
      BucketError: The bucket cannot be read.
    """
    folder = f"{workdir.rstrip('/')}/checkpoints"
    if is_address(workdir):
        steps = bucket_run.committed_steps(folder)
    else:
        steps = committed_steps(Path(folder))
    return steps[0] if steps else None


def set_damaged_aside(folder: Path, known: Mapping[int, str] | None = None) -> None:
    """Renames damaged checkpoints newer than the newest whole one to `N.damaged`.

    Args:
      folder: Of the checkpoints.
      known: What is wrong with some of them. Of the others large files are not compared.

    Raises:
      CheckpointError: None is whole. Nothing is renamed then, so that the next run does
        not silently begin at step 0.
    """
    damaged: dict[int, str] = {}
    for step in committed_steps(folder):
        if why := (known or {}).get(step) or damage(folder / str(step), is_small):
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
        what, back = "none of the checkpoints", "remove them to start at step 0"
        # Of those in a bucket only the newest is here.
        if address := address_of(folder):
            newest, *older = bucket_run.committed_steps(address)
            what = "the newest of the checkpoints"
            back = f"remove {newest}/{bucket_run.COMMIT} there to start at step "
            back += str([*older, 0][0])
        raise CheckpointError(
            f"{what} in {folder} is {'damaged' if address else 'whole'}: "
            + "; ".join(f"{step}: {why}" for step, why in damaged.items())
            + f". Restore one from a backup, or {back}"
        )


def _free_name(folder: Path, step: int) -> Path:
    name, count = folder / f"{step}.damaged", 1
    while name.exists():
        count += 1
        name = folder / f"{step}.damaged-{count}"
    return name
