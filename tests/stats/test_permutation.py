"""scipy's permutation test over patients is the oracle; Holm's is written out."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.stats.correlation import PEARSON
from pathjax.stats.interval import left_out, seed_error
from pathjax.stats.metric import StatisticsError
from pathjax.stats.metrics import AUROC, METRICS, recall_at
from pathjax.stats.permutation import (
    Swaps,
    contributions,
    holm,
    null_deltas,
    p_value,
    p_with_seeds,
    q_values,
    redrawn,
)

ACCURACY = METRICS["accuracy"]


def adds_of(metric, truth, pair, unit, **options):
    """What each unit adds to the delta of two models."""
    one, other = (
        left_out(metric.terms(truth, guess, unit, **options), int(unit.max()) + 1)
        for guess in pair
    )
    return contributions(one - other)


def p_of(adds, swaps):
    null = null_deltas(adds, swaps, np.arange(len(adds)))
    return p_value(adds.mean(), null, exact=swaps.exact)


def hits_of(pair, unit):
    return adds_of(recall_at(10), np.ones(len(pair[0])), pair, unit)


def scipys(one, other, score, unit, **options):
    """p of scipy's test, whose samples are the numbers of patients' predictions."""
    units = int(unit.max()) + 1
    both = np.stack([one, other])

    def delta(x, y, axis):
        # The samples hold 0 for the first model's prediction and 1 for the second's.
        def of(which):
            return score(both[which.astype(int)[unit], np.arange(len(unit))])

        pairs = zip(
            np.atleast_2d(np.moveaxis(x, axis, -1)),
            np.atleast_2d(np.moveaxis(y, axis, -1)),
            strict=True,
        )
        found = np.array([of(a) - of(b) for a, b in pairs])
        return found[0] if x.ndim == 1 else found

    found = scipy.stats.permutation_test(
        (np.zeros(units), np.ones(units)),
        delta,
        permutation_type="samples",
        vectorized=True,
        **options,
    )
    far, seen = np.abs(found.null_distribution), abs(found.statistic)
    more, whole = np.sum(far > seen + 1e-12), np.sum(far >= seen - 1e-12)
    # scipy counts ties whole; half of those beside the pattern and its opposite count.
    assert found.pvalue == pytest.approx(min(whole / len(far), 1), abs=1e-12)
    return (more + 2 + (whole - more - 2) / 2) / len(far)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("metric", ["accuracy", "folds of r", "recall"])
def test_means_over_patients_have_the_p_of_scipys_exchange_of_predictions(metric, seed):
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(7), 6)
    if metric == "accuracy":
        truth = rng.integers(0, 3, 42)
        pair = [
            np.where(rng.random(42) < right, truth, rng.integers(0, 3, 42))
            for right in (0.7, 0.3)
        ]
        score = lambda guess: np.mean(truth == guess)
        adds = adds_of(ACCURACY, truth, pair, unit)
    elif metric == "folds of r":  # a patient a fold
        truth = rng.normal(size=(42, 3))
        pair = [truth + rng.normal(0, s, (42, 3)) for s in (1.0, 2.0)]
        score = lambda guess: PEARSON.value(truth, guess, unit, "mean")
        adds = adds_of(PEARSON, truth, pair, unit, stratum=unit, combine="mean")
    else:
        pair = [rng.random((42, 2)) < share for share in (0.6, 0.4)]
        score = np.mean
        adds = hits_of(pair, unit)
    swaps = Swaps(7, 128)
    assert swaps.exact and swaps.patterns == 128
    expected = scipys(*pair, score, unit, n_resamples=np.inf)
    assert p_of(adds, swaps) == pytest.approx(expected, abs=1e-12)


def test_random_tests_come_near_the_exact_p():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 12)
    pair = [np.where(rng.random(12) < s, truth, 1 - truth) for s in (0.9, 0.6)]
    adds = adds_of(ACCURACY, truth, pair, np.arange(12))
    exact, drawn = Swaps(12, 4096), Swaps(12, 4095)
    assert exact.exact and not drawn.exact
    assert p_of(adds, drawn) == pytest.approx(p_of(adds, exact), abs=0.03)


def test_p_of_no_difference_is_uniform():
    """Two models of equal skill: p falls below 0.1 in a tenth of the cohorts."""
    rng, found = np.random.default_rng(5), []
    for _ in range(300):
        adds = hits_of(rng.random((2, 60, 1)) < 0.5, np.arange(60) % 30)
        found.append(p_of(adds, Swaps(30, 199)))
    assert 0.06 < np.mean(np.array(found) <= 0.1) < 0.14


@pytest.mark.parametrize("patients", [50, 200])
def test_few_differing_patients_are_tested_at_the_level_stated(patients):
    """A row a patient, 0.76 right, a quarter differ: whole ties reject in 2 to 3 %."""
    rng, found = np.random.default_rng(patients), []
    for _ in range(1500):
        both = rng.random(patients) < 0.25
        base = rng.random(patients) < 0.76
        tuned = np.where(both, rng.random(patients) < 0.5, base)
        base = np.where(both, ~tuned, base)
        # The differences are all that matters: signs of those who differ.
        signs = (tuned.astype(int) - base)[both]
        draws = rng.choice([-1, 1], (400, len(signs))) @ np.ones(len(signs))
        found.append(p_value(signs.sum(), draws, exact=False) < 0.05)
    assert 0.03 < np.mean(found) < 0.065


def test_contributions_are_pseudo_values():
    """A class's only unit, without which there is no area, adds the mean."""
    truth = np.array([0, 0, 0, 1])
    pair = np.eye(2)[[0, 1, 0, 1]], np.eye(2)[[1, 1, 0, 1]]
    delta = 5 / 6 - 4 / 6
    without = np.array([3 / 4 - 3 / 4, 1 - 3 / 4, 3 / 4 - 2 / 4])
    expected = 3 * delta - 2 * without
    adds = adds_of(AUROC, truth, pair, np.arange(4))
    np.testing.assert_allclose(adds, [*expected, expected.mean()])


