"""Loops over pairs are the oracle; scikit-survival is, where it is installed."""

import numpy as np
import pytest

from pathjax.stats.interval import score_interval
from pathjax.stats.metric import StatisticsError
from pathjax.stats.metrics import METRICS
from pathjax.stats.survival import (
    AUC_TIME,
    BRIER,
    C_INDEX,
    C_INDEX_UNO,
    GRID,
    HORIZON,
    high_risk,
    kaplan_meier,
    log_rank,
)


def made(rows=60, seed=0, ties=True, follow_up=90.0):
    """Times with ties in months, risks with ties, S(t) at GRID."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=rows), 1)
    died = rng.exponential(40 * np.exp(-risk))
    left = rng.uniform(1, follow_up, rows)
    time = np.minimum(died, left)
    time = np.maximum(np.round(time), 1) if ties else time
    event = (died <= left).astype(float)
    alive = np.exp(-GRID[None, :] / (40 * np.exp(-risk))[:, None])
    truth = np.stack([time, event], axis=1)
    return truth, np.concatenate([risk[:, None], alive], axis=1)


def pairs(truth, risk, stratum):
    """Right and comparable pairs, one by one."""
    right = count = 0.0
    for i, (t, e) in enumerate(truth):
        for j, (u, f) in enumerate(truth):
            if not e or stratum[i] != stratum[j]:
                continue
            if u > t or (u == t and not f):
                count += 1
                right += 1.0 * (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
    return right, count


@pytest.mark.parametrize("seed", range(3))
def test_concordance_counts_pairs_inside_strata(seed):
    truth, prediction = made(seed=seed)
    stratum = np.arange(len(truth)) % 3
    for own in (np.zeros(len(truth), int), stratum):
        right, count = pairs(truth, prediction[:, 0], own)
        assert C_INDEX.value(truth, prediction, own) == pytest.approx(right / count)
    assert C_INDEX.value(truth, -prediction) == pytest.approx(
        1 - C_INDEX.value(truth, prediction)
    )


@pytest.mark.parametrize("metric", [C_INDEX, C_INDEX_UNO, AUC_TIME, BRIER])
def test_a_weight_of_two_is_the_row_twice_and_of_none_its_absence(metric):
    truth, prediction = made(rows=40, seed=3)
    stratum = np.arange(40) % 2
    counts = np.random.default_rng(0).integers(0, 3, 40)
    counts[np.argmax(truth[:, 0])] = 1  # the same follow-up
    weighted = metric.terms(truth, prediction, np.arange(40), stratum)
    (value,) = weighted.evaluate(counts[None])
    rows = np.repeat(np.arange(40), counts)
    wanted = metric.value(truth[rows], prediction[rows], stratum[rows])
    assert value == pytest.approx(wanted, abs=1e-12)


def test_without_censoring_all_scores_are_plain_ones():
    """Uno's C is Harrell's, the Brier score a mean square."""
    truth, prediction = made(seed=5, ties=False)
    truth[:, 1] = 1
    truth[:, 0] *= 50 / truth[:, 0].max()
    assert C_INDEX_UNO.value(truth, prediction) == pytest.approx(
        C_INDEX.value(truth, prediction)
    )
    grid = GRID[(truth[:, 0].min() <= GRID) & (truth[:, 0].max() > GRID)]
    alive = prediction[:, 1:][:, np.isin(GRID, grid)]
    each = ((alive - (truth[:, :1] > grid)) ** 2).mean(axis=0)
    wanted = np.trapezoid(each, grid) / np.ptp(grid)
    assert BRIER.value(truth, prediction) == pytest.approx(wanted)


def test_chance_levels_are_those_of_predictions_that_know_nothing():
    truth, prediction = made(rows=200, seed=7)
    same = np.zeros_like(prediction)
    for metric in (C_INDEX, C_INDEX_UNO, AUC_TIME):
        assert metric.value(truth, same) == metric.chance_level(truth) == 0.5
    assert BRIER.value(truth, prediction) < BRIER.chance_level(truth) < 0.25
    same[:, 1:] = 0.5
    assert BRIER.value(truth, same) > BRIER.chance_level(truth)


def test_kaplan_meier_and_log_rank_by_hand():
    """Six rows at risk; deaths at 1 and 3, where one is censored too."""
    time = np.array([1.0, 2.0, 3.0, 3.0, 4.0, 5.0])
    event = np.array([1, 0, 1, 0, 0, 1], bool)
    times, alive = kaplan_meier(time, event, np.ones((1, 6)))
    np.testing.assert_array_equal(times, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(alive[0], np.cumprod([5 / 6, 1, 3 / 4, 1, 0]))
    _, left = kaplan_meier(time, event, np.ones((1, 6)), censoring=True)
    np.testing.assert_allclose(left[0], np.cumprod([1, 4 / 5, 2 / 3, 1 / 2, 1]))
    assert np.isnan(log_rank(time, np.zeros(6, bool), time > 2))
    early = np.arange(40.0) < 20
    ones = np.ones(40, bool)
    assert log_rank(np.arange(1.0, 41), ones, early) < 1e-6
    assert log_rank(np.arange(1.0, 41), ones, np.arange(40) % 2 == 0) > 0.5


def test_halves_are_taken_inside_each_stratum():
    risk = np.array([1.0, 2, 3, 4, 101, 102, 103, 104])
    stratum = np.repeat([0, 1], 4)
    np.testing.assert_array_equal(high_risk(risk, stratum), [0, 0, 1, 1] * 2)


def test_intervals_are_within_what_can_occur_and_the_metrics_are_registered():
    truth, prediction = made(rows=80, seed=2)
    for name in ("c_index", "c_index_uno", "auc_time", "brier_integrated"):
        metric = METRICS[name]
        value = metric.value(truth, prediction)
        low, high = score_interval(metric, truth, [prediction], np.arange(80))
        assert 0 <= low < value < high <= 1
        assert high - low < 0.4


def test_what_has_no_comparable_pair_is_not_defined():
    truth, prediction = made()
    truth[:, 1] = 0
    with pytest.raises(StatisticsError, match="C-index is not defined"):
        C_INDEX.value(truth, prediction)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(4))
def test_all_scores_equal_scikit_survivals(seed):
    theirs = pytest.importorskip("sksurv.metrics")
    truth, prediction = made(rows=150, seed=seed, follow_up=(90.0, 40.0)[seed % 2])
    y = np.array([(e > 0, t) for t, e in truth], [("event", bool), ("time", float)])
    risk = prediction[:, 0]
    wanted = theirs.concordance_index_censored(y["event"], y["time"], risk)[0]
    assert C_INDEX.value(truth, prediction) == pytest.approx(wanted, abs=1e-6)
    wanted = theirs.concordance_index_ipcw(y, y, risk, tau=HORIZON)[0]
    assert C_INDEX_UNO.value(truth, prediction) == pytest.approx(wanted, abs=1e-6)
    inside = (y["time"].min() <= GRID) & (y["time"].max() > GRID)
    alive = prediction[:, 1:][:, inside]
    wanted = theirs.integrated_brier_score(y, y, alive, GRID[inside])
    assert BRIER.value(truth, prediction) == pytest.approx(wanted, abs=1e-6)
    wanted = theirs.cumulative_dynamic_auc(y, y, risk, GRID[inside])[1]
    assert AUC_TIME.value(truth, prediction) == pytest.approx(wanted, abs=1e-6)
    compare = pytest.importorskip("sksurv.compare").compare_survival
    group = high_risk(risk, np.zeros(150, int))
    p = log_rank(truth[:, 0], y["event"], group)
    assert p == pytest.approx(compare(y, group)[1], rel=1e-6)
