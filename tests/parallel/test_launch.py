"""How a run of several processes is asked for, and how failures spread."""

import json

import jax
import pytest

from pathjax.parallel import launch as processes
from pathjax.parallel.collective import ProcessError
from pathjax.parallel.launch import Launch, Watch, launch_of, session
from pathjax.parallel.preemption import EXIT_PREEMPTED

GIVEN = {"coordinator": "a.b:12", "processes": 4, "process": 3}


def test_flags_and_environment():
    assert launch_of(environ={}) is None
    assert launch_of(True, environ={}) == Launch()
    assert launch_of(**GIVEN, environ={}) == Launch("a.b:12", 4, 3)
    environ = {
        "PATHJAX_COORDINATOR": "[::1]:99",
        "PATHJAX_PROCESSES": "2",
        "PATHJAX_PROCESS": "1",
        "PATHJAX_START_SECONDS": "7",
        "PATHJAX_SILENCE_SECONDS": "30",
    }
    assert launch_of(environ=environ) == Launch("[::1]:99", 2, 1, 7, 30)
    # A flag goes before a variable, for this process's number most of all.
    assert launch_of(process=0, environ=environ).process == 0


@pytest.mark.parametrize(
    ("values", "environ", "message"),
    [
        ({"coordinator": "a:1"}, {}, "processes, process missing: give --coordinator"),
        (GIVEN | {"process": 4}, {}, "process: expected 0 to 3, got 4"),
        (GIVEN | {"coordinator": "a"}, {}, "coordinator: expected HOST:PORT, got 'a'"),
        (
            GIVEN | {"coordinator": "a:0"},
            {},
            "coordinator: expected HOST:PORT, got 'a:0'",
        ),
        (GIVEN | {"multihost": True}, {}, "--multihost asks the cluster, so"),
        (
            GIVEN,
            {"PATHJAX_START_SECONDS": "soon"},
            "start_seconds: expected a whole number, got 'soon'",
        ),
        (
            GIVEN,
            {"PATHJAX_SILENCE_SECONDS": "1"},
            "silence_seconds: expected at least 5, got 1",
        ),
    ],
)
def test_what_is_wrong_is_said(values, environ, message):
    with pytest.raises(ProcessError) as caught:
        launch_of(**values, environ=environ)
    assert message in str(caught.value)


def test_one_process_needs_no_session():
    with session(None):
        assert jax.process_count() == 1


def test_no_cluster_is_said(monkeypatch):
    def initialize(**options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    message = "--multihost finds no cluster"
    with pytest.raises(ProcessError, match=message), session(Launch()):
        pass


class Store:
    """JAX's key-value store, in memory."""

    def __init__(self):
        self.kept = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self.kept
        self.kept[key] = value

    def key_value_dir_get(self, folder):
        return [(k, v) for k, v in self.kept.items() if k.startswith(folder)]


@pytest.fixture
def watches(monkeypatch):
    """Returns watches of process 0 and 1 over one store."""
    store = Store()
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.01)
    found = []
    for number in range(2):
        here = (store, number, 2)
        monkeypatch.setattr(processes, "connection", lambda here=here: here)
        found.append(Watch(30))
    return store, *found


def test_all_processes_report_the_first_failure(watches):
    store, zero, one = watches
    assert one.fail(ValueError("tile 7 is broken")) is None
    message = (
        "process 1 of 2 failed, so process 0 ends too: ValueError: tile 7 is broken"
    )
    followed = zero.fail(RuntimeError("something that followed"))
    assert (type(followed), str(followed)) == (ProcessError, message)
    # The first is the one that counts.
    (failure,) = [v for k, v in store.kept.items() if k.startswith(processes.FAILED)]
    assert json.loads(failure)["process"] == 1


def test_the_same_error_on_all_stands_as_it_is(watches):
    _, zero, one = watches
    error = FloatingPointError("the loss is nan at step 3")
    assert zero.fail(error) is one.fail(error) is None


def test_a_lost_connection_is_explained(watches):
    _, zero, one = watches
    error = jax.errors.JaxRuntimeError(
        "UNKNOWN: Gloo all-reduce failed: closed by peer"
    )
    lost = zero.fail(error)
    assert "process 0 of 2 lost its connection to another" in str(lost)
    assert lost.exit_status == EXIT_PREEMPTED
    # Another error of the device is no lost connection.
    fresh = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    followed = one.fail(fresh)  # process 0's, which came first
    assert "lost its connection" in str(followed)
    assert followed.exit_status == EXIT_PREEMPTED


def test_silence_is_noticed(watches, monkeypatch):
    store, zero, _ = watches
    store.key_value_set(f"{processes.BEAT}/0", "1")
    store.key_value_set(f"{processes.BEAT}/1", "1")
    assert zero._silent() is None
    now = processes.time.monotonic()
    monkeypatch.setattr(processes.time, "monotonic", lambda: now + 20)
    store.key_value_set(f"{processes.BEAT}/0", "2", True)
    assert zero._silent() is None
    monkeypatch.setattr(processes.time, "monotonic", lambda: now + 31)
    silent = zero._silent()
    assert "process 1 of 2 has sent no sign of life for 30 s" in str(silent)
    assert silent.exit_status == EXIT_PREEMPTED