def test_only_the_own_units_of_a_task_count():
    adds, swaps = np.array([0.5, -0.1, 0.3]), Swaps(5, 999)
    patterns = np.concatenate(list(swaps.blocks()))[:, [0, 2, 4]]
    expected = np.where(patterns, -adds, adds).mean(axis=1)
    found = null_deltas(adds, swaps, np.array([0, 2, 4]))
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.0), (3, 0.5), (5, 0.3), (5, 1.5)])
def test_tests_err_as_stated_where_seeds_differ(seeds, spread):
    """No effect on average; swapping patients alone rejects in up to half of these."""
    rng, found = np.random.default_rng(seeds), []
    signs = rng.choice([-1, 1], (199, 25))
    for i in range(400):
        shift = spread * rng.normal(size=(seeds, 1))
        values = shift + rng.normal(size=25) + rng.normal(size=(seeds, 25))
        mean = values.mean(axis=0)
        without = (values.sum(axis=1, keepdims=True) - values) / 24
        error = seed_error([np.c_[values.mean(axis=1), without]])
        null = signs @ mean / 25
        more = {"exact": False, "seeds": seeds, "draws": 199, "seed": (i,)}
        p = p_with_seeds(mean.mean(), null, error=error, **more)
        found.append(p <= 0.05)
    assert 0.02 < np.mean(found) < 0.075


def test_an_error_of_seeds_only_raises_p():
    null = np.linspace(0, 0.7, 8)  # of an exact test: 3 units, half the patterns
    more = {"exact": True, "seeds": 2, "draws": 999, "seed": (0,)}
    least = p_value(0.7, null, exact=True)
    assert p_with_seeds(0.7, null, error=0.0, **more) == least
    errors = [p_with_seeds(0.7, null, error=e, **more) for e in (1e-6, 0.1, 1.0, 9.0)]
    assert least <= errors[0] < errors[1] < errors[2] < errors[3]


def test_a_model_against_itself_has_p_one_and_a_better_one_the_least_there_is():
    truth = np.arange(40) % 2
    wrong = 1 - truth
    same, better = (
        adds_of(ACCURACY, truth, (truth, g), np.arange(40)) for g in (truth, wrong)
    )
    assert p_of(same, Swaps(40, 99)) == 1.0
    assert p_of(better, Swaps(40, 99)) == 0.01
    # With four patients, the observed pattern and its opposite are 2 of 16.
    few = adds_of(ACCURACY, truth[:4], (truth[:4], wrong[:4]), np.arange(4))
    assert p_of(few, Swaps(4, 999)) == 2 / 16


