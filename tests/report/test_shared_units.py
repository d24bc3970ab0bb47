import numpy as np

from pathjax.report.shared_units import SharedUnits


def rows(*patients):
    return {
        "patient": np.array(patients),
        "unit": np.array([f"r{i}" for i in range(len(patients))]),
    }


def test_tasks_that_share_patients_through_another_task_are_one_part():
    shared = SharedUnits(
        [
            ("s", "a", rows("P1", "P2", "P2")),
            ("s", "c", rows("P3", "P4")),
            ("s", "far", rows("P8", "P9")),
            ("s", "b", rows("P2", "P3")),
        ]
    )
    assert shared.part["a"] is shared.part["b"] is shared.part["c"]
    assert shared.part["a"].units == 4 and shared.part["far"].units == 2
    np.testing.assert_array_equal(shared.unit["a"], [0, 1, 1])
    np.testing.assert_array_equal(shared.unit["b"], [1, 2])
    np.testing.assert_array_equal(shared.unit["c"], [2, 3])


def test_rows_are_the_units_where_there_is_one_patient():
    shared = SharedUnits([("s", "a", rows("P", "P", "P"))])
    assert shared.part["a"].units == 3
    np.testing.assert_array_equal(shared.unit["a"], [0, 1, 2])


def test_a_key_follows_from_the_units_alone():
    alone = SharedUnits([("s", "a", rows("P1", "P2"))]).part["a"]
    beside = SharedUnits(
        [("s", "x", rows("P8", "P9")), ("s", "a", rows("P2", "P1"))]
    ).part
    assert beside["a"] == alone and beside["x"] != alone
    # The same names in another study are other patients.
    assert SharedUnits([("t", "a", rows("P1", "P2"))]).part["a"] != alone
