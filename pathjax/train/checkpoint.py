"""Checkpoints to resume from: Orbax, behind four verbs; nobody else imports it.

A checkpoint is (state, position of the data iterator, step, config, gene panel, study
fingerprint, early-stopping record). Orbax copies the state to the host, then writes in
the background under a temporary name, and renames. The loop continues meanwhile, and a
kill leaves either the new checkpoint complete or the one before. Each is sealed before it is
renamed and compared with its seal before it is used (seal.py).
"""

import contextlib
import errno
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from pathjax.parallel.collective import first_does, is_first
from pathjax.train.seal import (
    committed_steps,
    set_damaged_aside,
    warn_of_damage,
    write_seal,
)
from pathjax.train.state import TrainState, abstract_state


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says what remains."""


def tree_bytes(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last write.

    Opening it sets damaged ones that are newer than the newest whole one aside, with
    a `DamagedCheckpointWarning`, and removes what a killed write left.

    Args:
      folder: `WORKDIR/checkpoints`.
      keep: how many of the newest to keep.

    Raises:
      CheckpointError: there are checkpoints, and all of them are damaged.
    """

    def __init__(self, folder: Path, keep: int):
        self._folder = folder.absolute()
        self._saving: int | None = None
        first_does(self._set_damaged_aside)
        self._manager = ocp.CheckpointManager(
            self._folder,
            item_names=("state", "meta"),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                create=True,
                cleanup_tmp_directories=True,
                # Called when all files are written, before the folder is renamed.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            ),
        )

    def _set_damaged_aside(self) -> None:
        used, found = set_damaged_aside(self._folder)
        if used is None and found:
            raise CheckpointError(
                f"none of the checkpoints in {self._folder} is whole: "
                + "; ".join(f"{step}: {why}" for step, why in found.items())
                + ". Restore one from a backup, or remove them to start at step 0"
            )
        if used is not None:
            warn_of_damage(self._folder, used, found)

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
          CheckpointError: this or the write before it failed, such as on a full disk.
        """
        needed, free = tree_bytes(state), shutil.disk_usage(self._folder).free
        if free < needed:
            self._fail(step, f"{needed >> 20} MiB are needed, {free >> 20} are free")
        self.wait()
        self._saving = step  # for the seal; the previous write is complete
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
                ),
            )
        except (OSError, ValueError, RuntimeError) as error:
            self._fail(step, str(error), error)

    def wait(self) -> None:
        """Returns when the last write is complete.

        Raises:
          CheckpointError: it failed.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except (OSError, ValueError, RuntimeError) as error:
            self._fail(None, str(error), error)

    def _fail(self, step: int | None, why: str, cause: Exception | None = None):
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
        found = self._manager.restore(
            step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
        )
        return found["meta"]

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Reads a state onto the shapes and shardings of `like`.

        Raises:
          CheckpointError: it does not fit, or is damaged.
        """
        try:
            found = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract_state(like))
                ),
            )
        except Exception as error:  # a bare one for an array that cannot be read
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be read: {error}"
            ) from error
        # Through a jitted identity, so that the buffers are laid out by XLA and may
        # be donated (jax#18617).
        shardings = jax.tree.map(lambda leaf: leaf.sharding, like)
        return jax.jit(lambda state: state, out_shardings=shardings)(found["state"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait()
            self._manager.close()
        else:
            # Closing waits for a write that may have failed; that would only hide the
            # error that is on its way.
            with contextlib.suppress(Exception):
                self._manager.close()
