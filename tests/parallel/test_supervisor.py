"""The parent of a process of several: statuses, signals, and no child without a parent."""

import contextlib
import os
import pty
import signal
import subprocess
import sys

import pytest

from pathjax.parallel.preemption import EXIT_PREEMPTED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="supervises on Linux")

SUPERVISED = """
import fcntl, os, signal, sys, termios, time
if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # this session's terminal
from pathjax.parallel.supervisor import needs_another, supervise
if (status := supervise()) is not None:
    sys.exit(status if "jax" not in sys.modules else "JAX was imported")
"""
COUNTS = """
found = []
def note(number, frame):
    found.append(signal.Signals(number).name)
    print(found[-1], flush=True)
    if number == signal.SIGTERM:
        print(found, flush=True)
        os._exit(5)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
print(os.getpid(), flush=True)
while True:
    time.sleep(60)
"""


@contextlib.contextmanager
def supervised(program, **options):
    """A supervisor of this child; both are killed at the end if they are left."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("needs_another(True); os.abort()", EXIT_PREEMPTED),
        ("os.abort()", 134),  # before there is another process
        ("needs_another(True); needs_another(False); os.abort()", 134),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("sys.exit(3)", 3),
        ("sys.exit(134)", 134),
        ("print(sys.stdin.read())", 0),
    ],
)
def test_how_the_child_ends_is_the_status(program, status):
    with supervised(program, stdin=subprocess.PIPE) as process:
        out, err = process.communicate("read by the child", timeout=60)
    assert process.returncode == status
    assert out.strip() == ("" if status else "read by the child")
    expected = "as JAX does when process 0 of a run is gone: run the same command again"
    assert (expected in err) == (status == EXIT_PREEMPTED) and "Traceback" not in err


def test_signals_reach_the_child():
    with supervised(COUNTS, stdin=subprocess.DEVNULL) as process:
        assert int(process.stdout.readline()) != process.pid
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 5 and out == "SIGTERM\n['SIGINT', 'SIGTERM']\n"


def test_a_terminal_interrupts_the_child_once():
    """Ctrl-C is for all of a terminal's processes, and a second one would end a run."""
    keyboard, terminal = pty.openpty()
    with supervised(COUNTS, stdin=terminal) as process:
        process.stdout.readline()
        os.write(keyboard, b"\x03")
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(signal.SIGTERM)  # comes after all that is passed on
        out, _ = process.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)
    assert out == "SIGTERM\n['SIGINT', 'SIGTERM']\n"


def test_the_child_ends_with_a_parent_that_is_killed():
    with supervised(COUNTS, stdin=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.kill()
        out, _ = process.communicate(
            timeout=60
        )  # until the child's end of it is closed
    assert process.returncode == -signal.SIGKILL and out == ""
