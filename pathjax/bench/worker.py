"""The worker's side of a benchmark: runs one contestant's turns, over its pipes.

    python -m pathjax.bench.worker MODULE:CLASS OPTIONS

Each contestant has its own process, so that no two thread pools share one. Commands are
JSON lines on standard input, answers go to the original standard output, and what
libraries print to standard error. Only the standard library is imported here, because a
peer's interpreter need not have pathjax's dependencies.
"""

import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

IDLE_SHARE = 0.05  # of one core, under which a process counts as idle
LONGEST_WAIT = 20.0  # seconds for read-ahead buffers to fill
MATRIX_SIDE = 2048  # 17 GFLOP and 50 MB: large enough for the best kernels
REPEATS = 5


class Contestant:
    """What a worker runs; the constructor takes the options and warms up.

    Attributes:
      info: Facts for the JSON: `versions`, `threads`, `note`; `unit` names what is
        counted ("images").
    """

    info: dict[str, Any]

    def prepare(self) -> None:
        """Untimed work before a turn."""

    def run(self, count: int) -> int | tuple[int, float]:
        """Does `count` units of work and waits for them.

        Returns:
          The number of items; with the seconds if not all of the turn counts.
        """
        raise NotImplementedError

    def matrix(self) -> dict[str, float]:
        """GFLOP/s of a float32 matrix product by library; empty if not relevant."""
        return {}


def main() -> None:
    """Builds the contestant and obeys {"do": "run", "count": n}, "matrix" and "quit"."""
    module, name = sys.argv[1].split(":")
    options = json.loads(sys.argv[2])
    answers = os.dup(1)
    os.dup2(2, 1)
    use_cores(options["threads"])

    def reply(value: dict[str, Any]) -> None:
        os.write(answers, (json.dumps(value) + "\n").encode())

    start = time.perf_counter()
    contestant = getattr(importlib.import_module(module), name)(options)
    reply({"info": contestant.info, "ready_seconds": time.perf_counter() - start})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "quit":
            break
        reply(obey(contestant, **command))


def obey(contestant: Contestant, do: str, count: int = 0) -> dict[str, Any]:
    """Answers one command, "run" or "matrix"."""
    if do == "matrix":
        return {"gflops": contestant.matrix(), "peak_bytes": peak_bytes()}
    contestant.prepare()
    cpu, start = time.process_time(), time.perf_counter()
    done = contestant.run(count)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if isinstance(done, tuple):
        done, seconds = done
    settle()
    times = {"seconds": seconds, "cpu_seconds": cpu}
    return {"items": done, **times, "peak_bytes": peak_bytes()}


def settle(pause: float = 0.1) -> None:
    """Waits until this process is idle, at most LONGEST_WAIT seconds.

    A loader reads ahead after its turn, which would slow the next contestant.
    """
    end = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(pause)
        if time.process_time() - before < IDLE_SHARE * pause:
            return


def use_cores(threads: int) -> None:
    """Binds the process to `threads` cores, by which XLA sizes its thread pool.

    Raises:
      ValueError: there are fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        return  # macOS: every contestant sees all cores
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        raise ValueError(
            f"expected {threads} cores, got {len(cores)}: give --config.threads="
            f"{len(cores)}"
        )
    os.sched_setaffinity(0, cores[:threads])


def peak_bytes() -> int:
    """Largest resident size of this process so far.

    From /proc if possible: getrusage starts from the size of the parent at the fork.
    """
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def time_calls(action: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Seconds of some calls, after one to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def matrix_rate(product: Callable[[], object], side: int = MATRIX_SIDE) -> float:
    """Median GFLOP/s of a square matrix product."""
    return 2e-9 * side**3 / statistics.median(time_calls(product))


def jax_matrix(side: int = MATRIX_SIDE, dtype: str = "float32") -> dict[str, float]:
    """The rate of JAX on its default device."""
    import jax

    a, b = jax.random.normal(jax.random.key(0), (2, side, side), dtype)
    product = jax.jit(lambda a, b: a @ b)
    return {"jax": matrix_rate(lambda: product(a, b).block_until_ready(), side)}


if __name__ == "__main__":
    main()
