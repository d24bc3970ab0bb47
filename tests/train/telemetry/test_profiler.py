"""A trace holds the steps that were asked for."""

import pytest
from tiny_study import config_for

from pathjax.config import ConfigError
from pathjax.train.telemetry.profiler import Profile
from pathjax.train.trainer import train


@pytest.fixture
def traced(monkeypatch):
    """Calls of the profiler, in order."""
    calls = []
    for name in ("start_trace", "stop_trace"):
        monkeypatch.setattr(
            f"jax.profiler.{name}", lambda *a, name=name: calls.append((name, *a))
        )
    return calls


@pytest.mark.parametrize(
    ("span", "begins", "ends"),
    [((2, 3), 2, 5), ((0, 1), 0, 1), ((8, 9), 8, "the end"), ((), None, None)],
)
def test_the_span_is_traced(tmp_path, traced, span, begins, ends):
    seen = []
    with Profile(tmp_path, span) as profile:
        for step in range(11):
            profile.at(step, 1.0)
            seen += [(call[0], step) for call in traced[len(seen) :]]
    seen += [(call[0], "the end") for call in traced[len(seen) :]]
    wanted = [("start_trace", begins), ("stop_trace", ends)]
    assert seen == (wanted if span else [])


def test_resumed_after_its_beginning_it_traces_nothing(tmp_path, traced):
    with Profile(tmp_path, (2, 3)) as profile:
        profile.at(4, 1.0)
        profile.at(5, 1.0)
    assert traced == []


def test_a_failed_run_still_ends_the_trace(tmp_path, traced):
    with pytest.raises(OSError), Profile(tmp_path, (2, 3)) as profile:
        profile.at(2, 1.0)
        raise OSError
    assert [call[0] for call in traced] == ["start_trace", "stop_trace"]


@pytest.mark.slow
def test_a_run_leaves_a_trace_with_its_steps(tiny_study, tmp_path):
    train(config_for(tiny_study, **{"log.profile": (2, 2)}), tmp_path)
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert b"train_step" in trace.read_bytes()


@pytest.mark.parametrize("span", [(1,), (-1, 3), (5, 0)])
def test_a_span_that_is_none_is_refused(tiny_study, tmp_path, span):
    with pytest.raises(ConfigError, match="log.profile"):
        train(config_for(tiny_study, **{"log.profile": span}), tmp_path)
