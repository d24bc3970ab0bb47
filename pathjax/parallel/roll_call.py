"""The processes of a run meet before JAX starts, so that what is wrong has a name.

JAX aborts a process that cannot reach its coordinator, or whose peers do not come, with
a stack trace, and does not notice processes started with different counts. So process 0
listens on the coordinator's port first, each other one says who it is, and all are told
the outcome. The port is then JAX's.

    process 0: listen  <- {"process": 1, "processes": 2}    -> {"error": ""}

Only for processes started with an address; clusters that JAX detects meet by JAX alone.
"""

import contextlib
import json
import socket
import time

from pathjax.parallel.collective import ProcessError

# A line of a few numbers; who does not send it is not one of ours.
LINE_SECONDS = 5.0
RETRY_SECONDS = 0.1


def roll_call(host: str, port: int, processes: int, process: int, seconds: float):
    """Returns on every process once all are there.

    Args:
      host, port: of process 0.
      processes: how many there are.
      process: which this is.
      seconds: how long to wait for the others.

    Raises:
      ProcessError: process 0 cannot be reached or cannot listen; some do not come in
        time; two have the same number; one was started with another count.
    """
    deadline = time.monotonic() + seconds
    if process:
        _answer(host, port, processes, process, deadline, seconds)
    else:
        _call(port, processes, deadline, seconds)


def _call(port: int, processes: int, deadline: float, seconds: float) -> None:
    try:
        if socket.has_dualstack_ipv6():
            kind = {"family": socket.AF_INET6, "dualstack_ipv6": True}
        else:
            kind = {}
        listener = socket.create_server(("", port), **kind)
    except OSError as error:
        raise ProcessError(
            f"process 0 cannot listen on port {port}: {error.strerror}. Choose another "
            "port in --coordinator, the same for all processes"
        ) from error
    present: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(listener)
        wrong = ""
        while not wrong and len(present) < processes - 1:
            listener.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                missing = sorted(set(range(1, processes)) - set(present))
                wrong = (
                    f"{_named(missing)} of {processes} did not come within "
                    f"{seconds:g} s: see whether {_they(missing)} started, and "
                    "whether --coordinator can be reached from there"
                )
                break
            stack.enter_context(connection)
            told = _line(connection)
            one, count = (told or {}).get("process"), (told or {}).get("processes")
            if type(one) is not int or type(count) is not int:
                continue  # a stranger
            if count != processes:
                wrong = (
                    f"process {one} was started with --processes {count}, process 0 "
                    f"with --processes {processes}: give all the same number"
                )
            elif one in present or not 0 < one < processes:
                wrong = (
                    f"two processes were started with --process {one}: number them "
                    f"from 0 to {processes - 1}"
                )
            present.setdefault(one, connection)
            if present[one] is not connection:
                _tell(connection, wrong)
        for connection in present.values():
            _tell(connection, wrong)
    if wrong:
        raise ProcessError(wrong)


def _answer(
    host: str, port: int, processes: int, process: int, deadline: float, seconds: float
) -> None:
    where = f"{host}:{port}"
    connection = None
    why = ""
    while connection is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ProcessError(
                f"process {process} found no process 0 at {where} within "
                f"{seconds:g} s ({why}): see whether it started, and whether the "
                "address and port are right and open"
            )
        try:
            connection = socket.create_connection((host, port), timeout=left)
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(RETRY_SECONDS)
    with connection:
        _send(connection, {"process": process, "processes": processes})
        # Process 0 answers when it has waited as long as this one.
        told = _line(connection, deadline - time.monotonic() + LINE_SECONDS)
    if told is None:
        raise ProcessError(
            f"process 0 at {where} ended before all {processes} processes were there"
        )
    if told["error"]:
        raise ProcessError(told["error"])


def _send(connection: socket.socket, told: dict) -> None:
    connection.sendall(json.dumps(told).encode() + b"\n")


def _tell(connection: socket.socket, wrong: str) -> None:
    with contextlib.suppress(OSError):  # it is gone, and will be missed elsewhere
        _send(connection, {"error": wrong})


def _line(connection: socket.socket, seconds: float = LINE_SECONDS) -> dict | None:
    """The line that the other end sends; None when it sends none or another."""
    connection.settimeout(seconds)
    try:
        with connection.makefile("rb") as file:
            told = json.loads(file.readline(1 << 16))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _named(numbers: list[int]) -> str:
    one = len(numbers) == 1
    return f"process {numbers[0]}" if one else f"processes {numbers}"


def _they(numbers: list[int]) -> str:
    return "it was" if len(numbers) == 1 else "they were"
