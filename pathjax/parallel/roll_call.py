"""The processes of a run meet before JAX starts, so that problems are named.

JAX aborts with a stack trace when a process cannot reach its coordinator or a peer does
not come, and does not notice processes started with different counts. So process 0
listens on the coordinator's port first, which is then JAX's:

    process 0: listen  <- {"process": 1, "processes": 2}    -> {"error": ""}

Only for processes started with an address; clusters that JAX detects meet by JAX alone.
"""

import contextlib
import json
import socket
import time
from typing import Any

from pathjax.parallel.collective import ProcessError

LINE_SECONDS = 5.0  # to send one line


def roll_call(host: str, port: int, processes: int, process: int, seconds: float):
    """Returns on every process once all are there.

    Args:
      host, port: Of process 0.
      processes, process: Their number, and the index of this one.
      seconds: How long to wait for the others.

    Raises:
      ProcessError: Process 0 cannot be reached or cannot listen; some do not come in
        time; two have the same index; one was started with another count.
    """
    deadline = time.monotonic() + seconds
    if process:
        error = _answer(host, port, processes, process, deadline, seconds)
    else:
        error = _call(port, processes, deadline, seconds)
    if error:
        raise ProcessError(error)


def _call(port: int, processes: int, deadline: float, seconds: float) -> str:
    dual: dict[str, Any] = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    try:
        listener = socket.create_server(
            ("", port), **(dual if socket.has_dualstack_ipv6() else {})
        )
    except OSError as error:
        return (
            f"process 0 cannot listen on port {port}: {error.strerror}. Choose another "
            "port in --coordinator, the same for all processes"
        )
    error, present = "", {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(listener)
        while not error and len(present) < processes - 1:
            listener.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                missing = sorted(set(range(1, processes)) - set(present))
                error = (
                    f"expected {processes} processes within {seconds:g} s, but {missing} "
                    "did not come: see whether they were started, and whether "
                    "--coordinator can be reached from there"
                )
                break
            stack.enter_context(connection)
            line = _receive(connection) or {}
            index, count = line.get("process"), line.get("processes")
            if type(index) is not int or type(count) is not int:
                continue  # not a process of this run
            if count != processes:
                error = (
                    f"process {index} was started with --processes {count}, process 0 "
                    f"with --processes {processes}: give all the same number"
                )
            elif index in present or not 0 < index < processes:
                error = (
                    f"two processes were started with --process {index}: number them "
                    f"from 0 to {processes - 1}"
                )
            if present.setdefault(index, connection) is not connection:
                _send(connection, {"error": error})
        for connection in present.values():
            _send(connection, {"error": error})
    return error


def _answer(
    host: str, port: int, processes: int, process: int, deadline: float, seconds: float
) -> str:
    where, reason, connection = f"{host}:{port}", "", None
    while connection is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return (
                f"process {process} found no process 0 at {where} within "
                f"{seconds:g} s ({reason}): see whether it started, and whether the "
                "address and port are right and open"
            )
        try:
            connection = socket.create_connection((host, port), timeout=left)
        except OSError as error:
            reason = error.strerror or str(error)
            time.sleep(0.1)
    with connection:
        _send(connection, {"process": process, "processes": processes})
        # Process 0 answers when it has waited as long as this one.
        line = _receive(connection, deadline - time.monotonic() + LINE_SECONDS)
    if line is None:
        return f"process 0 at {where} ended before all {processes} processes were there"
    return line["error"]


def _send(connection: socket.socket, line: dict) -> None:
    with contextlib.suppress(OSError):  # it is gone, which is noticed elsewhere
        connection.sendall(json.dumps(line).encode() + b"\n")


def _receive(connection: socket.socket, seconds: float = LINE_SECONDS) -> dict | None:
    """The line that the other end sends; None if it sends none or another."""
    connection.settimeout(seconds)
    try:
        with connection.makefile("rb") as file:
            line = json.loads(file.readline(1 << 16))
    except (OSError, ValueError):
        return None
    return line if isinstance(line, dict) else None
