"""The watchdog: warns when a run stalls, and names the processes that are late.

A thread of each process writes `WORKDIR/heartbeats/process_I.json`. After `seconds`
without a finished step or validation batch it warns, once, and writes the stacks of all
threads to `process_I.stacks`. It never ends a process.
"""

import contextlib
import dataclasses
import faulthandler
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Self

import jax

from pathjax.files import write_json
from pathjax.train.telemetry.timing import Activity, StepTimer

HEARTBEAT_SECONDS = 15.0  # a quarter of the stall where that is shorter
DOING = {
    "data": "waiting for data",
    "step": "in a step, or waiting for another process in one",
    "save": "saving",
    "validation": "validating",
    "compile": "compiling",
}

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """The last report of a process.

    Attributes:
      process: Its number.
      host, pid: Where it runs.
      beat: Counts its heartbeats; one that no longer changes is of a dead process.
      step: Steps finished.
      phase: One of `timing.PHASES`, or "other".
      seconds: Time spent in that phase, by its own clock.
    """

    process: int
    host: str
    pid: int
    beat: int
    step: int
    phase: str
    seconds: float

    def __str__(self) -> str:
        doing = DOING.get(self.phase, "between phases")
        return (
            f"process {self.process} ({self.host}, pid {self.pid}) after step "
            f"{self.step}, {doing} for {self.seconds:.0f} s"
        )


def read_heartbeats(folder: Path, processes: int) -> dict[int, Heartbeat]:
    """The heartbeats of the processes that have written any."""
    paths = {i: folder / f"process_{i}.json" for i in range(processes)}
    return {
        i: Heartbeat(**json.loads(path.read_text("utf-8")))
        for i, path in paths.items()
        if path.exists()
    }


def verdict(
    before: dict[int, Heartbeat], after: dict[int, Heartbeat], processes: int
) -> str:
    """Which process is late, from two readings more than a heartbeat apart.

    In this order: one that never wrote, one that no longer writes, one that has
    finished fewer steps, one that does something else while the others step (a step
    waits for all processes, so those that wait are in it).
    """
    if missing := [f"process {i}" for i in range(processes) if i not in after]:
        return f"{', '.join(missing)} never began"
    if silent := [
        str(one)
        for i, one in after.items()
        if i in before and before[i].beat == one.beat
    ]:
        return (
            f"no heartbeat any more: {'; '.join(silent)}. The process or its machine "
            "is down"
        )
    least = min(one.step for one in after.values())
    behind = [one for one in after.values() if one.step == least]
    if len(behind) == len(after):
        behind = [one for one in behind if one.phase != "step"] or behind
    names = "; ".join(str(one) for one in behind[:4])
    if len(behind) > 4:
        names += f" and {len(behind) - 4} more"
    everyone = len(behind) == processes > 1
    return f"no process is behind the others: {names}" if everyone else names


class Watchdog:
    """Watches one process of a run; a context manager with its own thread.

    Args:
      workdir: The run's folder.
      timer: Knows what the loop is doing.
      seconds: Time without progress before it warns; 0 turns it off.
    """

    def __init__(self, workdir: Path, timer: StepTimer, seconds: float):
        self._folder = workdir / "heartbeats"
        self._timer = timer
        self._seconds = seconds
        self._period = min(HEARTBEAT_SECONDS, seconds / 4)
        self._process, self._processes = jax.process_index(), jax.process_count()
        self._beat = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        warned_at = None
        while not self._ended.is_set():
            activity = self._timer.activity
            self._write(activity)
            stalled = time.monotonic() - activity.moved
            if activity.moved != warned_at and stalled > self._seconds:
                warned_at = activity.moved
                self._warn(activity)
            self._ended.wait(self._period)

    def _write(self, activity: Activity) -> None:
        self._beat += 1
        beat = Heartbeat(
            self._process,
            socket.gethostname(),
            os.getpid(),
            self._beat,
            activity.step,
            activity.phase,
            round(time.monotonic() - activity.since, 1),
        )
        # A full disk is the loop's to report; the watchdog continues.
        with contextlib.suppress(OSError):
            write_json(
                self._folder / f"process_{self._process}.json", dataclasses.asdict(beat)
            )

    def _warn(self, activity: Activity) -> None:
        before = read_heartbeats(self._folder, self._processes)
        for _ in range(3):  # keeps beating while it waits for the others' heartbeats
            self._ended.wait(self._period)
            self._write(self._timer.activity)
        if self._ended.is_set() or self._timer.activity.moved != activity.moved:
            return  # the run has moved meanwhile
        after = read_heartbeats(self._folder, self._processes)
        stacks = self._folder / f"process_{self._process}.stacks"
        with stacks.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        log.warning(
            "nothing was finished for %.0f s. Late: %s. Stacks of process %d are in %s",
            time.monotonic() - activity.moved,
            verdict(before, after, self._processes),
            self._process,
            stacks,
        )

    def __enter__(self) -> Self:
        if self._seconds:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
