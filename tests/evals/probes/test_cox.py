"""Loops in float64 are the oracle; scikit-survival is, where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from pathjax.evals.folds import FoldWeights, fold_weights
from pathjax.evals.probes.cox import (
    Cox,
    cox_fits,
    cox_loss,
    held_out_rows,
    minimise_l1,
    running_sum,
)
from pathjax.stats.survival import GRID, concordance


def made(rows=120, width=6, seed=0, ties=True):
    """Features of several scales, months and events in order of time."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-1, 2, width)
    x = rng.normal(size=(rows, width))
    risk = x @ np.linspace(0.6, -0.4, width)
    died, left = rng.exponential(30 * np.exp(-risk)), rng.uniform(1, 90, rows)
    time = np.minimum(died, left)
    time = np.maximum(np.round(time / 4) * 4, 4) if ties else time
    y = np.stack([time, died <= left], axis=1).astype(float)
    order = np.lexsort([-y[:, 1], y[:, 0]])
    return (x * scale + 3 * scale)[order].astype(np.float32), y[order]


def first_of(time):
    return np.searchsorted(time, time).astype(np.int32)


def loop_loss(eta, y, weight):
    """Efron's mean negative log partial likelihood, time by time."""
    total = 0.0
    for time in np.unique(y[:, 0]):
        at_risk = (y[:, 0] >= time) & (weight > 0)
        dying = (y[:, 0] == time) & (y[:, 1] > 0) & (weight > 0)
        count = dying.sum()
        hazard = weight * np.exp(eta)
        total += (weight * eta)[dying].sum()
        for number in range(count):
            left = hazard[at_risk].sum() - number / count * hazard[dying].sum()
            total -= weight[dying].mean() * np.log(left)
    return -total / weight.sum()


def standardised(x, weight):
    mean = np.average(x.astype(float), axis=0, weights=weight)
    spread = np.average((x - mean) ** 2, axis=0, weights=weight) ** 0.5
    return (x - mean) / spread, spread


one_fit = jax.jit(cox_fits, static_argnames=("l1_ratio", "steps"))


def kernel_of(x, y, weight, penalty, **options):
    """Coefficients of the features as they are, of one fit."""
    one = np.asarray(weight, np.float32)[None, None]
    held, real = held_out_rows(one)
    fits = one_fit(
        *(x, y[:, 0].astype(np.float32), y[:, 1] > 0, first_of(y[:, 0])),
        *(held[:, :64], real[:, :64], np.array([penalty], np.float32), one, one),
        **options,
    )
    return np.asarray(fits[0][0, 0, 0])


def test_running_sums():
    x = np.random.default_rng(0).normal(size=200).astype(np.float32)
    np.testing.assert_allclose(running_sum(x), np.cumsum(x), atol=1e-5)


@pytest.mark.parametrize("ties", [True, False])
def test_the_likelihood_is_efrons_also_of_rows_that_count_twice_or_not(ties):
    _, y = made(ties=ties)
    rng = np.random.default_rng(1)
    eta = rng.normal(0, 2, len(y))
    first = first_of(y[:, 0])
    for weight in (np.ones(len(y)), rng.integers(0, 3, len(y)).astype(float)):
        got = cox_loss(jnp.asarray(eta), y[:, 1] > 0, first, jnp.asarray(weight))
        assert got == pytest.approx(loop_loss(eta, y, weight), rel=1e-5)


@pytest.mark.parametrize(
    ("penalty", "l1_ratio"),
    [
        (0.05, 0.0),
        (0.02, 0.5),
        pytest.param(0.04, 1, marks=pytest.mark.slow),
    ],
)
def test_coefficients_minimise_the_penalised_likelihood(penalty, l1_ratio):
    x, y = made()
    weight = np.random.default_rng(2).integers(0, 3, len(y)).astype(float)
    z, spread = standardised(x, weight)

    def loss(params):  # in parts above and below 0, so that it is smooth
        up, down = params[: x.shape[1]], params[x.shape[1] :]
        kernel = up - down
        return loop_loss(z @ kernel, y, weight) + penalty * (
            l1_ratio * (up + down).sum() + (1 - l1_ratio) / 2 * (kernel**2).sum()
        )

    start, bounds = np.zeros(2 * x.shape[1]), [(0, None)] * (2 * x.shape[1])
    best = scipy.optimize.minimize(
        loss, start, bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-8}
    ).x
    wanted = best[: x.shape[1]] - best[x.shape[1] :]
    options = {"l1_ratio": l1_ratio, "steps": 2000, "tolerance": 1e-5}
    got = kernel_of(x, y, weight, penalty, **options) * spread
    np.testing.assert_allclose(got, wanted, atol=2e-4)
    assert ((got == 0) == (np.abs(wanted) < 1e-5)).all()


