"""Words of a grid to points."""

import pytest

from pathjax.sweep.grid import Point, SweepError, parse_grid


def test_all_combinations_the_last_key_fastest():
    points = parse_grid(["optim.lr=1e-4,1e-3", "adapt.rank=2, 8"])
    assert [tuple(point.values.values()) for point in points] == [
        ("1e-4", "2"),
        ("1e-4", "8"),
        ("1e-3", "2"),
        ("1e-3", "8"),
    ]
    assert points[0].name == "optim.lr 1e-4, adapt.rank 2"
    assert points[0].folder == "optim.lr-1e-4_adapt.rank-2"


def test_commas_in_brackets_belong_to_the_value():
    points = parse_grid(["objective.widths=[256],[256,128]"])
    assert [point.values["objective.widths"] for point in points] == [
        "[256]",
        "[256,128]",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the grid is empty"),
        (["optim.lr"], "expected KEY=VALUE,VALUE, got 'optim.lr'"),
        (["optim.lr=1,,2"], "expected KEY=VALUE,VALUE"),
        (["=1"], "expected KEY=VALUE,VALUE"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=1,1"], "a value is given twice"),
        (["a=x/y,x y"], "would share a folder"),
    ],
)
def test_other_words_are_refused(words, message):
    with pytest.raises(SweepError, match=message):
        parse_grid(words)


def test_a_point_without_values_has_no_name():
    assert Point({}).name == ""
