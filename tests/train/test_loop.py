"""The loop's small parts; the loop itself is run by test_train.py."""

import math

import pytest

from pathjax.train.hooks import Stopping, due


@pytest.mark.parametrize(
    ("step", "every", "wanted"),
    [
        (0, 5, False),
        (5, 5, True),
        (6, 5, False),
        (10, 5, True),
        (3, 1, True),
        (3, 0, False),
        (0, 0, False),
    ],
)
def test_due(step, every, wanted):
    assert due(step, every) is wanted


def test_stopping_on_a_minimum():
    stopping = Stopping("min", patience=2)
    verdicts = [stopping.update(s, v) for s, v in enumerate([3.0, 2.0, 2.5, 2.0])]
    assert verdicts == [True, True, False, False]  # an equal value is no improvement
    assert stopping.stop and (stopping.best, stopping.best_step) == (2.0, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_that_is_not_finite_is_never_the_best(mode, bad):
    stopping = Stopping(mode, patience=9)
    assert [stopping.update(s, v) for s, v in enumerate([bad, 2.0, bad])] == [
        False,
        True,
        False,
    ]
    assert (stopping.best, stopping.worse) == (2.0, 1)
    # As an earlier version may have saved it.
    assert Stopping(mode, patience=9, best=bad).update(1, 2.0)


def test_stopping_on_a_maximum_without_patience_never_stops():
    stopping = Stopping("max", patience=0)
    verdicts = [stopping.update(s, v) for s, v in enumerate([0.1, 0.3, 0.2, 0.4])]
    assert verdicts == [True, True, False, True] and not stopping.stop
