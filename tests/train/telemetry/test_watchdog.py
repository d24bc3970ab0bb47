"""Who is late, from heartbeats; and one that really stands still."""

import dataclasses
import time

import pytest

from pathjax.train.telemetry.timing import StepTimer
from pathjax.train.telemetry.watchdog import (
    Heartbeat,
    Watchdog,
    read_heartbeats,
    verdict,
)

FIRST = Heartbeat(0, "host0", 100, 1, 12, "step", 70.0)


def beats(*changes):
    """Heartbeats of processes 0, 1, ..., that differ from FIRST so."""
    return {
        i: dataclasses.replace(FIRST, process=i, host=f"host{i}", **change)
        for i, change in enumerate(changes)
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [{}, {"step": 11, "phase": "data"}],
            "process 1 (host1, pid 100) after step 11",
        ),
        (
            [{}, {"phase": "data"}],
            "process 1 (host1, pid 100) after step 12, waiting for",
        ),
        ([{}, {"phase": "save", "seconds": 650.2}], "saving for 650 s"),
        ([{}, {"phase": "validation"}, {}], "process 1 (host1, pid 100)"),
        ([{}, {}], "no process is behind the others: process 0"),
        ([{"phase": "data"}], "process 0 (host0, pid 100) after step 12, waiting"),
    ],
)
def test_the_late_one_is_named(changes, expected):
    before = beats(*changes)
    after = {i: dataclasses.replace(one, beat=2) for i, one in before.items()}
    assert expected in verdict(before, after, len(changes))


def test_a_silent_one_is_dead_and_one_without_a_file_never_began():
    before = beats({}, {"phase": "data"}, {})
    after = {i: dataclasses.replace(one, beat=2) for i, one in before.items()}
    after[2] = before[2]
    said = verdict(before, after, 3)
    assert said.startswith("no heartbeat any more: process 2") and "is down" in said
    del after[1]
    assert verdict(before, after, 3) == "process 1 never began"


def test_only_the_first_few_of_many_are_described():
    after = beats(*[{"phase": "data"}] * 9, {})
    said = verdict({}, after, 10)
    assert said.count("waiting for data") == 4 and said.endswith("and 5 more")


def test_a_stalled_process_is_named_once_with_its_stacks(tmp_path, caplog):
    timer = StepTimer(7, images=1)
    with Watchdog(tmp_path, timer, 0.2), timer.phase("data"):
        stacks = tmp_path / "heartbeats" / "process_0.stacks"
        until = time.monotonic() + 60
        while not (said := caplog.text) and time.monotonic() < until:
            time.sleep(0.01)
        assert "nothing was finished for" in said
        assert "Late: process 0" in said and "after step 7, waiting for data" in said
        assert str(stacks) in said and "test_watchdog.py" in stacks.read_text()
        (one,) = read_heartbeats(tmp_path / "heartbeats", 4).values()
        assert (one.process, one.step, one.phase) == (0, 7, "data")
        written = one.beat
        while one.beat < written + 8 and time.monotonic() < until:
            (one,) = read_heartbeats(tmp_path / "heartbeats", 1).values()
        assert one.beat >= written + 8  # it goes on looking
        assert caplog.text == said  # but says it once


def test_off_writes_nothing(tmp_path):
    with Watchdog(tmp_path, StepTimer(0, images=1), 0.0):
        assert list(tmp_path.iterdir()) == []
