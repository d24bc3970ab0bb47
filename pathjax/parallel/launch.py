"""Starting the processes of one run, and ending them together.

    launch_of(flags, environment) -> Launch | None -> with session(launch): train(...)

Within the session a thread looks every second for a failure that another process
has recorded, and for processes without a sign of life; it ends this process even while a
collective or a barrier blocks. Nothing here knows what is run.
"""

import atexit
import contextlib
import dataclasses
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from pathjax.parallel.collective import (
    LostProcessError,
    ProcessError,
    barrier,
    connection,
    is_lost_connection,
)
from pathjax.parallel.preemption import Preempted
from pathjax.parallel.roll_call import roll_call
from pathjax.parallel.supervisor import needs_another

FAILED = "pathjax/failed"
LEFT = "pathjax/left"
BEAT = "pathjax/beat"
POLL_SECONDS = 1.0
GRACE_SECONDS = 3.0  # for a process to end by itself, with its own error

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Launch:
    """How the processes of a run find each other.

    Attributes:
      coordinator: "HOST:PORT" of process 0; "" asks the cluster (Cloud TPU, GKE,
        Slurm, Open MPI, as JAX detects them), which then knows the numbers too.
      processes, process: Their number, and the index of this one.
      start_seconds: How long to wait for all processes.
      silence_seconds: After so long without a sign of life a process counts as lost.
    """

    coordinator: str = ""
    processes: int = 0
    process: int = 0
    start_seconds: int = 300
    silence_seconds: int = 60


def launch_of(
    multihost: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Launch | None:
    """The launch by flags, or else by environment; None for a run of one process.

    Environment: PATHJAX_COORDINATOR, PATHJAX_PROCESSES, PATHJAX_PROCESS in place of the
    flags; PATHJAX_START_SECONDS and PATHJAX_SILENCE_SECONDS.

    Raises:
      ProcessError: Missing or bad values, or both ways at once.
    """
    flags = {"coordinator": coordinator, "processes": processes, "process": process}
    values: dict[str, Any] = {
        field.name: environ[name]
        for field in dataclasses.fields(Launch)
        if (name := f"PATHJAX_{field.name.upper()}") in environ
    }
    values |= {name: flag for name, flag in flags.items() if flag is not None}
    given = [name for name in flags if name in values]
    if not given and not multihost:
        return None
    problems = []
    if given and multihost:
        problems.append(
            "--multihost asks the cluster, so expected no other values, got "
            f"{', '.join(given)}: leave out one or the other"
        )
    elif given and (missing := [name for name in flags if name not in values]):
        problems.append(
            f"{', '.join(missing)} missing: give --coordinator HOST:PORT, --processes N "
            "and --process I (or PATHJAX_COORDINATOR, PATHJAX_PROCESSES and "
            "PATHJAX_PROCESS)"
        )
    address = str(values.pop("coordinator", ""))
    host, colon, port = address.rpartition(":")
    if address and not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        problems.append(f"coordinator: expected HOST:PORT, got {address!r}")
    least = {"processes": 1, "process": 0, "start_seconds": 1, "silence_seconds": 5}
    for name, value in values.items():
        try:
            values[name] = int(value)
        except ValueError:
            problems.append(f"{name}: expected a whole number, got {value!r}")
            continue
        if values[name] < least[name]:
            problems.append(f"{name}: expected at least {least[name]}, got {value}")
    if not problems and given and values["process"] >= values["processes"]:
        problems.append(
            f"process: expected 0 to {values['processes'] - 1}, got {values['process']}"
        )
    if problems:
        raise ProcessError(
            "the processes cannot be started:\n  - " + "\n  - ".join(problems)
        )
    return Launch(address, **values)


@contextlib.contextmanager
def session(launch: Launch | None) -> Iterator[None]:
    """Connects this process with the others, and ends them together.

    To be entered before JAX has looked for devices. After a failure the interpreter
    exits at once, without waiting for processes that are gone.

    Raises:
      ProcessError: The processes do not find each other, or another one failed.
      LostProcessError: One is gone.
    """
    if launch is None:
        yield
        return
    needs_another(True)
    _connect(launch)
    needs_another(connection()[1] > 0)  # process 0 has the coordinator itself
    watch = Watch(launch.silence_seconds)
    stopped = None
    try:
        # Before JAX looks for devices, which waits for the other processes' for ever.
        watch.start()
        if launch.coordinator and jax.process_count() != launch.processes:
            raise ProcessError(
                f"expected {launch.processes} processes, got {jax.process_count()} from "
                "JAX: this platform divides its devices by itself, use --multihost"
            )
        try:
            yield
        except Preempted as error:  # all processes stop at the same step
            stopped = error
        barrier("end")
    except BaseException as error:
        watch.stop()
        first = watch.fail(error)
        atexit.register(_leave, first)
        if first:
            raise first from error
        raise
    watch.join()
    jax.distributed.shutdown()
    needs_another(False)
    if stopped:
        raise stopped


def _connect(launch: Launch) -> None:
    # On a CPU JAX needs a library for collectives between processes; others ignore it.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {
        "initialization_timeout": launch.start_seconds,
        # `Watch` notices first, and can say more than JAX's abort.
        "heartbeat_timeout_seconds": 2 * launch.silence_seconds + 20,
    }
    if not launch.coordinator:
        try:
            jax.distributed.initialize(**options)
        except ValueError as error:
            raise ProcessError(
                f"--multihost finds no cluster that JAX knows here ({error}): give "
                "--coordinator HOST:PORT, --processes N and --process I instead"
            ) from error
        return
    host, _, port = launch.coordinator.rpartition(":")
    count, index = launch.processes, launch.process
    roll_call(host.strip("[]"), int(port), count, index, launch.start_seconds)
    jax.distributed.initialize(
        launch.coordinator,
        count,
        index,
        cluster_detection_method="deactivate",
        **options,
    )


