"""A profile of some steps, by flag: a trace of host and device.

It is written by `jax.profiler` below `WORKDIR/profile` and read by XProf or TensorBoard's
profile plugin. The device is waited for twice, at the first and after the last step of
it, and not otherwise.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax


class Profile:
    """Traces steps `start` to `start + steps` of a run; a context manager.

    Args:
      workdir: the run's folder.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running:
            self._stop()
