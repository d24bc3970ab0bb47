"""Starting the processes of one run, and ending them together.

    launch_of(flags, environment) -> Launch | None -> with session(launch): train(...)

A failure of one process ends all, each with an error that names the first. Within the
session a thread looks every second for a failure that another process has written down,
and for processes that are not heard of any more; what a process waits for meanwhile, a
collective or a barrier, need not return. Nothing here knows what is run.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping

import jax

from pathjax.parallel.collective import ProcessError, barrier, connection
from pathjax.parallel.preemption import Preempted
from pathjax.parallel.roll_call import roll_call

FAILED = "pathjax/failed"
LEFT = "pathjax/left"
BEAT = "pathjax/beat"
POLL_SECONDS = 1.0
# What a process has to end by itself after another failed, so that it may say why.
GRACE_SECONDS = 3.0
EXIT_STATUS = 1


@dataclasses.dataclass(frozen=True)
class Launch:
    """How the processes of a run find each other.

    Attributes:
      coordinator: "HOST:PORT" of process 0; "" asks the cluster (Cloud TPU, GKE,
        Slurm, Open MPI, as JAX detects them), which then knows the numbers too.
      processes, process: how many there are, and which this is.
      start_seconds: how long to wait for all to be there.
      silence_seconds: after so long without a sign of life a process counts as lost.
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
    """What the flags, or else the environment, say; None for a run of one process.

    Environment: PATHJAX_COORDINATOR, PATHJAX_PROCESSES, PATHJAX_PROCESS in place of the
    flags; PATHJAX_START_SECONDS and PATHJAX_SILENCE_SECONDS.

    Raises:
      ProcessError: something is missing or no number, or both ways are asked for.
    """
    found, given = [], {}
    for name, flag in (
        ("coordinator", coordinator),
        ("processes", processes),
        ("process", process),
    ):
        value = environ.get(f"PATHJAX_{name.upper()}") if flag is None else flag
        if value is not None:
            given[name] = value
    patience = {
        name: environ[f"PATHJAX_{name.upper()}"]
        for name in ("start_seconds", "silence_seconds")
        if f"PATHJAX_{name.upper()}" in environ
    }
    if not given and not multihost:
        return None
    if given and multihost:
        found.append(
            f"--multihost asks the cluster, but {', '.join(given)} "
            f"{'is' if len(given) == 1 else 'are'} given: leave out one or the other"
        )
    missing = [n for n in ("coordinator", "processes", "process") if n not in given]
    if given and missing:
        found.append(
            f"{', '.join(missing)} missing: give --coordinator HOST:PORT, --processes N "
            "and --process I (or PATHJAX_COORDINATOR, PATHJAX_PROCESSES and "
            "PATHJAX_PROCESS)"
        )
    numbers = {}
    for name, value in (given | patience).items():
        if name == "coordinator":
            continue
        try:
            numbers[name] = int(value)
        except ValueError:
            found.append(f"{name} is {value!r}: wanted a whole number")
    address = str(given.get("coordinator", ""))
    host, colon, port = address.rpartition(":")
    if address and not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        found.append(f"coordinator is {address!r}: wanted HOST:PORT")
    count, which = numbers.get("processes", 1), numbers.get("process", 0)
    if count < 1 or not 0 <= which < count:
        found.append(
            f"process is {which} of {count} processes: wanted 0 to processes - 1"
        )
    found += [
        f"{name} is {numbers[name]}: wanted at least {least}"
        for name, least in (("start_seconds", 1), ("silence_seconds", 5))
        if numbers.get(name, least) < least
    ]
    if found:
        raise ProcessError(
            "the processes cannot be started:\n  - " + "\n  - ".join(found)
        )
    return Launch(address, **numbers)


@contextlib.contextmanager
def session(launch: Launch | None) -> Iterator[None]:
    """Connects this process with the others; ends them together.

    To be entered before JAX has looked for devices. After a failure the interpreter
    leaves at once when it ends, without waiting for processes that are gone.

    Raises:
      ProcessError: the processes do not find each other, another one failed, or one
        was lost.
    """
    if launch is None:
        yield
        return
    _connect(launch)
    watch = Watch(launch.silence_seconds)
    stopped = None
    try:
        # Before JAX looks for devices, which waits for the other processes' for ever.
        watch.start()
        _require_same_count(launch)
        try:
            yield
        except Preempted as error:  # all processes stop at the same step
            stopped = error
        barrier("end")
    except BaseException as error:
        watch.stop()
        first = watch.fail(error)
        atexit.register(_leave)
        if first:
            raise ProcessError(first) from error
        raise
    watch.join()
    jax.distributed.shutdown()
    if stopped:
        raise stopped


