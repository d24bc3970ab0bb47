"""Preemption: a signal to stop becomes a checkpoint, then an exit code of its own.

SIGTERM, and the first SIGINT, are only noted; the loop asks `reached` once per step,
saves, waits until the checkpoint is complete and raises `Preempted`, which the command
line turns into exit status 75 (EX_TEMPFAIL of sysexits.h: "try again later"). The same
command resumes bit for bit. With several processes a signal to one of them stops all
after the same step; JAX's coordination service agrees on which, in the background, so
that asking costs no collective. SIGKILL cannot be caught; see checkpoint.py.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Self

# EX_TEMPFAIL; launchers run the same command again when they see it.
EXIT_PREEMPTED = os.EX_TEMPFAIL


class Preempted(Exception):
    """The run was stopped by a signal; its progress is saved.

    Attributes:
      step: Steps done and saved; 0 if there was nothing to save yet.
    """

    def __init__(self, step: int, workdir: Path):
        self.step = step
        saved = f"checkpoint {step} is saved" if step else "nothing was done yet"
        super().__init__(
            f"stopped at step {step} by a signal; {saved} in {workdir}. Run the same "
            f"command again to resume (exit status {EXIT_PREEMPTED})"
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

        Every process has to ask at the same places: they agree on the n-th question.
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
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        doing = "is being saved already" if again else "finishes this step and saves"
        more = "; once more ends it at once" if number == signal.SIGINT else ""
        line = f"pathjax: {signal.Signals(number).name}: {doing}{more}\n"
        # os.write, for a signal may arrive in the midst of a buffered write.
        os.write(2, line.encode())
        if number == signal.SIGINT and _processes() > 1:
            # Only SIGTERM is known to the coordination service.
            os.kill(os.getpid(), signal.SIGTERM)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # With several processes JAX's coordination service handles SIGTERM itself,
            # and informs the others.
            for number in [signal.SIGINT] + [signal.SIGTERM] * (_processes() == 1):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


@contextlib.contextmanager
def process_pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Worker processes that Ctrl-C ends without a traceback of their own.

    Spawned, because JAX may have started threads, which a forked child would lack. Jobs
    have to be submitted inside `quiet_start`. What has not started is cancelled at the end.
    """
    pool = concurrent.futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_on_interrupt,
    )
    try:
        yield pool
    except BrokenProcessPool:
        raise_pending_interrupt()  # it has ended the workers already
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def raise_pending_interrupt() -> None:
    """Ends the wait of a Ctrl-C that came during an import (pathjax/__main__.py).

    Raises:
      KeyboardInterrupt: there is one.
    """
    if signal.setitimer(signal.ITIMER_REAL, 0)[0]:
        raise KeyboardInterrupt


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Holds SIGINT back, also in processes started inside, until they can end quietly."""
    # Its start, with the first process, would let SIGINT through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_on_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _processes() -> int:
    # Imported late: the command line names the exit status before JAX may be loaded.
    import jax

    return jax.process_count()
