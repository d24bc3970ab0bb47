"""The watchdog: warns when a run stalls, and names the processes that are late.

A thread of each process writes `WORKDIR/heartbeats/process_I.json` (step, phase, since
when) and looks at when a step, or a batch of a validation, was last finished. After
`seconds` without one it warns, once, and writes the stacks of all threads to
`WORKDIR/heartbeats/process_I.stacks`. It never ends a process: that is up to the user or
the scheduler.
"""

import contextlib
import dataclasses
import faulthandler
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import jax

from pathjax.files import write_json
from pathjax.train.telemetry.timing import Activity, StepTimer

# Between two heartbeats; a quarter of the stall where that is shorter.
HEARTBEAT_SECONDS = 15.0


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """What a process last said of itself.

    Attributes:
      process: its number.
      host, pid: where it runs.
      beat: counts its heartbeats; one that no longer changes is of a dead process.
      step: steps it has finished.
      phase: what it is doing (`timing.PHASES`).
      seconds: for how long, by its own clock.
    """

    process: int
    host: str
    pid: int
    beat: int
    step: int
    phase: str
    seconds: float


def read_heartbeats(folder: Path, processes: int) -> dict[int, Heartbeat]:
    """The heartbeats of the processes that have written any."""
    found = {}
    for process in range(processes):
        path = folder / f"process_{process}.json"
        if path.exists():
            found[process] = Heartbeat(**json.loads(path.read_text("utf-8")))
    return found


def verdict(
    before: dict[int, Heartbeat], after: dict[int, Heartbeat], processes: int
) -> str:
    """Which process is late, from two readings more than a heartbeat apart.

    In this order: one that never wrote, one that no longer writes, one that has
    finished fewer steps, one that does something else while the others step (a step
    waits for all, so who waits is in it).
    """
    if missing := [i for i in range(processes) if i not in after]:
        return f"{_names(missing)} never began"
    if silent := [
        i for i, one in after.items() if i in before and before[i].beat == one.beat
    ]:
        told = "; ".join(_describe(after[i]) for i in silent)
        return f"no heartbeat any more: {told}. The process or its machine is down"
    least = min(one.step for one in after.values())
    behind = [one for one in after.values() if one.step == least]
    if len(behind) == len(after):
        elsewhere = [one for one in behind if one.phase != "step"]
        behind = elsewhere or behind
    told = "; ".join(_describe(one) for one in behind[:4])
    more = f" and {len(behind) - 4} more" if len(behind) > 4 else ""
    if len(behind) == processes > 1:
        return f"no process is behind the others: {told}{more}"
    return f"{told}{more}"


def _names(processes: list[int]) -> str:
    return ", ".join(f"process {i}" for i in processes)


def _describe(one: Heartbeat) -> str:
    doing = {
        "data": "waiting for data",
        "step": "in a step, or waiting for another process in one",
        "save": "saving",
        "validation": "validating",
        "compile": "compiling",
    }.get(one.phase, "between phases")
    return (
        f"process {one.process} ({one.host}, pid {one.pid}) after step {one.step}, "
        f"{doing} for {one.seconds:.0f} s"
    )


class Watchdog:
    """Watches one process of a run; a context manager with a thread of its own.

    Args:
      workdir: the run's folder.
      timer: says what the loop is doing.
      seconds: without a finished step before it warns; 0 watches nothing.
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
        one = Heartbeat(
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
                self._folder / f"process_{self._process}.json", dataclasses.asdict(one)
            )

    def _warn(self, activity: Activity) -> None:
        before = read_heartbeats(self._folder, self._processes)
        for _ in range(3):  # heartbeats of its own go on, while others' are awaited
            self._ended.wait(self._period)
            self._write(self._timer.activity)
        if self._ended.is_set() or self._timer.activity.moved != activity.moved:
            return  # it went on meanwhile
        after = read_heartbeats(self._folder, self._processes)
        stacks = self._folder / f"process_{self._process}.stacks"
        with stacks.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file, all_threads=True)
        stalled = time.monotonic() - activity.moved
        print(
            f"pathjax: nothing was finished for {stalled:.0f} s. Late: "
            f"{verdict(before, after, self._processes)}. What process "
            f"{self._process} was doing is in {stacks}",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Self:
        if self._seconds:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
