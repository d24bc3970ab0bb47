"""Probe runs over several devices are the runs of one."""

import jax
import numpy as np
import pytest

from pathjax.evals.probes.base import over_devices
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task


def only(monkeypatch, count):
    monkeypatch.setattr(jax, "local_device_count", lambda: count)


def test_runs_that_do_not_divide_are_filled_up(monkeypatch):
    @jax.jit
    def run(shift, seeds):
        return seeds * 2 + shift, seeds[:, None] * shift[None]

    seeds = np.arange(5, dtype=np.float32)
    wanted = run(np.float32([1]), seeds)
    for devices in (1, 3, 8):
        only(monkeypatch, devices)
        found = over_devices(run, [np.float32([1])], [seeds])
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "protocol",
    [
        "eva-linear/1",
        pytest.param("linear/1", marks=pytest.mark.slow),
        pytest.param("eva-abmil/1", marks=pytest.mark.slow),
    ],
)
def test_a_task_is_the_same_on_one_device_and_on_four(
    study, features, monkeypatch, protocol
):
    task = Task("status", "made", "status", "classification", "cohort", "fit", "test",
                "select", protocol=protocol)  # fmt: skip
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    outcomes = []
    for devices in (1, 4):
        only(monkeypatch, devices)
        options = {} if protocol == "eva-abmil/1" else {"steps": 40}
        outcomes.append(run_task(task, study, scaled, seeds=5, **options))
    one, four = outcomes
    np.testing.assert_array_equal(one.prediction, four.prediction)
    assert one.per_fold == four.per_fold
