"""Contestants in processes of their own, turns in rounds, and paired ratios.

A machine's rate drifts by more than most improvements are worth. So contestants take
turns, A B C A B C ..., and are compared within each round; the ratio reported is the
median over rounds of the ratios of neighbours. Absolute rates are for orientation.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pathjax.bench.options import BenchError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contestant to be.

    Attributes:
      name: on the command line and in the JSON.
      label: for people.
      module: its worker, run by `python -m`.
      options: handed to the worker as JSON, with `threads` among them.
      peer: True runs it with the interpreter of the peers.
      environ: variables to add.
    """

    name: str
    label: str
    module: str
    options: Mapping[str, Any]
    peer: bool = False
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Worker:
    """A contestant's process, from its parent's side. Use it as a context manager."""

    def __init__(self, entry: Entry, python: str, environ: Mapping[str, str]):
        self.entry = entry
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        path = [str(PACKAGE_PARENT), environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [python, "-m", entry.module, json.dumps(dict(entry.options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            env={**environ, "PYTHONPATH": ":".join(filter(None, path))}
            | dict(entry.environ),
        )
        self.info: dict[str, Any] = {}
        self.ready_seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """Ends the process, politely if it is listening."""
        process = self._process
        if process.poll() is None:
            try:
                process.communicate('{"do": "quit"}\n', timeout=10)
            except subprocess.TimeoutExpired:  # still at work: its result is not wanted
                process.kill()
                process.communicate()
        process.stdin.close()
        process.stdout.close()
        self._errors.close()

    def start(self) -> None:
        """Waits until the contestant is made and warm.

        Raises:
          BenchError: it ended instead.
        """
        answer = self._answer()
        self.info, self.ready_seconds = answer["info"], answer["ready_seconds"]

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Sends one command and waits for its answer.

        Raises:
          BenchError: the worker ended instead of answering.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        except BrokenPipeError:
            self._answer()  # it is gone: raises with its last words
            raise
        answer = self._answer()
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        raise BenchError(
            f"contestant {self.entry.name} ended with status {status}; its last words "
            "were:\n" + "\n".join(f"    {line}" for line in words[-8:])
        )


def require_modules(python: str, modules: Sequence[str], extra: str = "peers") -> None:
    """Refuses an interpreter that lacks modules of the peers, which are in `extra`.

    Raises:
      BenchError: naming them and how to install them.
    """
    code = (
        "import importlib.util, sys; "
        "print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])"
    )
    found = subprocess.run(
        [python, "-c", code, *modules], capture_output=True, text=True, check=True
    )
    if found.stdout.strip():
        raise BenchError(
            f"--peer found no {' and no '.join(found.stdout.split())}: "
            f"pip install 'pathjax[{extra}]', or name an interpreter that has it with "
            "--config.peer_python=PATH"
        )


def interpreter(entry: Entry, peer_python: str) -> str:
    """The interpreter that runs a contestant."""
    return peer_python if entry.peer and peer_python else sys.executable


@dataclasses.dataclass
class Record:
    """What one contestant did, a value for each round."""

    images: list[int] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    cpu_seconds: list[float | None] = dataclasses.field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Images a second by round."""
        return [n / s for n, s in zip(self.images, self.seconds, strict=True)]

    @property
    def cpu_rates(self) -> list[float]:
        """Images per second of CPU time, all threads together, which feels less of
        what else runs on the machine; empty where it is not known."""
        if None in self.cpu_seconds:
            return []
        return [n / s for n, s in zip(self.images, self.cpu_seconds, strict=True)]


def take_turns(
    workers: Mapping[str, Any],
    rounds: int,
    count: int,
    progress: Callable[[int, str], None] = lambda done, note: None,
) -> tuple[dict[str, Record], dict[str, list[float]]]:
    """Lets workers take turns; a round ends with the matrix products.

    Args:
      workers: by name, each with `ask`.
      rounds, count: how many, and the units of work in a turn.
      progress: called with (rounds done, the last contestant's name).

    Returns:
      Records by contestant, and GFLOP/s by "library (contestant's name)", by round.
    """
    records = {name: Record() for name in workers}
    matrix: dict[str, list[float]] = {}
    for index in range(rounds):
        for name, worker in workers.items():
            answer = worker.ask("run", count=count)
            records[name].images.append(answer["images"])
            records[name].seconds.append(answer["seconds"])
            records[name].cpu_seconds.append(answer["cpu_seconds"])
            progress(index, name)
        for worker in workers.values():
            for library, rate in worker.ask("matrix")["gflops"].items():
                matrix.setdefault(library, []).append(rate)
        progress(index + 1, "")
    return records, matrix


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Ratios round by round, with median and range.

    Raises:
      ValueError: the numbers of rounds differ.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {**spread(ratios), "rounds": ratios}
