"""Real processes on this machine that run one command together, for tests.

Each is `python launched.py ARGUMENTS OF pathjax`: the command line itself, after settings
that a small test needs. Nothing is left running, whatever happens.
"""

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

PORT_TAKEN = "cannot listen on port"
# Far more than any of them takes; what it guards against is a hang.
SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status, and all that it printed."""

    status: int
    text: str


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def environment(devices: int, **more: str) -> dict[str, str]:
    """What a process of `devices` simulated devices needs, and a cache for all."""
    cache = jax.config.jax_compilation_cache_dir
    return (
        os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "PATHJAX_START_SECONDS": "120",
        }
        | ({"JAX_COMPILATION_CACHE_DIR": cache} if cache else {})
        | more
    )


@contextlib.contextmanager
def started(
    commands: Sequence[Sequence[str]], folder: Path, environment: dict[str, str]
) -> Iterator[list[subprocess.Popen]]:
    """Starts processes that print into `folder`; kills what is left at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen] = []
    try:
        for number, words in enumerate(commands):
            with open(folder / f"{number}.log", "wb") as log:
                process = subprocess.Popen(
                    [sys.executable, __file__, *words],
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ended(processes: Sequence[subprocess.Popen], folder: Path) -> list[Ended]:
    """Waits for all; the texts are printed when one takes too long."""
    until = time.monotonic() + SECONDS
    found = []
    for number, process in enumerate(processes):
        log = folder / f"{number}.log"
        try:
            status = process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            for other in sorted(folder.glob("*.log")):
                print(f"--- {other.name}\n{other.read_text(errors='replace')}")
            raise
        found.append(Ended(status, log.read_text(errors="replace")))
    return found


def run_together(
    words: Sequence[str],
    processes: int,
    folder: Path,
    *,
    devices: int,
    differing: dict[int, Sequence[str]] | None = None,
    **more: str,
) -> list[Ended]:
    """Runs one `pathjax` command in several processes; again when the port was taken.

    Args:
      words: of the command.
      processes: how many.
      folder: for what they print.
      devices: simulated ones in each.
      differing: more words for some of the processes, by number.
      more: of the environment.
    """
    for attempt in range(3):
        address = f"localhost:{free_port()}"
        commands = [
            [*words, "--coordinator", address, "--processes", str(processes)]
            + ["--process", str(number), *(differing or {}).get(number, ())]
            for number in range(processes)
        ]
        with started(commands, folder, environment(devices, **more)) as running:
            found = ended(running, folder)
        if attempt == 2 or not any(PORT_TAKEN in one.text for one in found):
            break
    for number, one in enumerate(found):
        print(f"--- process {number}: status {one.status}\n{one.text}")
    return found


def main() -> int:
    from pathjax import cli, mesh

    # A small model has no large arrays, and those that are shall be divided.
    if "PATHJAX_TEST_SHARDED_BYTES" in os.environ:
        least = int(os.environ["PATHJAX_TEST_SHARDED_BYTES"])
        mesh.state_sharding.__defaults__ = (least,)
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
