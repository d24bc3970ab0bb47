"""A profile of some steps: a trace of host and devices below `WORKDIR/profile`.

Read it with XProf or TensorBoard's profile plugin. The device is waited for at the first
traced step and after the last one, and not otherwise.
"""

from pathlib import Path
from typing import Any, Self

import jax


class Profile:
    """Traces some steps of a run; a context manager.

    Args:
      workdir: The run's folder.
      span: (steps done when it begins, steps to trace), or () for none. A run that is
        resumed after its beginning traces nothing.
    """

    def __init__(self, workdir: Path, span: tuple[int, ...]):
        self._folder = workdir / "profile"
        self._start, self._steps = span or (-1, 0)
        self._running = False

    def at(self, step: int, state: Any) -> None:
        """Begins or ends the trace; called with the steps done, before the next."""
        if step == self._start and self._steps:
            jax.block_until_ready(state)  # the steps before are no part of it
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif self._running and step >= self._start + self._steps:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            self._stop()
