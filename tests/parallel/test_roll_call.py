"""Processes meet over real sockets; every way not to has a name. No JAX is started."""

import json
import socket
import threading

import pytest
from launched import free_port

from pathjax.parallel.collective import ProcessError
from pathjax.parallel.roll_call import roll_call


def outcomes(members, seconds=20.0):
    """What becomes of processes given as (processes, process), each in a thread."""
    port, found = free_port(), {}

    def join(place, count, number):
        try:
            roll_call("localhost", port, count, number, seconds)
            found[place] = ""
        except ProcessError as error:
            found[place] = str(error)

    threads = [
        threading.Thread(target=join, args=(place, *member))
        for place, member in enumerate(members)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found[place] for place in range(len(members))]


def test_all_are_there():
    assert outcomes([(3, 2), (3, 0), (3, 1)]) == ["", "", ""]
    assert outcomes([(1, 0)]) == [""]


def test_who_is_missing_is_named_on_all():
    for said in outcomes([(4, 0), (4, 2)], seconds=0.5):
        assert "expected 4 processes within 0.5 s, but [1, 3] did not come" in said
        assert "see whether they were started" in said


def test_another_number_of_processes_is_named():
    for said in outcomes([(2, 0), (3, 1)]):
        assert "process 1 was started with --processes 3, process 0 with" in said


def test_a_number_that_is_taken_or_too_high():
    for said in outcomes([(3, 0), (3, 1), (3, 1)]):
        assert "two processes were started with --process 1: number them from 0" in said


def test_no_process_0():
    (said,) = outcomes([(2, 1)], seconds=0.3)
    assert "process 1 found no process 0 at localhost:" in said
    assert "Connection refused" in said


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ProcessError, match=f"cannot listen on port {port}"):
            roll_call("localhost", port, 2, 0, 1.0)


def test_other_connections_are_ignored():
    """A line that is not ours, and one that has no number, do not end the call."""
    port, found = free_port(), []
    first = threading.Thread(
        target=lambda: found.append(roll_call("localhost", port, 2, 0, 20.0))
    )
    first.start()
    for line in (b"GET / HTTP/1.1\r\n", json.dumps({"process": "1"}).encode() + b"\n"):
        while True:
            try:
                stranger = socket.create_connection(("localhost", port), 5)
                break
            except ConnectionRefusedError:
                pass
        with stranger:
            stranger.sendall(line)
    roll_call("localhost", port, 2, 1, 20.0)
    first.join(60)
    assert found == [None]
