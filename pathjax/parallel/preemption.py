"""Preemption: a signal to stop becomes a checkpoint, then an exit code of its own.

SIGTERM, and the first SIGINT, are only noted; the loop asks `reached` once per step,
saves, waits until the checkpoint is whole and raises `Preempted`, which the command line
turns into exit status 75 (EX_TEMPFAIL of sysexits.h: "try again later"). The same line
run again goes on bit for bit. With several processes a signal to one of them stops all
after the same step; JAX's coordination service agrees on which, in the background, so
that asking costs no collective.

It does not catch SIGKILL; what that leaves is the business of `checkpoint.py`.
"""

import os
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

# EX_TEMPFAIL; launchers run the same line again when they see it.
EXIT_PREEMPTED = os.EX_TEMPFAIL


class Preempted(Exception):
    """The run stopped because it was told to; what it had done is saved.

    Attributes:
      step: steps done and saved; 0 when there was nothing to save yet.
    """

    def __init__(self, step: int, workdir: Path):
        self.step = step
        saved = f"checkpoint {step} is saved" if step else "nothing was done yet"
        super().__init__(
            f"stopped at step {step} by a signal; {saved} in {workdir}. Run the same "
            f"command again to go on (exit status {EXIT_PREEMPTED})"
        )


class Preemption:
    """Watches for a signal to stop; a context manager around one run.

    In a thread other than the main one no signal can be watched, and none is.
    """

    def __init__(self) -> None:
        self._noted = False
        self._reached = False
        self._asked = 0
        self._before: dict[int, object] = {}

    def reached(self) -> bool:
        """True once this run should save and stop; the same answer on every process.

        Every process has to ask at the same places, for the n-th question is what
        they agree on.
        """
        self._asked += 1
        if _processes() == 1:
            self._reached = self._noted
        elif not self._reached:
            from jax.experimental import multihost_utils

            self._reached = multihost_utils.reached_preemption_sync_point(self._asked)
        return self._reached

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self._noted
        self._noted = True
        name = signal.Signals(number).name
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        # os.write, for a signal may arrive in the midst of a buffered write.
        said = "is being saved already" if again else "finishes this step and saves"
        more = "; once more ends it at once" if number == signal.SIGINT else ""
        os.write(2, f"pathjax: {name}: {said}{more}\n".encode())
        if number == signal.SIGINT and _processes() > 1:
            # Only SIGTERM is known to the coordination service.
            os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        # With several processes JAX's coordination service has its own handler of
        # SIGTERM, and tells the others.
        wanted = [signal.SIGINT] + [signal.SIGTERM] * (_processes() == 1)
        for number in wanted:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


def _processes() -> int:
    # Imported late: the command line names the exit status before JAX may be loaded.
    import jax

    return jax.process_count()
