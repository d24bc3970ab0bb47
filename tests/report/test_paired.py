import numpy as np
import pytest

from pathjax.report.paired import SharedUnits, corrected, permute_deltas
from pathjax.stats.interval import left_out
from pathjax.stats.metrics import recall_at
from pathjax.stats.permutation import Swaps, contributions, null_deltas


def units_of(**tasks):
    """Tasks with patients of these names; each task's numbers follow their order."""
    return SharedUnits([("s", task, rows(*names)) for task, names in tasks.items()])


def named(count, letter="P"):
    return [f"{letter}{i:02d}" for i in range(count)]


def delta(seed, units, shares=(0.7, 0.4)):
    rng = np.random.default_rng(seed)
    unit, truth = np.arange(3 * units) % units, np.ones(3 * units)
    one, other = (
        left_out(
            recall_at(10).terms(truth, rng.random((3 * units, 1)) < s, unit), units
        )
        for s in shares
    )
    return one - other


def nulls_of(deltas, units, permutations):
    return {
        task: null_deltas(
            contributions(one.mean(axis=0)),
            Swaps(units.part[task].units, permutations),
            units.own(task),
        )
        for task, one in deltas.items()
    }


def test_tasks_of_one_part_have_an_exact_test_of_their_mean():
    units = units_of(a=named(8), b=named(8))
    deltas = {"a": delta(0, 8)[None], "b": np.stack([delta(1, 8), delta(2, 8)])}
    tests, mean = permute_deltas(deltas, units, permutations=999, seed=0)
    null = nulls_of(deltas, units, 999)
    means = [contributions(one.mean(axis=0)).mean() for one in deltas.values()]
    seen = abs(np.mean(means))
    far = np.abs(np.mean([*null.values()], axis=0))
    more, whole = (far > seen + 1e-12).sum(), (far >= seen - 1e-12).sum()
    # Ties count half, the observed pattern itself whole.
    assert mean.p == (1 + more + (whole - more - 1) / 2) / len(far)
    assert mean.permutations == 256
    assert mean.p_holm is None
    assert tests["a"].permutations == 256


def test_parts_are_permuted_apart():
    """The p of a mean over two parts is near that of all their patterns together."""
    units = units_of(a=named(5), b=named(7, "Q"))
    deltas = {"a": delta(3, 5)[None], "b": delta(4, 7)[None]}
    _, mean = permute_deltas(deltas, units, permutations=4000, seed=0)
    halves = nulls_of(deltas, units, 4000).values()
    null = [np.concatenate([half, -half]) for half in halves]
    everything = np.add.outer(*null).ravel()
    seen = sum(contributions(one[0]).mean() for one in deltas.values())
    ties = (np.abs(np.abs(everything) - abs(seen)) < 1e-12).mean()
    expected = (np.abs(everything) > abs(seen) + 1e-12).mean() + ties / 2
    assert 0.005 < expected < 0.9
    assert mean.p == pytest.approx(expected, abs=0.03) and mean.permutations == 4000


def test_equal_sizes_do_not_make_parts_alike():
    together = units_of(a=named(30), b=named(30))
    apart = units_of(a=named(30), b=named(30, "Q"))

    def p_of_mean(deltas, units, count):
        return permute_deltas(deltas, units, permutations=count, seed=0)[1].p

    one = delta(5, 30)[None]
    # The two deltas cancel; so do the null's where the patients are the same.
    for units in (together, apart):
        assert p_of_mean({"a": one, "b": -one}, units, 200) == 1.0
    weak = delta(5, 30, (0.55, 0.4))[None]
    found = [p_of_mean({"a": weak, "b": weak}, u, 2000) for u in (together, apart)]
    assert found[1] < found[0]  # evidence from other patients adds up


def test_units_of_other_tasks_do_not_count():
    """A task on 6 of the 12 patients that the part has: p as of these alone."""
    alone, beside = units_of(a=named(6)), units_of(a=named(6), b=named(12))
    one = delta(7, 6)[None]
    wide = np.append(one, np.repeat(one[:, :1], 6, axis=1), axis=1)
    expected = permute_deltas({"a": one}, alone, permutations=4096, seed=0)[0]["a"]
    found = permute_deltas({"a": wide}, beside, permutations=4096, seed=0)[0]["a"]
    # Patterns of the others repeat each p's ties, of which only one counts whole.
    assert found.p == pytest.approx(expected.p, abs=1 / 64) and expected.p < 1


def test_no_task_no_test():
    assert permute_deltas({}, units_of(), permutations=10, seed=0) == ({}, None)


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


def test_further_metrics_do_not_change_the_correction_of_the_first():
    p = {"a": 0.01, "a (auroc)": 0.001, "b": 0.03}
    assert corrected(p, {"a (auroc)"}) == {"a": 0.02, "b": 0.03, "a (auroc)": 0.003}
    assert corrected(p, ()) == {"a": 0.02, "a (auroc)": 0.003, "b": 0.03}
    assert corrected(p, set(p)) == corrected(p, ())
    assert corrected({}, ()) == {}
