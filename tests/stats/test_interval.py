"""Textbook intervals are the oracle where there is one, and a simulation elsewhere."""

import numpy as np
import pytest
import scipy.stats

from pathjax.stats.interval import (
    interval,
    left_out,
    number_units,
    score_interval,
    seed_error,
)
from pathjax.stats.metrics import AUROC, METRICS, recall_at

ACCURACY, PEARSON = METRICS["accuracy"], METRICS["pearson"]


def hits(rng, patients, share=0.7, rows=1):
    """Truth, prediction and patient of a model that is right in this share."""
    truth = np.zeros(patients * rows, int)
    return (
        truth,
        (rng.random(len(truth)) > share).astype(int),
        np.arange(patients).repeat(rows),
    )


def test_a_paired_delta_of_means_has_the_paired_t_interval():
    rng = np.random.default_rng(0)
    truth, one, unit = hits(rng, 30)
    other = hits(rng, 30, 0.5)[1]
    scores = [
        left_out(ACCURACY.terms(truth, guess, unit), 30)[None] for guess in (one, other)
    ]
    found = interval([scores[0] - scores[1]])
    change = (one == truth).astype(float) - (other == truth)
    wanted = scipy.stats.ttest_1samp(change, 0).confidence_interval()
    assert found == pytest.approx(tuple(wanted))


def test_shares_have_wilsons_interval_also_where_all_are_right():
    rng = np.random.default_rng(1)
    truth, guess, unit = hits(rng, 400)
    wanted = scipy.stats.binomtest(int((guess == 0).sum()), 400).proportion_ci(
        method="wilson"
    )
    found = score_interval(ACCURACY, truth, [guess], unit)
    assert found == pytest.approx((wanted.low, wanted.high), abs=2e-3)
    low, high = score_interval(ACCURACY, truth[:20], [truth[:20]], unit[:20])
    t = scipy.stats.t.ppf(0.975, 19)
    assert (low, high) == pytest.approx((20 / (20 + t**2), 1))
    # One class whatever the patient: no patient can move it.
    mixed = METRICS["balanced_accuracy"]
    found = score_interval(mixed, np.arange(20) % 2, [np.zeros(20, int)], unit[:20])
    assert found == (0.5, 0.5)


def test_correlations_have_fishers_interval():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(300, 1))
    guess = truth + rng.normal(size=(300, 1))
    low, high = score_interval(PEARSON, truth, [guess], np.arange(300))
    wanted = scipy.stats.pearsonr(truth[:, 0], guess[:, 0]).confidence_interval()
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=0.01)
    assert score_interval(PEARSON, truth, [truth], np.arange(300)) == (1, 1)


def test_a_patient_is_left_out_with_all_rows():
    rng = np.random.default_rng(3)
    truth, guess, unit = hits(rng, 8, rows=5)
    found = left_out(ACCURACY.terms(truth, guess, unit), 8)
    wanted = [np.mean(guess[unit != one] == 0) for one in range(8)]
    np.testing.assert_allclose(found, [np.mean(guess == 0), *wanted])


def test_many_units_are_left_out_in_groups():
    rng = np.random.default_rng(4)
    truth, guess, unit = hits(rng, 9000)
    scores = left_out(ACCURACY.terms(truth, guess, unit), 9000)
    assert len(scores) == 2001
    low, high = interval([scores[None]], "share")
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 9000), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("patients", [7, 20])
@pytest.mark.parametrize("folds", [False, True])
def test_correlations_are_covered_with_few_patients(patients, folds):
    """Means of the folds' r too, of one patient each, which percentiles cover in 80 %."""
    rng, covered = np.random.default_rng(patients), []
    unit = np.arange(patients).repeat(8)
    each = np.array([np.corrcoef(x, 0.6 * x + 0.8 * e)[0, 1]
                     for x, e in rng.normal(size=(20_000, 2, 8))])  # fmt: skip
    wanted = each.mean() if folds else 0.6
    for _ in range(400):
        truth, noise = rng.normal(size=(2, len(unit), 1))
        more = {"stratum": unit, "combine": "mean"} if folds else {}
        guess = 0.6 * truth + 0.8 * noise
        low, high = score_interval(PEARSON, truth, [guess], unit, **more)
        covered.append(low <= wanted <= high)
    assert 0.92 < np.mean(covered) < 0.985


