"""Times add up; what is shown and summed is what was written."""

import pytest

from pathjax.train.telemetry import timing
from pathjax.train.telemetry.metric_writer import MetricWriter
from pathjax.train.telemetry.timing import (
    PHASES,
    StepTimer,
    main,
    memory_gib,
    note,
    totals,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(timing, "time", made)
    return made


def spend(timer, clock, name, seconds):
    with timer.phase(name):
        clock.now += seconds


def test_phases_add_up_to_the_wall_clock(clock):
    timer = StepTimer(10, images=8, flops=3e9, peak=1e10)
    for name, seconds in (("data", 1.0), ("step", 6.0), ("save", 2.0)):
        spend(timer, clock, name, seconds)
    clock.now += 1.0  # of no phase
    values = timer.flush(14)
    memory = values.pop("time/memory_gib")
    assert 0.01 < memory < 1024
    assert values == pytest.approx(
        {
            "time/steps": 4,
            "time/total": 2.5,
            "time/data": 0.25,
            "time/compile": 0.0,
            "time/step": 1.5,
            "time/save": 0.5,
            "time/validation": 0.0,
            "time/images_per_s": 4 * 8 / 8.0,
            "time/mfu": 3e9 * 4 / 8.0 / 1e10,
        }
    )
    spend(timer, clock, "step", 1.0)
    assert timer.flush(15)["time/step"] == 1.0  # begun anew


def test_no_rate_while_compiling_and_no_mfu_without_a_known_chip(clock):
    timer = StepTimer(0, images=8, flops=1e9, peak=None)
    spend(timer, clock, "compile", 5.0)
    assert "time/images_per_s" not in timer.flush(1)
    spend(timer, clock, "step", 1.0)
    values = timer.flush(2)
    assert "time/images_per_s" in values and "time/mfu" not in values


def test_activity_is_what_goes_on(clock):
    timer = StepTimer(3, images=1)
    assert (timer.activity.step, timer.activity.phase) == (3, "other")
    with timer.phase("data"):
        clock.now += 1
        assert (timer.activity.phase, timer.activity.since) == ("data", 100.0)
    timer.moved(4)
    assert (timer.activity.step, timer.activity.phase) == (4, "other")
    assert timer.activity.moved == 101.0


def test_a_phase_ends_with_an_error_too(clock):
    timer = StepTimer(0, images=1)
    with pytest.raises(OSError), timer.phase("save"):
        clock.now += 2
        raise OSError
    assert timer.flush(1)["time/save"] == 2.0


def test_the_note_is_for_a_person(clock):
    timer = StepTimer(0, images=10, flops=1e9, peak=1e10)
    spend(timer, clock, "data", 1.0)
    spend(timer, clock, "step", 3.0)
    assert note(timer.flush(4)) == "10 images/s, MFU 10.0%, data 25%"
    spend(timer, clock, "validation", 1.0)
    spend(timer, clock, "step", 1.0)
    assert note(timer.flush(5)) == "10 images/s, MFU 10.0%, data 0%, validation 50%"


def test_totals_weigh_by_steps_and_the_command_prints_them(clock, tmp_path, capsys):
    timer = StepTimer(0, images=1)
    with MetricWriter(tmp_path, 0) as writer:
        for step, phases in (
            (10, {"compile": 7.0, "step": 9.0, "data": 1.0}),
            (15, {"step": 8.0, "data": 2.0, "save": 1.0, "validation": 4.0}),
        ):
            for name, seconds in phases.items():
                spend(timer, clock, name, seconds)
            writer.write(step, timer.flush(step))
            writer.write(step, {"val/loss": 1.0})
    found = totals(timing.read_metrics(tmp_path / "metrics.jsonl"))
    assert found == pytest.approx(
        {
            "total": 32.0,
            "data": 3.0,
            "compile": 7.0,
            "step": 17.0,
            "save": 1.0,
            "validation": 4.0,
            "steps": 15,
            "training": 20.0,
            "data_wait": 0.15,
            "save_overhead": 0.05,
        }
    )
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "15 steps, 1.333 s each" in printed
    assert "data wait is 15.00% of training time" in printed
    assert "saving adds 5.00% to it" in printed
    assert all(name in printed for name in PHASES)


def test_metrics_without_times_are_refused():
    with pytest.raises(ValueError, match="no line of metrics.jsonl has times"):
        totals([{"step": 1, "val/loss": 2.0}])


def test_the_command_says_what_it_lacks(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "val/loss": 2.0}\n')
    assert main([str(tmp_path)]) == 1
    assert "log.every is above optim.steps" in capsys.readouterr().err


def test_memory_of_a_device_that_tells(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    devices = [Device({"peak_bytes_in_use": 3 << 30}), Device(None)]
    monkeypatch.setattr(timing.jax, "local_devices", lambda: devices)
    assert memory_gib() == 3.0
