"""Loops, scipy and scikit-learn are the oracles."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from pathjax.stats.scores import (
    StatisticsError,
    accuracy_terms,
    balanced_accuracy,
    bootstrap_draws,
    chance_level,
    mean_over_seeds,
    mean_pearson,
    number_units,
    pearson_terms,
    per_gene_pearson,
    percentile_interval,
    recall_terms,
)


def labels(seed, rows=60, classes=4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    guess = np.where(rng.random(rows) < 0.6, truth, rng.integers(0, classes, rows))
    return truth, guess


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 50))
def test_balanced_accuracy_is_scikit_learns_macro_recall(seed, rows):
    truth, guess = labels(seed, rows)
    wanted = recall_score(
        truth, guess, labels=np.unique(truth), average="macro", zero_division=0
    )
    assert balanced_accuracy(truth, guess) == pytest.approx(wanted)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(3, 40),
    shift=st.sampled_from([0.0, 1e3, -1e4]),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
)
def test_pearson_is_scipys_whatever_the_units(seed, rows, shift, scale):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(rows, 3))
    guess = truth + rng.normal(size=(rows, 3))
    # A spread below 1e-6 of the values is rounding and counts as constant (CONSTANT);
    # 0.1 beside the largest shift is ten times that.
    assume(min(truth.std(axis=0).min(), guess.std(axis=0).min()) > 0.1)
    r = per_gene_pearson(truth * scale + shift * scale, (guess + shift) * scale)
    for gene in range(3):
        wanted = scipy.stats.pearsonr(truth[:, gene], guess[:, gene])[0]
        assert r[gene] == pytest.approx(wanted, abs=1e-6)


def test_constant_truth_is_left_out_and_constant_prediction_counts_as_zero():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 3))
    guess = truth.copy()
    truth[:, 0] = 0.1  # 0.1 is no float: its mean differs from it in the last bit
    guess[:, 1] = -7.7
    r = per_gene_pearson(truth, guess)
    assert np.isnan(r[0]) and r[1] == 0 and r[2] == pytest.approx(1)
    assert mean_pearson(truth, guess) == (pytest.approx(0.5), 1)
    with pytest.raises(StatisticsError, match="all 1 genes are constant"):
        mean_pearson(truth[:, :1], guess[:, :1])


@pytest.mark.parametrize("metric", ["balanced_accuracy", "pearson", "recall"])
def test_draws_equal_resampling_rows_by_hand(metric):
    rng = np.random.default_rng(3)
    unit = rng.integers(0, 9, 80)
    draws = bootstrap_draws(9, 40, seed=5)
    truth, guess = labels(1, rows=80)
    values = rng.normal(size=(80, 5))
    noisy = values + rng.normal(size=(80, 5))
    values[:, 4] = 3.0
    hits = rng.random((80, 2)) < 0.3
    terms = {
        "balanced_accuracy": lambda: accuracy_terms(truth, guess, unit),
        "pearson": lambda: pearson_terms(values, noisy, unit),
        "recall": lambda: recall_terms(hits, unit),
    }[metric]()
    found = terms.evaluate(draws)
    for one, draw in zip(found, draws, strict=True):
        rows = np.repeat(np.arange(80), draw[unit])
        wanted = {
            "balanced_accuracy": lambda r: balanced_accuracy(truth[r], guess[r]),
            "pearson": lambda r: np.mean(
                [scipy.stats.pearsonr(values[r, g], noisy[r, g])[0] for g in range(4)]
            ),
            "recall": lambda r: hits[r].mean(),
        }[metric](rows)
        assert one == pytest.approx(wanted, abs=1e-9)


def test_a_gene_that_a_replicate_makes_constant_is_left_out_there():
    truth = np.array([[0.0, 1.0], [0.0, 2.0], [5.0, 3.0]])
    guess = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]])
    terms = pearson_terms(truth, guess, np.arange(3))
    found = terms.evaluate(np.array([[2, 1, 0], [3, 0, 0]]))
    assert found[0] == pytest.approx(1.0)  # gene 0 is constant in rows 0, 0, 1
    assert np.isnan(found[1])  # one row three times: nothing varies


def test_a_class_that_a_replicate_does_not_draw_is_left_out_there():
    terms = accuracy_terms(np.array([0, 0, 1]), np.array([0, 1, 1]), np.arange(3))
    np.testing.assert_allclose(
        terms.evaluate(np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]])), [0.75, 2 / 3, 1.0]
    )


@pytest.mark.parametrize("metric", ["accuracy", "within", "mean"])
def test_exchanged_units_equal_exchanged_rows(metric):
    """Rows exchanged by hand; r of standardised predictions, whatever their units."""
    rng = np.random.default_rng(4)
    unit, stratum = rng.integers(0, 9, 80), np.arange(80) % 3
    swap = rng.random((12, 9)) < 0.5
    if metric == "accuracy":
        truth, one = labels(1, rows=80)
        other = labels(2, rows=80)[1]
        score = balanced_accuracy
        found = accuracy_terms(truth, one, unit).exchanged(
            accuracy_terms(truth, other, unit), swap
        )
    else:
        truth = rng.normal(size=(80, 4))
        one, other = (truth + rng.normal(size=(80, 4)) for _ in range(2))
        one, other = (
            (part - part.mean(axis=0)) / part.std(axis=0) for part in (one, other)
        )
        one[:, 3] = 0  # a gene that one model gave up on

        def score(truth, guess):
            return mean_pearson(truth, guess, stratum, metric)[0]

        found = pearson_terms(truth, one, unit, stratum, metric).exchanged(
            pearson_terms(truth, 7 + 100 * other, unit, stratum, metric), swap
        )
    for i, marked in enumerate(swap):
        moved = marked[unit].reshape(-1, *[1] * (one.ndim - 1))
        a, b = np.where(moved, other, one), np.where(moved, one, other)
        assert found[0][i] == pytest.approx(score(truth, a), abs=1e-12)
        assert found[1][i] == pytest.approx(score(truth, b), abs=1e-12)


def test_only_terms_of_the_same_rows_are_exchanged():
    truth, guess = labels(0)
    one = accuracy_terms(truth, guess, np.arange(60) % 7)
    with pytest.raises(StatisticsError, match="not of the same rows"):
        one.exchanged(
            accuracy_terms(truth, guess, np.arange(60) % 6), np.zeros((1, 7), bool)
        )


def test_draws_are_multinomial_and_repeatable():
    draws = bootstrap_draws(20, 4000, seed=0)
    assert (draws.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(draws, bootstrap_draws(20, 4000, seed=0))
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(draws.var(axis=0), 1 - 1 / 20, atol=0.12)


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=(400, 1))
    draws = bootstrap_draws(400, 4000, seed=1)
    low, high = percentile_interval((draws @ values)[:, 0] / 400)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_seeds_and_patients_are_drawn_together():
    per_seed = np.array([[1.0, 2.0], [3.0, 6.0], [5.0, 10.0]])  # 3 seeds, 2 replicates
    drawn = np.array([[3, 0, 0], [0, 1, 2]])
    np.testing.assert_allclose(mean_over_seeds(per_seed, drawn), [1.0, 26 / 3])


def test_interval_needs_most_replicates():
    samples = np.array([1.0, 2.0, np.nan])
    assert percentile_interval(samples) == pytest.approx((1.025, 1.975))
    with pytest.raises(StatisticsError, match="too few test patients"):
        percentile_interval(np.array([1.0, np.nan, np.nan]))


def test_units_of_several_tasks_are_numbered_together():
    numbers, count = number_units([np.array(["b", "a"]), np.array(["c", "b", "b"])])
    assert count == 3
    np.testing.assert_array_equal(numbers[0], [1, 0])
    np.testing.assert_array_equal(numbers[1], [2, 1, 1])


def test_chance():
    assert chance_level("balanced_accuracy", np.array([0, 2, 2, 5])) == 1 / 3
    assert chance_level("pearson", np.zeros((4, 2))) == 0
    assert chance_level("recall", np.zeros(40), k=10) == 0.25
    assert chance_level("recall", np.zeros(4), k=10) == 1


def test_shapes_and_values_are_checked():
    with pytest.raises(StatisticsError, match="wanted the same shape"):
        accuracy_terms(np.array([0, 1]), np.array([0]))
    with pytest.raises(StatisticsError, match="at least one row"):
        pearson_terms(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(StatisticsError, match="not finite"):
        pearson_terms(np.array([[np.inf], [1.0]]), np.zeros((2, 1)))
    with pytest.raises(StatisticsError, match="not finite"):
        pearson_terms(np.zeros((2, 1)), np.array([[np.nan], [1.0]]))
    with pytest.raises(StatisticsError, match="'both', wanted one of"):
        pearson_terms(np.zeros((2, 1)), np.zeros((2, 1)), combine="both")
    with pytest.raises(StatisticsError, match="wanted 1 each"):
        bootstrap_draws(0, 10, seed=0)


@pytest.mark.parametrize("combine", ["within", "mean"])
def test_strata_equal_centring_rows_by_hand(combine):
    rng = np.random.default_rng(4)
    stratum = np.repeat([0, 1, 2], [20, 5, 15])
    unit = rng.integers(0, 8, 40) + 8 * (stratum % 2)  # a unit may be in two strata
    truth = rng.normal(size=(40, 3)) + 10 * stratum[:, None]
    guess = truth + rng.normal(size=(40, 3)) - 25 * stratum[:, None]
    draws = bootstrap_draws(16, 30, seed=2)
    terms = pearson_terms(truth, guess, unit, stratum, combine)
    assert np.corrcoef(truth[:, 0], guess[:, 0])[0, 1] < 0 < terms.value()

    def by_hand(rows):
        parts = [rows[stratum[rows] == one] for one in range(3)]
        parts = [part for part in parts if len(part) > 1]
        if combine == "mean":
            return np.mean(
                [
                    [
                        scipy.stats.pearsonr(truth[p, g], guess[p, g])[0]
                        for g in range(3)
                    ]
                    for p in parts
                    if np.ptp(truth[p, 0]) > 0
                ]
            )
        t, p = (
            np.concatenate([values[q] - values[q].mean(axis=0) for q in parts])
            for values in (truth, guess)
        )
        return np.mean([scipy.stats.pearsonr(t[:, g], p[:, g])[0] for g in range(3)])

    assert terms.value() == pytest.approx(by_hand(np.arange(40)), abs=1e-9)
    for one, draw in zip(terms.evaluate(draws), draws, strict=True):
        assert one == pytest.approx(by_hand(np.repeat(np.arange(40), draw[unit])))


def test_values_not_asked_for_do_not_count():
    rng = np.random.default_rng(5)
    truth, guess = rng.normal(size=(2, 30, 2))
    fewer, spoilt = truth.copy(), guess.copy()
    fewer[20:, 1], spoilt[20:, 1] = np.nan, np.nan
    r = per_gene_pearson(fewer, spoilt)
    assert r[0] == pytest.approx(scipy.stats.pearsonr(truth[:, 0], guess[:, 0])[0])
    wanted = scipy.stats.pearsonr(truth[:20, 1], guess[:20, 1])[0]
    assert r[1] == pytest.approx(wanted)
    fewer[:, 1] = np.nan
    assert mean_pearson(fewer, spoilt) == (pytest.approx(r[0]), 1)


def test_several_runs_score_their_mean_in_every_replicate():
    truth, _ = labels(1, rows=60)
    guesses = np.stack([labels(seed, rows=60)[1] for seed in (2, 3, 4)], axis=1)
    unit, draws = np.arange(60) % 11, bootstrap_draws(11, 20, seed=0)
    each = [accuracy_terms(truth, one, unit).evaluate(draws) for one in guesses.T]
    found = accuracy_terms(truth, guesses, unit).evaluate(draws)
    np.testing.assert_allclose(found, np.mean(each, axis=0))
    with pytest.raises(StatisticsError, match="wanted the same shape"):
        accuracy_terms(truth, guesses[:5], unit)