def test_an_l1_penalty_alone_shrinks_to_known_values():
    aim = jnp.array([3.0, -0.5, 0.2])
    params, _, _ = minimise_l1(
        lambda at: jnp.sum((at - aim) ** 2) / 2, jnp.zeros(3), 0.4, 200, 1e-6
    )
    np.testing.assert_allclose(params, [2.6, -0.1, 0.0], atol=1e-5)


@pytest.mark.slow
def test_the_strength_is_the_one_of_the_best_concordance_of_held_out_rows():
    x, y = made(rows=90, ties=False)
    groups = np.arange(90)
    weights = fold_weights(groups, np.zeros(90, bool), seeds=2, folds=3)
    probe = Cox(penalty=(10.0, 0.3, 0.01), seeds=2, folds=3)
    shuffled = np.random.default_rng(3).permutation(90)
    sweep = probe.fit_arrays(
        x[shuffled],
        y[shuffled],
        FoldWeights(
            weights.train[:, :, shuffled], weights.val[:, :, shuffled], 3, folds=3
        ),
        x[:7],
    )
    wanted = []
    for penalty in probe.penalty:
        wrong = pairs = 0.0
        for fold in range(3):
            kernel = kernel_of(x, y, weights.train[0, fold], penalty)
            held = weights.val[0, fold] > 0
            ones = np.ones((1, held.sum()))
            risk = (x[held] @ kernel)[:, None]
            value = concordance(y[held], risk, ones)[0]
            comparable = (
                y[held, 1][:, None] * (y[held, 0] > y[held, 0][:, None])
            ).sum()
            wrong, pairs = wrong + (1 - value) * comparable, pairs + comparable
        wanted.append(wrong / pairs)
    np.testing.assert_allclose(sweep.loss[0], wanted, atol=2e-3)
    assert sweep.choice[0] == np.argmin(wanted)
    chosen = probe.penalty[int(sweep.choice[0])]
    kernel = kernel_of(x, y, np.ones(90), chosen)
    np.testing.assert_allclose(
        sweep.prediction[0, :, 0], (x[:7] - x.mean(axis=0)) @ kernel, atol=2e-3
    )
    # Breslow's curve, by hand.
    eta = (x - x.mean(axis=0)) @ kernel
    steps = [
        (t, e / np.exp(eta[y[:, 0] >= t]).sum())
        for t, e in zip(y[:, 0], y[:, 1], strict=True)
    ]
    hazard = np.array([sum(step for t, step in steps if t <= at) for at in GRID])
    curve = np.exp(-hazard[None] * np.exp((x[:7] - x.mean(axis=0)) @ kernel)[:, None])
    np.testing.assert_allclose(sweep.prediction[0, :, 1:], curve, atol=1e-3)


@pytest.mark.peer
@pytest.mark.parametrize("ties", [True, False])
def test_ridge_coefficients_equal_scikit_survivals(ties):
    linear = pytest.importorskip("sksurv.linear_model")
    x, y = made(rows=200, ties=ties)
    z, spread = standardised(x, np.ones(200))
    target = np.array([(e > 0, t) for t, e in y], [("e", bool), ("t", float)])
    for penalty in (1.0, 0.05, 0.001):
        model = linear.CoxPHSurvivalAnalysis(alpha=penalty * 200, ties="efron")
        wanted = model.fit(z, target).coef_
        got = kernel_of(x, y, np.ones(200), penalty, tolerance=1e-6) * spread
        np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.peer
def test_ridge_coefficients_of_more_features_than_rows_equal_scikit_survivals():
    linear = pytest.importorskip("sksurv.linear_model")
    x, y = made(rows=60, width=90)
    z, spread = standardised(x, np.ones(60))
    target = np.array([(e > 0, t) for t, e in y], [("e", bool), ("t", float)])
    for penalty in (1.0, 0.05):
        model = linear.CoxPHSurvivalAnalysis(alpha=penalty * 60, ties="efron")
        got = kernel_of(x, y, np.ones(60), penalty, tolerance=1e-6) * spread
        np.testing.assert_allclose(got, model.fit(z, target).coef_, atol=1e-4)


@pytest.mark.peer
def test_elastic_net_coefficients_equal_scikit_survivals():
    """Its coordinate descent has Breslow's ties, so there are none here."""
    linear = pytest.importorskip("sksurv.linear_model")
    x, y = made(rows=200, ties=False)
    z, spread = standardised(x, np.ones(200))
    target = np.array([(e > 0, t) for t, e in y], [("e", bool), ("t", float)])
    grid = [0.1, 0.03, 0.01]
    model = linear.CoxnetSurvivalAnalysis(alphas=grid, l1_ratio=0.5, tol=1e-12)
    model.fit(z, target)
    for place, penalty in enumerate(grid):
        options = {"l1_ratio": 0.5, "steps": 2000, "tolerance": 1e-6}
        got = kernel_of(x, y, np.ones(200), penalty, **options) * spread
        np.testing.assert_allclose(got, model.coef_[:, place], atol=1e-4)
