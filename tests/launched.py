"""Real processes on this machine that run one command together, for tests.

    test -> python launched.py JOB -> fork -> process 0, 1, ... each the command line

They are forked from one that has imported everything and started nothing of JAX: the
imports would otherwise be most of their time. Each prints into a file of its own, and
nothing is left running, whatever happens.
"""

import contextlib
import dataclasses
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PORT_TAKEN = "cannot listen on port"
# Far more than any of them takes; what it guards against is a hang.
SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (minus the signal), all that it printed."""

    status: int
    text: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Processes that are running."""

    parent: subprocess.Popen
    folder: Path
    count: int

    def text(self, number: int) -> str:
        path = self.folder / f"{number}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, number: int, words: str) -> None:
        """Returns when process `number` has printed `words`."""
        until = time.monotonic() + SECONDS
        while words not in self.text(number):
            assert self.parent.poll() is None and time.monotonic() < until, self.told()
            time.sleep(0.05)

    def send(self, number: int, signal_number: int) -> None:
        os.kill(int((self.folder / f"{number}.pid").read_text()), signal_number)

    @contextlib.contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Process `number` stands still meanwhile, below its supervisor."""
        pid = (self.folder / f"{number}.pid").read_text()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in below:
            os.kill(int(one), signal.SIGSTOP)
        yield
        for one in below:
            os.kill(int(one), signal.SIGCONT)

    def told(self) -> str:
        numbers = ["parent", *range(self.count)]
        return "\n".join(f"--- {one}\n{self.text(one)}" for one in numbers)

    def ended(self) -> list[Ended]:
        """Waits for all."""
        try:
            self.parent.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not all ended:\n{self.told()}") from None
        assert self.parent.returncode == 0, self.told()
        statuses = json.loads((self.folder / "statuses.json").read_text())
        return [Ended(one, self.text(i)) for i, one in enumerate(statuses)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(
    words: Sequence[str],
    processes: int,
    folder: Path,
    *,
    devices: int,
    differing: dict[int, Sequence[str]] | None = None,
    sharded_bytes: int | None = None,
    script: str = "",
    **environment: str,
) -> Iterator[Group]:
    """Starts one `pathjax` command in several processes; kills what is left at the end.

    Args:
      words: of the command.
      processes: how many.
      folder: for what they print.
      devices: simulated ones in each.
      differing: more words for some of the processes, by number.
      sharded_bytes: arrays from here on are divided over "fsdp"; a small model has none
        of the size that is divided otherwise.
      script: a Python file to run in place of the command line.
      environment: more variables for all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared = [*words, f"--coordinator=localhost:{free_port()}"]
    shared.append(f"--processes={processes}")
    job = {
        "commands": [
            [*shared, f"--process={number}", *(differing or {}).get(number, ())]
            for number in range(processes)
        ],
        "sharded_bytes": sharded_bytes,
        "script": script,
    }
    (folder / "job.json").write_text(json.dumps(job))
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PATHJAX_START_SECONDS": "120",
        "PATHJAX_ALLOCATOR": "0",  # a forked process has no command to restart
    }
    with open(folder / "parent.log", "wb") as log:
        parent = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env=os.environ | variables | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all can be killed at once
        )
    try:
        yield Group(parent, folder, processes)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def run_together(words: Sequence[str], processes: int, folder: Path, **options):
    """Runs to the end, and again when another program was given the port meanwhile."""
    for attempt in range(3):
        with started(words, processes, folder / str(attempt), **options) as group:
            found = group.ended()
        if not any(PORT_TAKEN in one.text for one in found):
            break
    print(group.told())  # pytest shows it when the test fails
    return found


def main(folder: Path) -> int:
    """The parent: forks the processes, and writes down how they ended."""
    from pathjax import cli
    from pathjax.parallel import mesh
    from pathjax.train import trainer as train  # noqa: F401

    job = json.loads((folder / "job.json").read_text())
    if job["sharded_bytes"] is not None:
        mesh.state_sharding.__defaults__ = (job["sharded_bytes"],)
    children = []
    for number, words in enumerate(job["commands"]):
        child = os.fork()
        if child == 0:
            log = os.open(folder / f"{number}.log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv[1:] = words
            if job["script"]:
                runpy.run_path(job["script"], run_name="__main__")
                return 0
            return cli.main()  # as the command, with its supervisor
        (folder / f"{number}.pid").write_text(str(child))
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    statuses = [os.waitstatus_to_exitcode(end) for end in ends]
    (folder / "statuses.json").write_text(json.dumps(statuses))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