def _connect(launch: Launch) -> None:
    # On a CPU JAX needs a library for collectives between processes; others ignore it.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {
        "initialization_timeout": launch.start_seconds,
        # The thread below notices first, and can say more than JAX's abort.
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
    roll_call(
        host.strip("[]"),
        int(port),
        launch.processes,
        launch.process,
        launch.start_seconds,
    )
    jax.distributed.initialize(
        launch.coordinator,
        launch.processes,
        launch.process,
        cluster_detection_method="deactivate",
        **options,
    )


def _require_same_count(launch: Launch) -> None:
    if launch.coordinator and jax.process_count() != launch.processes:
        raise ProcessError(
            f"JAX found {jax.process_count()} processes, {launch.processes} were "
            "started: this platform divides its devices by itself, use --multihost"
        )


class Watch:
    """A thread that ends this process when another failed or fell silent."""

    def __init__(self, silence_seconds: float):
        self._silence = silence_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._client, self._me, self._count = connection()
        # Process -> its last sign of life, and when it came.
        self._seen = {one: ("", time.monotonic()) for one in range(self._count)}

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
                wrong = self._told(failure) if failure else self._silent()
            except jax.errors.JaxRuntimeError as error:
                wrong = f"the coordinator in process 0 cannot be reached: {error}"
            if wrong:
                # The process may be ending by itself, with an error of its own.
                if not self._stopped.wait(GRACE_SECONDS):
                    print(f"pathjax: {wrong}", file=sys.stderr, flush=True)
                    self._say_left()
                    _leave()
                return

    def _failure(self) -> dict | None:
        """What another process wrote down when it failed."""
        found = dict(self._client.key_value_dir_get(f"{FAILED}/"))
        return json.loads(next(iter(found.values()))) if found else None

    def _told(self, failure: dict) -> str:
        return (
            f"process {failure['process']} of {self._count} failed, so process "
            f"{self._me} ends too: {failure['error']}"
        )

    def _silent(self) -> str:
        now = time.monotonic()
        for key, beat in self._client.key_value_dir_get(f"{BEAT}/"):
            one = int(key.rsplit("/", 1)[1])
            if self._seen[one][0] != beat:
                self._seen[one] = (beat, now)
        for one, (_, since) in self._seen.items():
            if now - since > self._silence:
                return (
                    f"process {one} of {self._count} has not been heard of for "
                    f"{self._silence} s (PATHJAX_SILENCE_SECONDS), so process "
                    f"{self._me} ends: see its log, and run the same command again on "
                    "all: it resumes"
                )
        return ""

    def fail(self, error: BaseException) -> str:
        """Tells the others of a failure here.

        Returns:
          What to raise in place of `error`: another process's failure, of which this
          one is the echo, or "".
        """
        text = f"{type(error).__name__}: {error}"
        lost = isinstance(error, jax.errors.JaxRuntimeError) and any(
            word in str(error).lower() for word in ("gloo", "connection", "coordinat")
        )
        first = ""
        if lost:
            first = (
                f"process {self._me} of {self._count} lost its connection to another, "
                "which has probably died: see the others' logs, and run the same "
                f"command again on all: it resumes ({error})"
            )
        try:
            failure = self._failure()
            # A broken connection is most often the echo of a failure elsewhere, which
            # is written down a moment later.
            until = time.monotonic() + 2 * POLL_SECONDS
            while lost and not failure and time.monotonic() < until:
                time.sleep(0.1)
                failure = self._failure()
            if failure and failure["error"] != text:
                first = self._told(failure)
            elif not failure:
                told = {"process": self._me, "error": first or text}
                self._client.key_value_set(f"{FAILED}/{self._me}", json.dumps(told))
            self._say_left()
            if self._me == 0:
                self._see_off()
        except jax.errors.JaxRuntimeError:
            first = first or f"{text} (and process 0 is gone)"
        return first

    def _say_left(self) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._client.key_value_set(f"{LEFT}/{self._me}", "1")

    def _see_off(self) -> None:
        """The coordinator's process stays until the others know, or long enough."""
        until = time.monotonic() + POLL_SECONDS + 2 * GRACE_SECONDS
        while time.monotonic() < until:
            if len(self._client.key_value_dir_get(f"{LEFT}/")) == self._count:
                return
            time.sleep(0.1)


def _leave() -> None:
    """Ends the process now: JAX's own way out waits for those that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_STATUS)
