"""Numbers of the page against NumPy's."""

import json
import math

import numpy as np
import pytest

from pathjax.report.page.rounded import rounded, rounded_list, rounded_within


def test_four_digits_and_null():
    assert rounded_list([0.123456, -1234567.0, 3.0, math.nan, math.inf]) == [
        0.1235,
        -1235000,
        3,
        None,
        None,
    ]
    assert rounded(None) is None
    assert json.dumps(rounded(2.0)) == "2"


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_coordinates_keep_their_place_in_their_range(offset):
    values = np.random.default_rng(0).normal(offset, 3, 200)
    got = np.array(rounded_within(values))
    assert np.abs(got - values).max() <= np.ptp(values) / 4096
    assert len(json.dumps(got.tolist())) < len(json.dumps(values.tolist())) / 1.5


def test_a_coordinate_that_is_none():
    assert rounded_within(np.array([1.0, np.nan, 1.0])) == [1, None, 1]