@settings(max_examples=30, deadline=None)
@given(units=st.integers(1, 12), permutations=st.integers(1, 3000))
def test_patterns_are_each_once_or_as_many_as_wanted(units, permutations):
    swaps = Swaps(units, permutations, (1, 2))
    found = np.concatenate(list(swaps.blocks()))
    again = np.concatenate(list(Swaps(units, permutations, (1, 2)).blocks()))
    np.testing.assert_array_equal(found, again)
    if 2**units <= permutations:
        assert swaps.exact
        whole = np.concatenate([found, ~found])
        assert len(np.unique(whole, axis=0)) == len(whole) == 2**units
        assert not found[0].any()
    else:
        assert not swaps.exact and found.shape == (permutations, units)


def test_random_patterns_are_fair_and_follow_their_seed():
    found = np.concatenate(list(Swaps(13, 4000, (3,)).blocks()))
    np.testing.assert_allclose(found.mean(axis=0), 0.5, atol=0.04)
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(13), atol=0.08)
    other = np.concatenate(list(Swaps(13, 4000, (4,)).blocks()))
    assert (found != other).mean() == pytest.approx(0.5, abs=0.05)


def test_redrawn_deltas_are_those_of_the_exact_test_with_either_sign():
    null = np.array([0.1, 0.2, 0.4])
    found = redrawn(null, 6000, (0,))
    values, counts = np.unique(found, return_counts=True)
    np.testing.assert_allclose(values, [-0.4, -0.2, -0.1, 0.1, 0.2, 0.4])
    np.testing.assert_allclose(counts, 1000, atol=150)


def test_holm_equals_its_definition():
    # By hand: 4 * 0.01, 3 * 0.02, 2 * 0.03 = 0.06, 1 * 0.04 raised to 0.06.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert len(holm([])) == 0


@settings(max_examples=50, deadline=None)
@given(
    p=st.lists(st.floats(0.0001, 1), min_size=1, max_size=8),
    level=st.floats(0, 1, exclude_max=True),
)
def test_holm_rejects_what_stepping_down_rejects(p, level):
    corrected = holm(p)
    left = sorted(range(len(p)), key=lambda i: p[i])
    rejected = set()
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert rejected == {i for i in range(len(p)) if corrected[i] <= level}


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(StatisticsError, match="got 0 and 10"):
        Swaps(0, 10)
    with pytest.raises(StatisticsError, match="not defined"):
        contributions(np.array([np.nan, 0.1, 0.2]))


def test_contributions_with_their_bias_have_the_score_as_mean():
    scores = np.array([0.7, 0.5, 0.6, np.nan, 0.9])
    plain, corrected = contributions(scores, corrected=False), contributions(scores)
    assert plain.mean() == pytest.approx(0.7)
    assert corrected.mean() != pytest.approx(0.7)
    assert np.diff(plain) == pytest.approx(np.diff(corrected))


def test_q_values_of_the_paper():
    """Benjamini & Hochberg 1995, section 4.1: at 5 % they reject four, Holm three."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459,
         0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    q = q_values(p)
    assert q[:4] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625])
    assert (q < 0.05).sum() == 4 and (holm(p) < 0.05).sum() == 3
    order = np.random.default_rng(0).permutation(len(p))
    np.testing.assert_array_equal(q_values(np.array(p)[order]), q[order])


def test_a_share_of_5_percent_of_findings_is_false():
    """40 tasks on the same 30 patients, 10 with an effect: mean share, and Holm's."""
    rng = np.random.default_rng(0)
    swaps = Swaps(30, 999)
    signs = np.concatenate([1 - 2.0 * block for block in swaps.blocks()])
    false, power = [], []
    for _ in range(150):
        # Errors of a patient correlate over tasks, as they do on shared test rows.
        adds = rng.normal(size=(30, 1)) + rng.normal(size=(30, 40))
        adds[:, :10] += 1.2
        null = np.abs(signs @ adds)
        far = (null >= np.abs(adds.sum(axis=0))).sum(axis=0)
        p = (1 + far) / (1 + len(signs))
        found = q_values(p) < 0.05
        false.append(found[10:].sum() / max(found.sum(), 1))
        power.append(found[:10].sum() - (holm(p) < 0.05)[:10].sum())
    print(
        f"false among q < 0.05: {np.mean(false):.3f}, found more: {np.mean(power):.1f}"
    )
    assert 0.01 < np.mean(false) < 0.06  # 0.0375 is 5 % of the 30 of 40 without
    assert np.mean(power) > 0
