"""The worker's side of a benchmark: does a turn when told to, over its pipes.

A contestant runs in a process of its own, so that no two thread pools share one. It
reads commands as JSON lines from standard input and answers on what was its standard
output; what libraries print goes to standard error. Only the standard library is
imported here, because a peer's interpreter need not have pathjax's dependencies.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

IDLE_SHARE = 0.05  # of one core, under which a process counts as idle
LONGEST_WAIT = 20.0  # seconds for read-ahead buffers to fill


class Contestant(Protocol):
    """What a worker runs; made once, warm when made."""

    info: dict[str, Any]  # "children": True where other processes do the work

    def prepare(self) -> None:
        """What comes before a turn and is not timed."""

    def run(self, count: int) -> int:
        """Does `count` units of work, finished on return; the number of images."""

    def matrix(self) -> dict[str, float]:
        """GFLOP/s of a matrix product by library, empty where that is no matter."""


def serve(make: Callable[[dict[str, Any]], Contestant]) -> None:
    """Makes the contestant from the options in `argv[1]` and obeys until told to quit.

    Commands are `{"do": "run", "count": n}`, `{"do": "matrix"}` and `{"do": "quit"}`.
    """
    options = json.loads(sys.argv[1])
    answers = take_stdout()
    use_cores(options["threads"])
    begun = time.perf_counter()
    contestant = make(options)
    ready = {"info": contestant.info, "ready_seconds": time.perf_counter() - begun}
    say(answers, ready)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "run":
            say(answers, turn(contestant, command["count"]))
        elif command["do"] == "matrix":
            say(answers, {"gflops": contestant.matrix(), "peak_bytes": peak_bytes()})
        else:
            break


def turn(contestant: Contestant, count: int) -> dict[str, float]:
    """One timed turn; returns when the process has come to rest.

    A loader goes on reading ahead after its turn, which would slow the next contestant.
    """
    contestant.prepare()
    cpu, begun = time.process_time(), time.perf_counter()
    images = contestant.run(count)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    settle()
    return {
        "images": images,
        "seconds": seconds,
        "cpu_seconds": None if contestant.info.get("children") else cpu,
        "peak_bytes": peak_bytes(),
    }


def settle(pause: float = 0.1) -> None:
    """Waits until this process uses next to no CPU, at most LONGEST_WAIT seconds."""
    end = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(pause)
        if time.process_time() - before < IDLE_SHARE * pause:
            return


def take_stdout() -> int:
    """Keeps standard output for answers and sends what is printed to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def say(answers: int, value: dict[str, Any]) -> None:
    os.write(answers, (json.dumps(value) + "\n").encode())


def use_cores(threads: int) -> None:
    """Binds the process to `threads` cores, by which XLA sizes its thread pool.

    Raises:
      ValueError: there are fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        return  # macOS: every contestant sees all cores alike
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        raise ValueError(
            f"found {len(cores)} cores, wanted {threads}: give --config.threads="
            f"{len(cores)}"
        )
    os.sched_setaffinity(0, cores[:threads])


def peak_bytes() -> int:
    """Largest resident size of this process so far.

    From /proc where there is one: getrusage starts from the size of the process that
    this one was forked from.
    """
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
