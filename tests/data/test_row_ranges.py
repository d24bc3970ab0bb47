"""Ranges of rows, against the array that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathjax.data.row_ranges import RowRanges

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12)


@given(ranges, st.randoms())
def test_they_are_the_array(pairs, random):
    first = np.array([one for one, _ in pairs], np.int64)
    sizes = np.array([size for _, size in pairs], np.int64)
    wanted = np.array([row for one, n in pairs for row in range(one, one + n)], int)
    rows = RowRanges(first, sizes)
    assert len(rows) == len(wanted)
    np.testing.assert_array_equal(rows.to_array(), wanted)
    places = [random.randrange(len(wanted)) for _ in range(10 if len(wanted) else 0)]
    np.testing.assert_array_equal(rows.take(places), wanted[places])
    start = len(wanted) // 3
    np.testing.assert_array_equal(rows.part(start, len(wanted)), wanted[start:])
    assert rows.sizes.sum() == len(wanted)


def test_ranges_that_continue_one_another_are_one():
    rows = RowRanges(np.array([3, 5, 8, 0]), np.array([2, 3, 1, 4]))
    assert rows.first.tolist() == [3, 0] and rows.sizes.tolist() == [6, 4]


def test_shape_of_places_is_kept_and_no_place_counts_from_the_end():
    rows = RowRanges(np.array([10, 0]), np.array([3, 2]))
    assert rows.take([[0, 4], [2, 3]]).tolist() == [[10, 1], [12, 0]]
    for place in (-1, 5):
        with pytest.raises(IndexError):
            rows.take([place])