@pytest.mark.parametrize(
    ("seeds", "spread"), [(2, 0.0), (2, 0.3), (3, 0.5), (5, 0.3), (5, 1.5)]
)
def test_seeds_are_covered_too(seeds, spread):
    """Scores that differ by seed more than by patient, and not at all."""
    rng, covered = np.random.default_rng(seeds), []
    for _ in range(400):
        patient = rng.normal(size=25)
        seed = spread * rng.normal(size=(seeds, 1))
        values = seed + patient + rng.normal(size=(seeds, 25))
        low, high = interval([scores_without_each(values)])
        covered.append(low <= 0 <= high)
    assert 0.92 < np.mean(covered) < 0.985


def scores_without_each(values):
    """Mean of all units and without each, `[S, 1 + U]`, of `[S, U]`."""
    count = values.shape[1]
    without = (values.sum(axis=1, keepdims=True) - values) / (count - 1)
    return np.c_[values.mean(axis=1), without]


def test_the_error_of_seeds_is_that_of_two_way_analysis_of_variance():
    """Searle, Casella & McCulloch 1992, ch. 4: (MS seeds - MS residual) / (S U)."""
    values = np.random.default_rng(6).normal(size=(4, 12)) + [[0], [1], [2], [4]]
    seeds, patients = values.mean(axis=1), values.mean(axis=0)
    rest = values - seeds[:, None] - patients + values.mean()
    error = (12 * seeds.var(ddof=1) - (rest**2).sum() / 33) / 48
    found = seed_error([scores_without_each(values)])
    assert found**2 == pytest.approx(error)
    assert seed_error([scores_without_each(values[:1])]) == 0
    half = np.hypot(
        scipy.stats.t.ppf(0.975, 3) * found,
        scipy.stats.t.ppf(0.975, 11) * scipy.stats.sem(patients),
    )
    low, high = interval([scores_without_each(values)])
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_independent_parts_add_up():
    rng = np.random.default_rng(5)
    values = [rng.normal(size=(1, 30)), rng.normal(size=(1, 50))]
    full = sum(part.mean() for part in values)
    parts = [
        np.c_[full, full + ((part.sum() - part) / (part.size - 1) - part.mean())]
        for part in values
    ]
    low, high = interval(parts)
    error = np.sqrt(sum(scipy.stats.sem(part[0]) ** 2 for part in values))
    assert (low + high) / 2 == pytest.approx(full)
    assert 2 * 1.98 * error < high - low < 2 * 2.05 * error


def test_a_class_of_one_patient_leaves_its_metric_defined():
    truth = np.array([0] * 9 + [1])
    low, high = score_interval(
        METRICS["auroc"], truth, [np.eye(2)[truth]], np.arange(10)
    )
    assert 0 < low < high <= 1
    assert len(left_out(recall_at(1).terms(np.ones(3), np.ones((3, 2)), np.arange(3)), 3)) == 4  # fmt: skip


def test_units_of_several_tasks_are_numbered_together():
    numbers, count = number_units([np.array(["b", "a"]), np.array(["c", "b", "b"])])
    assert count == 3
    np.testing.assert_array_equal(numbers[0], [1, 0])
    np.testing.assert_array_equal(numbers[1], [2, 1, 1])


def test_a_limit_cuts_off_what_cannot_occur():
    values = np.array([[0.5, 0.9, 0.1, 0.8, 0.2]])
    low, high = interval([values])
    assert low < -1 and high > 1
    assert interval([values], limit=1.0) == (-1.0, 1.0)
    assert interval([values], limit=np.inf) == (low, high)


def test_the_interval_of_auroc_is_delongs():
    """DeLong et al. 1988, from the placements of each row, one row a patient."""
    rng = np.random.default_rng(5)
    truth = (np.arange(120) % 3 == 0).astype(int)
    risk = rng.normal(truth * 0.9, 1)
    good, bad = risk[truth == 1], risk[truth == 0]
    right = (good[:, None] > bad).astype(float)
    of_good, of_bad = right.mean(axis=1), right.mean(axis=0)
    variance = of_good.var(ddof=1) / len(good) + of_bad.var(ddof=1) / len(bad)
    scores = np.stack([-risk, risk], axis=1)
    terms = AUROC.terms(truth, scores, np.arange(120))
    without = left_out(terms, 120)
    assert without[0] == pytest.approx(right.mean())
    each = without[1:]
    jackknife = ((each - each.mean()) ** 2).sum() * 119 / 120
    assert jackknife == pytest.approx(variance, rel=0.03)
    low, high = score_interval(AUROC, truth, [scores], np.arange(120))
    assert high - low == pytest.approx(2 * 1.98 * variance**0.5, rel=0.05)
