"""scikit-learn is the oracle of the logistic probe."""

import functools

import jax
import numpy as np
import pytest
from extras import extra

from pathjax.evals.folds import fold_weights
from pathjax.evals.probes.logistic import logistic_sweep

linear_model = extra("sklearn.linear_model")
preprocessing = extra("sklearn.preprocessing")

FINE = {"tolerance": 1e-6, "steps": 500}


def made(rows=240, width=10, classes=3, draw=1):
    """Clouds of one distribution; `draw` says which sample of it."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(draw)
    centres = fixed.normal(0, 1.0, (classes, width))
    scale = 10.0 ** fixed.integers(-2, 3, width)
    share = np.arange(1, classes + 1)
    y = rng.choice(classes, rows, p=share / share.sum())
    x = centres[y] + rng.normal(0, 1.5, (rows, width))
    return (x * scale + 3 * scale).astype(np.float32), y.astype(np.int32)


def oracle(x, y, weight, l2, query, balanced=False):
    """scikit-learn in float64 on standardised features; C = 1 / (l2 n)."""
    used = weight > 0
    x, query, weight = x.astype(np.float64), query.astype(np.float64), weight[used]
    scaler = preprocessing.StandardScaler().fit(x[used], sample_weight=weight)
    model = linear_model.LogisticRegression(
        C=1 / (float(l2) * float(weight.sum())),
        class_weight="balanced" if balanced else None,
        tol=1e-10,
        max_iter=20_000,
    )
    model.fit(scaler.transform(x[used]), y[used], sample_weight=weight)
    return model.predict_proba(scaler.transform(query))


def fit_each(x, y, weight, l2, query, classes=3, balanced=False, **options):
    """A sweep of P probe seeds with one fit each: P fits side by side."""
    weight = np.asarray(weight, np.float32)[:, None]
    return logistic_sweep(
        *(x, y, weight, weight, np.array([l2], np.float32), query),
        **{"classes": classes, "balanced": balanced, "final": 0, **FINE, **options},
    )


@pytest.mark.parametrize("classes", [2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_probabilities_equal_those_of_scikit_learn(classes):
    x, y = made(classes=classes)
    query, _ = made(rows=80, classes=classes, draw=2)
    for l2 in (1.0, 0.1, 0.01):
        weight = np.ones((1, len(x)))
        found = fit_each(x, y, weight, l2, query, classes).prediction[0]
        wanted = oracle(x, y, weight[0], l2, query)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        assert (found.argmax(1) == wanted.argmax(1)).all()


@pytest.mark.parametrize(
    "balanced", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_weighted_rows_count_as_often_as_they_weigh(balanced):
    x, y = made()
    rng = np.random.default_rng(1)
    # Each fit has weights of its own, fitted side by side.
    weight = rng.poisson(1.0, (4, len(x)))
    found = fit_each(x, y, weight, 0.05, x, balanced=balanced).prediction
    for place in range(4):
        repeated = np.repeat(np.arange(len(x)), weight[place])
        ones = np.ones(len(repeated))
        wanted = oracle(x[repeated], y[repeated], ones, 0.05, x, balanced)
        np.testing.assert_allclose(found[place], wanted, atol=2e-5)


def fit_one(x, y, weight, classes=3, **options):
    """The sweep and its probabilities, in a shape whose compile other tests share."""
    sweep = fit_each(x, y, np.tile(weight, (4, 1)), 0.1, x, classes, **options)
    return sweep, np.asarray(sweep.prediction[0])


@pytest.mark.parametrize(("classes", "balanced"), [(2, True), (3, False)])
def test_more_features_than_rows_give_the_same_probabilities(classes, balanced):
    x, y = made(rows=50, width=80, classes=classes)
    query, _ = made(rows=30, width=80, classes=classes, draw=2)
    weight = np.random.default_rng(0).integers(0, 3, (2, len(x)))
    found = fit_each(x, y, weight, 0.1, query, classes, balanced)
    for own, one in zip(weight, found.prediction, strict=True):
        wanted = oracle(x, y, own, 0.1, query, balanced)
        np.testing.assert_allclose(one, wanted, atol=2e-4)


def test_rows_of_weight_zero_change_nothing():
    x, y = made()
    weight = np.ones(len(x))
    weight[100:] = 0
    other = x.copy()
    other[100:] = 1e4 * np.random.default_rng(3).normal(size=other[100:].shape)
    first, second = (fit_one(one, y, weight)[1][:100] for one in (x, other))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_class_absent_from_a_fit_is_impossible_there():
    x, y = made()
    _, probability = fit_one(x, y, (y != 2).astype(float))
    assert probability[:, 2].max() == 0
    np.testing.assert_allclose(probability.sum(-1), 1, atol=1e-5)


def test_only_one_class_of_two_predicts_that_class():
    x, y = made(classes=2)
    _, probability = fit_one(x, y, (y == 1).astype(float), classes=2)
    np.testing.assert_allclose(probability[:, 1], 1)


def test_constant_feature_does_no_harm():
    x, y = made()
    x[:, 0] = 7.3
    _, constant = fit_one(x, y, np.ones(len(x)))
    x[:, 0] = 0
    _, empty = fit_one(x, y, np.ones(len(x)))
    np.testing.assert_allclose(constant, empty, atol=1e-4)


def test_sweep_chooses_as_a_loop_over_scikit_learn_does():
    x, y = made(rows=200)
    groups = np.arange(200) // 5
    strengths = np.array([10.0, 0.3, 0.03, 0.001], np.float32)
    plan = fold_weights(groups, np.zeros(200, bool), y, seeds=2, folds=3, seed=4)
    query, _ = made(rows=50, draw=3)
    sweep = logistic_sweep(
        x, y, plan.train, plan.val, strengths, query,
        classes=3, balanced=False, final=plan.final, **FINE,
    )  # fmt: skip
    for seed in range(2):
        losses = []
        for l2 in strengths:
            total = 0.0
            for fold in range(3):
                p = oracle(x, y, plan.train[seed, fold], l2, x)
                total -= plan.val[seed, fold] @ np.log(p[np.arange(200), y])
            losses.append(total / plan.val[seed].sum())
        np.testing.assert_allclose(sweep.loss[seed], losses, rtol=1e-4)
        best = int(np.argmin(losses))
        assert int(sweep.choice[seed]) == best
        wanted = oracle(x, y, plan.train[seed, plan.final], strengths[best], query)
        np.testing.assert_allclose(sweep.prediction[seed], wanted, atol=5e-5)


def test_padding_changes_nothing_and_same_shapes_compile_once():
    x, y = made(rows=200)
    none = np.zeros(200, bool)
    plan = fold_weights(np.arange(200) // 5, none, y, seeds=2, folds=3)
    strengths = np.array([1.0, 0.1, 0.02, 0.01], np.float32)
    options = {"classes": 3, "balanced": False, "final": plan.final, **FINE}
    query = x[:50]
    plain = logistic_sweep(x, y, plan.train, plan.val, strengths, query, **options)
    rows = ((0, 0), (0, 0), (0, 28))
    arguments = (
        np.pad(x, ((0, 28), (0, 0))),
        np.pad(y, (0, 28)),
        np.pad(plan.train, rows),
        np.pad(plan.val, rows),
        strengths,
    )
    padded = logistic_sweep(*arguments, query, **options)
    np.testing.assert_allclose(plain.prediction, padded.prediction, atol=2e-5)
    assert (np.asarray(plain.choice) == np.asarray(padded.choice)).all()
    compiled = logistic_sweep._cache_size()
    logistic_sweep(*arguments, query + 1, **options)
    assert logistic_sweep._cache_size() == compiled


def test_solver_stops_by_tolerance_and_reports_it():
    x, y = made()
    loose, _ = fit_one(x, y, np.ones(len(x)), tolerance=1e-2)
    fine, _ = fit_one(x, y, np.ones(len(x)))
    assert 0 < int(loose.steps[0]) < int(fine.steps[0])
    assert float(fine.gradient[0]) <= 1e-6 < float(loose.gradient[0])


def test_solver_stops_after_its_steps_also_under_an_outer_jit():
    x, y = made(rows=60)
    run = jax.jit(functools.partial(fit_each, weight=np.ones((1, 60)), l2=0.1,
                                    tolerance=0.0, steps=3))  # fmt: skip
    assert int(run(x, y, query=x).steps[0]) == 3
