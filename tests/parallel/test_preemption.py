"""Signals are noted, answered once per question, and given back afterwards."""

import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

import jax
import pytest
from jax.experimental import multihost_utils
from tiny_study import config_for

from pathjax.models.model_file import load_model
from pathjax.parallel import preemption
from pathjax.parallel.preemption import EXIT_PREEMPTED, Preempted, Preemption
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_handler_given_back(number):
    before = signal.getsignal(number)
    with Preemption() as preemption:
        assert not preemption.reached()
        os.kill(os.getpid(), number)
        assert preemption.reached() and preemption.reached()
    assert signal.getsignal(number) is before


def test_a_second_sigterm_is_harmless_and_a_second_sigint_is_not():
    with Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.reached()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("waits", [True, False])
def test_workers_that_an_interrupt_ended(waits):
    """Theirs is no fault of the build if Ctrl-C waits here for the end of an import."""
    signal.setitimer(signal.ITIMER_REAL, 60 if waits else 0)
    with (
        pytest.raises(KeyboardInterrupt if waits else BrokenProcessPool),
        preemption.process_pool(1),
    ):
        raise BrokenProcessPool("ended abruptly")
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_in_another_thread_nothing_is_watched():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def watch():
        with Preemption() as preemption:
            seen.append((preemption.reached(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_several_processes_ask_the_coordination_service(monkeypatch):
    asked = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost_utils,
        "reached_preemption_sync_point",
        lambda number: asked.append(number) or number == 3,
    )
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        # JAX's own handler stays.
        assert signal.getsignal(signal.SIGTERM) is before
        assert [preemption.reached() for _ in range(5)] == [False, False] + [True] * 3
    assert asked == [1, 2, 3]


def at(step, number=signal.SIGTERM):
    """Sends a signal when so many steps are done."""

    def progress(done, note=""):
        if done == step:
            os.kill(os.getpid(), number)

    return progress


VALIDATED = {"val_fold": "val", "eval.every": 2, "checkpoint.every": 5}


@pytest.fixture(scope="module")
def whole(tiny_study, tmp_path_factory):
    """An undisturbed run."""
    workdir = tmp_path_factory.mktemp("whole")
    train(config_for(tiny_study, **VALIDATED), workdir)
    return workdir


def lines(workdir):
    """Metrics, the times aside."""
    return [
        {k: v for k, v in row.items() if not k.startswith("time")}
        for row in read_metrics(workdir / "metrics.jsonl")
    ]


@pytest.mark.parametrize(
    "step",
    [3, pytest.param(5, marks=pytest.mark.slow)],
    ids=["before a validation", "before the last validation"],
)
def test_a_stopped_run_is_saved_and_goes_on_bit_for_bit(
    tiny_study, whole, tmp_path, step
):
    config = config_for(tiny_study, **VALIDATED)
    with pytest.raises(Preempted, match=f"checkpoint {step + 1} is saved") as stopped:
        train(config, tmp_path, at(step))
    assert stopped.value.step == step + 1
    with Checkpoints(tmp_path / "checkpoints", 2) as checkpoints:
        assert checkpoints.latest() == step + 1
        # A validation was due there, and is still to be done.
        assert checkpoints.meta(step + 1)["validated"] is False
    train(config, tmp_path)
    one, two = load_model(whole), load_model(tmp_path)
    same = jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), one.params, two.params)
    assert all(jax.tree.leaves(same))
    assert lines(tmp_path) == lines(whole)
    if step == 5:  # the validation is done again as often as one likes
        train(config, tmp_path)
        assert lines(tmp_path) == lines(whole)


def test_stopped_before_the_first_step_there_is_nothing_to_save(tiny_study, tmp_path):
    def before_it(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    original = Preemption.reached
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "reached", before_it)
        with pytest.raises(Preempted, match="nothing was done yet"):
            train(config_for(tiny_study), tmp_path)
    assert train(config_for(tiny_study), tmp_path).step == 6


def test_the_exit_status_is_the_one_that_is_documented():
    assert EXIT_PREEMPTED == 75