class Watch:
    """A thread that ends this process when another failed or fell silent."""

    def __init__(self, silence_seconds: float):
        self._silence = silence_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._client, self._me, self._count = connection()
        # Process -> its last sign of life, and when it came.
        self._seen = {i: ("", time.monotonic()) for i in range(self._count)}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def join(self) -> None:
        """Stops, and returns when nothing is asked of the coordinator any more."""
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        beat = 0
        while not self._stopped.wait(POLL_SECONDS):
            beat += 1
            try:
                self._client.key_value_set(f"{BEAT}/{self._me}", str(beat), True)
                failure = self._failure()
                reason = self._echo(failure) if failure else self._silent()
            except jax.errors.JaxRuntimeError as error:
                reason = LostProcessError(
                    f"the coordinator in process 0 cannot be reached: {error}"
                )
            if reason:
                # The process may be ending by itself, with an error of its own.
                if not self._stopped.wait(GRACE_SECONDS):
                    log.error(str(reason))
                    self._set_left()
                    _leave(reason)
                return

    def _failure(self) -> dict | None:
        """The failure that another process recorded."""
        failures = self._client.key_value_dir_get(f"{FAILED}/")
        return json.loads(failures[0][1]) if failures else None

    def _echo(self, failure: dict) -> ProcessError:
        kind = LostProcessError if failure["lost"] else ProcessError
        return kind(
            f"process {failure['process']} of {self._count} failed, so process "
            f"{self._me} ends too: {failure['error']}"
        )

    def _silent(self) -> LostProcessError | None:
        now = time.monotonic()
        for key, beat in self._client.key_value_dir_get(f"{BEAT}/"):
            process = int(key.rsplit("/", 1)[1])
            if self._seen[process][0] != beat:
                self._seen[process] = (beat, now)
        for process, (_, since) in self._seen.items():
            if now - since > self._silence:
                return LostProcessError(
                    f"process {process} of {self._count} has sent no sign of life for "
                    f"{self._silence} s (PATHJAX_SILENCE_SECONDS), so process "
                    f"{self._me} ends: see its log, and run the same command again on "
                    "all: it resumes"
                )
        return None

    def fail(self, error: BaseException) -> ProcessError | None:
        """Records a failure here for the others.

        Returns:
          What to raise in place of `error`, if it is a consequence of another
          process's failure.
        """
        text, first = f"{type(error).__name__}: {error}", None
        if lost := is_lost_connection(error):
            first = LostProcessError(
                f"process {self._me} of {self._count} lost its connection to another, "
                "which has probably died: see the others' logs, and run the same "
                f"command again on all: it resumes ({error})"
            )
        try:
            failure = self._failure()
            # A broken connection is most often the consequence of a failure elsewhere,
            # which is recorded a moment later.
            until = time.monotonic() + 2 * POLL_SECONDS
            while lost and not failure and time.monotonic() < until:
                time.sleep(0.1)
                failure = self._failure()
            if failure and failure["error"] != text:
                first = self._echo(failure)
            elif not failure:
                record = {
                    "process": self._me,
                    "error": str(first or text),
                    "lost": lost,
                }
                self._client.key_value_set(f"{FAILED}/{self._me}", json.dumps(record))
            self._set_left()
            # The coordinator's process stays until the others know, or long enough.
            until = time.monotonic() + POLL_SECONDS + 2 * GRACE_SECONDS
            while self._me == 0 and time.monotonic() < until:
                if len(self._client.key_value_dir_get(f"{LEFT}/")) == self._count:
                    break
                time.sleep(0.1)
        except jax.errors.JaxRuntimeError:
            first = first or LostProcessError(f"{text} (and process 0 is gone)")
        return first

    def _set_left(self) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._client.key_value_set(f"{LEFT}/{self._me}", "1")


def _leave(reason: ProcessError | None) -> None:
    """Ends the process now: JAX's own exit waits for processes that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(reason, "exit_status", 1))
