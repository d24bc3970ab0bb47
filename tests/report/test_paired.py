import numpy as np
import pytest

from pathjax.report.paired import Part, SharedUnits, permute_deltas
from pathjax.stats.metrics import recall_at
from pathjax.stats.permutation import Swaps, null_deltas, observed_delta


def pair(seed, units, shares=(0.7, 0.4)):
    rng = np.random.default_rng(seed)
    unit = np.arange(3 * units) % units
    truth = np.ones(3 * units)
    return tuple(
        recall_at(10).terms(truth, rng.random((3 * units, 1)) < s, unit) for s in shares
    )


def test_tasks_of_one_part_have_an_exact_test_of_their_mean():
    part = Part(8, 1)
    pairs = {"a": [pair(0, 8)], "b": [pair(1, 8), pair(2, 8)]}
    tests, mean = permute_deltas(
        pairs, dict.fromkeys(pairs, part), permutations=999, seed=0
    )
    null = [null_deltas(one, Swaps(8, 999)) for one in pairs.values()]
    seen = [observed_delta(one) for one in pairs.values()]
    far, least = np.abs(np.mean(null, axis=0)), abs(np.mean(seen))
    more, whole = (far > least + 1e-12).sum(), (far >= least - 1e-12).sum()
    # Ties count half, the observed pattern itself whole.
    assert mean.p == (1 + more + (whole - more - 1) / 2) / len(far)
    assert mean.permutations == 256
    assert mean.p_holm is None
    assert tests["a"].permutations == 256


def test_parts_are_permuted_apart():
    """The p of a mean over two parts is near that of all their patterns together."""
    pairs = {"a": [pair(3, 5)], "b": [pair(4, 7)]}
    parts = {"a": Part(5, 1), "b": Part(7, 2)}
    _, mean = permute_deltas(pairs, parts, permutations=4000, seed=0)
    null = []
    for task, part in parts.items():
        half = null_deltas(pairs[task], Swaps(part.units, 4000))
        null.append(np.concatenate([half, -half]))
    everything = np.add.outer(*null).ravel()
    seen = sum(observed_delta(one) for one in pairs.values())
    ties = (np.abs(np.abs(everything) - abs(seen)) < 1e-12).mean()
    wanted = (np.abs(everything) > abs(seen) + 1e-12).mean() + ties / 2
    assert 0.005 < wanted < 0.9
    assert mean.p == pytest.approx(wanted, abs=0.03) and mean.permutations == 4000


def test_equal_sizes_do_not_make_parts_alike():
    pairs = {"a": [pair(5, 30)], "b": [tuple(reversed(pair(5, 30)))]}
    same = permute_deltas(
        pairs, {"a": Part(30, 1), "b": Part(30, 1)}, permutations=200, seed=0
    )[1]
    apart = permute_deltas(
        pairs, {"a": Part(30, 1), "b": Part(30, 2)}, permutations=200, seed=0
    )[1]
    # The two deltas cancel; so do the null's where the patients are the same.
    assert same.p == apart.p == 1.0
    weak = pair(5, 30, (0.55, 0.4))
    pairs = {"a": [weak], "b": [weak]}
    found = [
        permute_deltas(pairs, {"a": Part(30, 1), "b": Part(30, key)},
                       permutations=2000, seed=0)[1].p
        for key in (1, 2)
    ]  # fmt: skip
    assert found[1] < found[0]  # evidence from other patients adds up


def test_no_task_no_test():
    assert permute_deltas({}, {}, permutations=10, seed=0) == ({}, None)


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
