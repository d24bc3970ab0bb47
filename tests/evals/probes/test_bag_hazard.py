"""The logistic hazard over bags; loops in NumPy, row by row, are the oracle."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from pathjax.evals.probes.bag_hazard import (
    BagHazard,
    hazard_loss,
    interval_ends,
    interval_labels,
    risk_and_curve,
)
from pathjax.evals.probes.base import FoldRows, Problem
from pathjax.evals.probes.cox import Cox
from pathjax.stats.survival import BRIER, C_INDEX, GRID

# Months and events: at an end, inside, censored at an end and inside, beyond all.
Y = np.array(
    [[10, 1], [7, 1], [10, 0], [15, 0], [20, 1], [35, 1], [50, 0], [2, 0]], float
)
ENDS = np.array([10.0, 20.0, 35.0])


def log_likelihood(hazard, y, ends):
    """Of one row, by its history."""
    total, start = 0.0, 0.0
    for h, end in zip(hazard, ends, strict=True):
        if y[1] and start < y[0] <= end:
            return total + np.log(h)
        if y[0] < end:
            return total  # censored inside: nothing is known of this interval
        total, start = total + np.log(1 - h), end
    return total


def test_the_loss_is_minus_the_log_likelihood():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (len(Y), 3)).astype(np.float32)
    weight = rng.random(len(Y)).astype(np.float32)
    found = hazard_loss(logits, *interval_labels(Y, ENDS), weight)
    each = [
        log_likelihood(row, y, ENDS)
        for row, y in zip(scipy.special.expit(logits.astype(float)), Y, strict=True)
    ]
    assert float(found) == pytest.approx(-weight @ each, rel=1e-5)


def test_of_one_hazard_for_all_the_best_is_events_over_at_risk():
    """The discrete Kaplan-Meier estimate (Kaplan & Meier 1958)."""
    at_risk, dies = interval_labels(Y, ENDS)
    assert at_risk.sum(axis=0).tolist() == [7, 3, 2]
    assert dies.sum(axis=0).tolist() == [2, 1, 1]
    weight = np.ones(len(Y), np.float32)

    def loss(logit):
        logits = np.tile(logit, (len(Y), 1)).astype(np.float32)
        return float(hazard_loss(logits, at_risk, dies, weight))

    best = scipy.optimize.minimize(loss, np.zeros(3), method="Nelder-Mead").x
    assert scipy.special.expit(best) == pytest.approx([2 / 7, 1 / 3, 1 / 2], abs=0.01)


def test_intervals_have_as_many_events_each():
    rng = np.random.default_rng(1)
    time = rng.exponential(30, 200)
    y = np.stack([time, rng.random(200) < 0.6], axis=1)
    ends = interval_ends(y, 4)
    _, dies = interval_labels(y, ends)
    assert len(ends) == 4 and ends[-1] == time[y[:, 1] > 0].max()
    assert np.ptp(dies.sum(axis=0)) <= 1 and dies.sum() == y[:, 1].sum()
    tied = np.array([[6.0, 1], [6, 1], [6, 1], [40, 1], [3, 0]])
    assert interval_ends(tied, 4).tolist() == [6, 40]


def test_curves_have_a_constant_hazard_within_intervals():
    logits = np.random.default_rng(2).normal(size=(2, 3, 3))
    found = risk_and_curve(logits, ENDS)
    for run in range(2):
        for row in range(3):
            after = np.cumprod(1 - scipy.special.expit(logits[run, row]))
            assert found[run, row, 0] == pytest.approx(-after.sum())
            log = np.log([1.0, *after])
            curve = np.exp(np.interp(GRID, [0.0, *ENDS], log))
            assert found[run, row, 1:] == pytest.approx(curve)
    at = np.flatnonzero(GRID == 30)[0]
    assert found[0, 0, 1 + at] > found[0, 0, 2 + at] > found[0, 0, -1]


def rows_of(count, name):
    ids = np.array([f"{name}{i}" for i in range(count)])
    place = np.arange(count)
    return FoldRows(place, place, np.zeros((count, 1), np.float32), *[ids] * 4)


def bags_of(count, seed, most=12, width=6):
    """One tile of each patient has its risk; padding is junk."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, (count, most, width)).astype(np.float32)
    risk = rng.normal(size=count)
    x[:, 0, 0], x[:, 0, 1] = 3.0, risk
    mask = np.arange(most) < rng.integers(6, most + 1, count)[:, None]
    x[~mask] = np.nan
    died, left = rng.exponential(25 * np.exp(-1.5 * risk)), rng.uniform(10, 90, count)
    y = np.stack([np.minimum(died, left), died <= left], axis=1)
    return x, mask, y


def as_numbers(bags):
    """All tiles, and numbers and masks of those of each bag."""
    start, parts = 0, []
    for _, mask in bags:
        parts.append((start + np.arange(mask.size).reshape(mask.shape), mask))
        start += mask.size
    return np.concatenate([x.reshape(-1, x.shape[2]) for x, _ in bags]), parts


def problem_of(sizes):
    """A problem of so many patients by role, and what is in their bags."""
    made = {role: bags_of(count, k) for k, (role, count) in enumerate(sizes.items())}
    rows = {role: rows_of(count, role) for role, count in sizes.items()}
    for role, (x, mask, _) in made.items():
        means = np.nanmean(np.where(mask[..., None], x, np.nan), axis=1)
        rows[role] = dataclasses.replace(rows[role], features=means)
    problem = Problem(
        rows,
        {role: part[2] for role, part in made.items()},
        names={role: role for role in sizes},
        bags=lambda parts, most: as_numbers(
            [made[rows.unit[0].rstrip("0")][:2] for rows in parts]
        ),
        survival=True,
    )
    return problem, made["test"][2]


@pytest.mark.slow
def test_the_one_tile_that_tells_is_found():
    problem, truth = problem_of({"fit": 96, "select": 48, "test": 64})
    fit = BagHazard(seeds=2, epochs=40).fit(problem)
    assert fit.prediction.shape == (2, 64, 1 + len(GRID))
    assert fit.info["chosen_by"] == "fold select: epoch"
    for run in fit.prediction:
        assert C_INDEX.value(truth, run) > 0.75
        assert BRIER.value(truth, run) < BRIER.chance(truth) - 0.03
    assert fit.prediction[0].tolist() != fit.prediction[1].tolist()


@pytest.mark.slow
def test_attention_against_the_mean_of_tiles():
    """The figures of docs/survival.md."""
    problem, truth = problem_of({"fit": 300, "select": 100, "test": 400})
    for probe in (Cox(seeds=1), BagHazard(seeds=3)):
        runs = probe.fit(problem).prediction
        c, brier = (
            np.mean([m.value(truth, r) for r in runs]) for m in (C_INDEX, BRIER)
        )
        print(f"{type(probe).__name__}: C {c:.3f}, Brier {brier:.3f}")
    assert c > 0.7
    print(f"true risk: C {C_INDEX.value(truth, oracle(400, 2)):.3f}")
    print(f"chance: Brier {BRIER.chance(truth):.3f}")


def oracle(count, seed):
    """The risk that the bags were made from, as a prediction."""
    x, _, _ = bags_of(count, seed)
    return np.pad(x[:, 0, 1:2], ((0, 0), (0, len(GRID))))
