"""Runs the contestants of a benchmark in interleaved turns.

A machine's speed drifts by more than most improvements. So contestants take turns,
A B C A B C ..., and are compared within each round; a reported ratio is the median over
rounds. Absolute rates are for orientation.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pathjax.bench.options import BenchError, Common, Entry
from pathjax.bench.report import machine, result
from pathjax.progress import stage

PACKAGE_PARENT = Path(__file__).resolve().parents[2]


class Worker:
    """A contestant's process, from its parent's side; a context manager."""

    def __init__(self, entry: Entry, python: str, environ: Mapping[str, str]):
        self.entry = entry
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        words = [entry.contestant, json.dumps(dict(entry.options))]
        path = [str(PACKAGE_PARENT), environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [python, "-m", "pathjax.bench.worker", *words],
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
        process = self._process
        if process.poll() is None:
            try:
                process.communicate('{"do": "quit"}\n', timeout=10)
            except subprocess.TimeoutExpired:  # in a turn whose result is not needed
                process.kill()
                process.communicate()
        process.stdin.close()
        process.stdout.close()
        self._errors.close()

    def start(self) -> None:
        """Waits until the contestant is warm.

        Raises:
          BenchError: it ended instead.
        """
        answer = self._answer()
        self.info, self.ready_seconds = answer["info"], answer["ready_seconds"]

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Sends one command and waits for its answer.

        Raises:
          BenchError: the worker ended instead.
        """
        # If it has ended, reading its answer says why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        answer = self._answer()
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        output = self._errors.read().decode(errors="replace").strip().splitlines()
        raise BenchError(
            f"contestant {self.entry.name} ended with status {status}; its last output "
            "was:\n" + "\n".join(f"    {line}" for line in output[-8:])
        )


def choose(entries: Sequence[Entry], peer: bool, names: str) -> list[Entry]:
    """The contestants to run, in the order of `names`, or the default ones.

    Raises:
      BenchError: an unknown one, or a peer without --peer.
    """
    known = {entry.name: entry for entry in entries}
    if not names:
        return [e for e in entries if e.default and (peer or not e.peer)]
    chosen = names.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise BenchError(
            f"unknown contestants {', '.join(unknown)}; expected {', '.join(known)}"
        )
    peers = [name for name in chosen if known[name].peer]
    if peers and not peer:
        raise BenchError(f"contestants {', '.join(peers)} are peers: add --peer")
    return [known[name] for name in chosen]


def require_modules(entry: Entry, python: str) -> None:
    """Checks that an interpreter has the libraries of a peer.

    Raises:
      BenchError: naming the missing ones and how to install them.
    """
    code = (
        "import importlib.util, sys; "
        "print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])"
    )
    done = subprocess.run(
        [python, "-c", code, *entry.modules], capture_output=True, text=True, check=True
    )
    if missing := done.stdout.split():
        raise BenchError(
            f"--peer found no {' and no '.join(missing)}: "
            f"pip install 'pathjax[{entry.extra}]', or name an interpreter that has it "
            "with --config.peer_python=PATH"
        )


def take_turns(
    workers: Mapping[str, Any],
    rounds: int,
    count: int,
    progress: Callable[[int, str], None] = lambda done, note: None,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[float]]]:
    """Lets workers take turns of `count` units; a round ends with the matrix products.

    Args:
      workers: By name, each with `ask`.
      rounds, count: As in `Common`.
      progress: Called with (rounds done, name of the last contestant).

    Returns:
      The answers of each contestant, and GFLOP/s by library, both by round.
    """
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    matrix: dict[str, list[float]] = {}
    for index in range(rounds):
        for name, worker in workers.items():
            turns[name].append(worker.ask("run", count=count))
            progress(index, name)
        for worker in workers.values():
            for library, rate in worker.ask("matrix")["gflops"].items():
                matrix.setdefault(library, []).append(rate)
        progress(index + 1, "")
    return turns, matrix


def run(what: str, bench: ModuleType, options: Common, peer: bool) -> dict[str, Any]:
    """Starts the workers one after the other, measures, and returns the result."""
    before = machine()
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="pathjax-bench-"))
        extra: dict[str, Any] = {}
        if hasattr(bench, "local_workers"):  # contestants that share this process
            workers = bench.local_workers(options)
        else:
            folder, workers = Path(name), {}
            chosen = choose(bench.entries(options, folder), peer, options.contestants)
            peer_python = options.peer_python or sys.executable
            for entry in chosen:
                if entry.peer:
                    require_modules(entry, peer_python)
            if hasattr(bench, "prepare"):
                extra = bench.prepare(options, folder)
            with stage("start and warm up", len(chosen)) as bar:
                for entry in chosen:
                    python = peer_python if entry.peer else sys.executable
                    worker = stack.enter_context(Worker(entry, python, os.environ))
                    workers[entry.name] = worker
                    worker.start()
                    bar(len(workers), entry.name)
        # The first round is not counted: caches, clocks, AUTOTUNE.
        take_turns(workers, 1, options.count)
        with stage("rounds", options.rounds) as bar:
            turns, matrix = take_turns(workers, options.rounds, options.count, bar)
        values = result(
            what, dataclasses.asdict(options), workers, turns, matrix, before, extra
        )
    if hasattr(bench, "summary"):
        values["summary"] = bench.summary(values)
    return values
