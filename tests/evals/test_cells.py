import numpy as np
import pytest

from pathjax.evals import EvalError
from pathjax.evals.cells import cells_of, two_by_two


def rows(table):
    """(class, site, patient) of each row from {(class, site): [rows of each patient]}."""
    listed = [
        (label, site, f"{label}{site}{patient}")
        for (label, site), sizes in table.items()
        for patient, size in enumerate(sizes)
        for _ in range(size)
    ]
    return map(np.array, zip(*listed, strict=True))


def test_pairs_have_four_cells_and_the_largest_come_first():
    table = {(c, s): [3] * 3 for c in "ab" for s in "xy"}
    table |= {("c", s): [3] * 2 for s in "xy"} | {("c", "z"): [3] * 9}
    label, site, group = rows(table)
    pairs, more = two_by_two(label, site, group, pairs=2)
    assert more == 1
    assert pairs[0].name == "a, b at x, y"
    for cell, (c, s) in enumerate([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]):
        own = pairs[0].rows[pairs[0].cell == cell]
        assert set(label[own]) == {c}
        assert set(site[own]) == {s}
        assert len(own) == 9
    assert [len(own) for own in cells_of(pairs[0])] == [3] * 4
    same = {
        tuple(pair) for pair in zip(pairs[0].group, group[pairs[0].rows], strict=True)
    }
    assert len(same) == 12


def test_many_rows_of_a_patient_are_thinned():
    label, site, group = rows({(c, s): [50, 3] for c in "ab" for s in "xy"})
    ((pair,), _) = two_by_two(label, site, group, tiles=10)
    assert len(pair.rows) == 4 * 13


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({("a", "x"): [2, 2], ("b", "x"): [2, 2]}, "at least two sites, got 1 \\(x\\)"),
        ({("a", "x"): [2, 2], ("a", "y"): [2, 2]}, "at least two classes, got 1"),
        ({("a", "x"): [2, 2], ("b", "y"): [2, 2]}, "confounded"),
        (
            {("a", "x"): [2, 2], ("b", "y"): [2, 2], ("a", "y"): [2, 2]},
            "confounded",
        ),
        (
            {
                (c, s): [5] if (c, s) == ("a", "y") else [2, 2]
                for c in "ab"
                for s in "xy"
            },
            "2 patients each at two sites; the best, a and b at x and y, .* with 1",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(table, message):
    with pytest.raises(EvalError, match=message):
        two_by_two(*rows(table))
