"""Two real processes, and what JAX does when the one with its coordinator is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launched import SECONDS, free_port

from pathjax.parallel.preemption import EXIT_PREEMPTED

SCRIPT = Path(__file__).with_name("supervised.py")


@pytest.mark.slow
def test_process_0_killed_is_75_for_the_other():
    address = f"localhost:{free_port()}"
    both = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), address, number],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in "01"
    ]
    try:
        for process in both:
            while (line := process.stdout.readline()) != "met\n":
                assert line, "ended before they had met"
        both[0].kill()
        said = [process.communicate(timeout=SECONDS)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [one.returncode for one in both] == [-signal.SIGKILL, EXIT_PREEMPTED], said
