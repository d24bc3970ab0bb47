"""Correlations within strata and over the rows asked for; scipy is the oracle."""

import numpy as np
import pytest
import scipy.stats

from pathjax.stats.correlation import PEARSON, SPEARMAN, per_gene_pearson
from pathjax.stats.metrics import METRICS, mean_pearson


def drawn(units, replicates, seed):
    """How often each unit counts, when as many are drawn with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=replicates)


@pytest.mark.parametrize("combine", ["within", "mean"])
def test_strata_equal_centring_rows_by_hand(combine):
    rng = np.random.default_rng(4)
    stratum = np.repeat([0, 1, 2], [20, 5, 15])
    unit = rng.integers(0, 8, 40) + 8 * (stratum % 2)  # a unit may be in two strata
    truth = rng.normal(size=(40, 3)) + 10 * stratum[:, None]
    guess = truth + rng.normal(size=(40, 3)) - 25 * stratum[:, None]
    draws = drawn(16, 30, seed=2)
    terms = PEARSON.terms(truth, guess, unit, stratum, combine)
    assert np.corrcoef(truth[:, 0], guess[:, 0])[0, 1] < 0 < terms.value()

    def by_hand(rows, draw):
        parts = [rows[stratum[rows] == one] for one in range(3)]
        if combine == "mean":
            kept = [one for one in range(3) if len(np.unique(parts[one])) > 1]
            each = [
                [scipy.stats.pearsonr(truth[p, g], guess[p, g])[0] for g in range(3)]
                for p in (parts[one] for one in kept)
            ]
            # A stratum counts as often as its units do, on average.
            share = [np.mean(draw[np.unique(unit[stratum == one])]) for one in kept]
            return np.average(np.mean(each, axis=1), weights=share)
        t, p = (
            np.concatenate(
                [values[q] - values[q].mean(axis=0) for q in parts if len(q)]
            )
            for values in (truth, guess)
        )
        return np.mean([scipy.stats.pearsonr(t[:, g], p[:, g])[0] for g in range(3)])

    assert terms.value() == pytest.approx(by_hand(np.arange(40), np.ones(16)), abs=1e-9)
    for one, draw in zip(terms.evaluate(draws), draws, strict=True):
        rows = np.repeat(np.arange(40), draw[unit])
        assert one == pytest.approx(by_hand(rows, draw))


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
    assert mean_pearson(fewer, spoilt) == pytest.approx(r[0])


@pytest.mark.parametrize("combine", ["within", "mean"])
def test_spearman_is_scipys_of_the_rows_drawn(combine):
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(60, 3)).round(1)  # with ties
    guess = truth + rng.normal(size=(60, 3))
    unit, draws = np.arange(60) % 9, drawn(9, 20, seed=3)
    metric = SPEARMAN
    values = metric.terms(truth, guess, unit, None, combine).evaluate(draws)
    for value, draw in zip(values, draws, strict=True):
        rows = np.repeat(np.arange(60), draw[unit])
        each = [scipy.stats.spearmanr(truth[rows, g], guess[rows, g])[0] for g in (0, 1, 2)]  # fmt: skip
        assert value == pytest.approx(np.mean(each), abs=1e-9)
    # A stratum's offset does not matter, a gene that was not asked for is left out.
    stratum = np.arange(60) % 2
    shifted = guess + 100.0 * stratum[:, None]
    truth[:, 2] = np.nan
    scores = [metric.value(truth, one, stratum, combine) for one in (guess, shifted)]
    assert scores[0] == pytest.approx(scores[1]) and scores[0] > 0.5


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_per_slide_and_pooled_are_by_name(name):
    """Slides of other sizes and levels count alike, or not at all."""
    of = getattr(scipy.stats, f"{name}r")
    rng = np.random.default_rng(3)
    slide = np.repeat(["a", "b", "c"], [5, 12, 30])
    level = np.array([0.0, 5.0, -3.0])[np.unique(slide, return_inverse=True)[1]]
    truth = rng.normal(size=(47, 4)) + level[:, None]
    guess = truth + rng.normal(size=truth.shape)
    fold = np.arange(47) % 2

    def value(metric):
        return metric.value(truth, guess, *metric.grouped(fold, slide, "within"))

    each = [
        [of(truth[rows, gene], guess[rows, gene])[0] for gene in range(4)]
        for rows in (slide == one for one in "abc")
    ]
    assert value(METRICS[f"{name}_per_slide"]) == pytest.approx(np.mean(each))
    whole = [of(*pair)[0] for pair in zip(truth.T, guess.T, strict=True)]
    assert value(METRICS[f"{name}_pooled"]) == pytest.approx(np.mean(whole))
    assert METRICS[name].grouped(fold, slide, "within")[0] is fold
