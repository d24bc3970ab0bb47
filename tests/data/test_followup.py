"""What is wrong with times and events is said before anything is learned from them."""

import numpy as np
import pandas as pd
import pytest

from pathjax.data.followup import (
    event_column,
    followup_of,
    followup_problem,
    target_problems,
)


def table(months, events):
    ids = [f"S{i}" for i in range(len(months))]
    return pd.DataFrame({"sample_id": ids, "os": months, event_column("os"): events})


def test_rows_that_lack_a_time_or_an_event_have_neither():
    pair = followup_of(table([1, None, 3.5, "x"], [1, 0, None, 1]), "os")
    np.testing.assert_array_equal(pair["os"], [1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(pair["os_event"], [1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    ("months", "events", "message"),
    [
        ([1, 2], [0, 1], ""),
        ([1, 2], [1, 2], "R codes events 2 and censored 1: subtract 1"),
        ([1, 2], [0, 3], "expected events 1 and censored 0, got 0, 3"),
        ([400, 2000], [0, 1], r"up to 2000 \(167 years\): if these are days"),
    ],
)
def test_codes_and_units(months, events, message):
    assert bool(followup_problem("os", months, events)) == bool(message)
    if message:
        with pytest.raises(ValueError, match=message):
            followup_of(table(months, events), "os")
        assert len(target_problems("os", table(months, events))) == 1


def test_a_study_refuses_times_below_zero_and_a_target_without_events():
    (problem,) = target_problems("os", table([3, -1, -2], [1, 0, 0]))
    assert "2 times are below 0, first of samples ['S1', 'S2']" in problem
    (problem,) = target_problems("os", table([1], [1]).drop(columns="os_event"))
    assert "there is no column os_event" in problem
    assert target_problems("os", table([0, 2], [0, 1])) == []
