"""scikit-learn is the oracle of ridge and k-NN; their memory by the compiler's account."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extras import extra

from pathjax.evals.folds import fold_weights
from pathjax.evals.probes.knn import knn_predict, knn_sweep
from pathjax.evals.probes.ridge import decompose, ridge_sweep
from pathjax.evals.probes.sweep import moments

linear_model = extra("sklearn.linear_model")
neighbors = extra("sklearn.neighbors")
preprocessing = extra("sklearn.preprocessing")


GRID = np.float32([0.1, 1e-3, 1e-5])


def made(rows=150, width=12, genes=6, seed=0):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-2, 3, width)
    x = rng.normal(size=(rows, width)) * scale + 5 * scale
    true = np.random.default_rng(99).normal(size=(width, genes))
    y = (x / scale - 5) @ true + rng.normal(0, 2.0, (rows, genes)) + 4
    return x.astype(np.float32), y.astype(np.float32)


def fit_one(x, y, weight, l2, query):
    """Predictions of a single ridge."""
    weight = np.asarray(weight, np.float32)[None, None]
    grid = np.array([l2], np.float32)
    return np.asarray(
        ridge_sweep(x, y, weight, weight, grid, query, final=0).prediction[0]
    )


def oracle(x, y, weight, strength, query):
    """scikit-learn's Ridge in float64, alpha = strength * sum of weights."""
    used = weight > 0
    x64 = x.astype(np.float64)
    scaler = preprocessing.StandardScaler().fit(x64[used], sample_weight=weight[used])
    model = linear_model.Ridge(alpha=strength * weight.sum(), solver="svd")
    model.fit(scaler.transform(x64[used]), y[used], sample_weight=weight[used])
    return model.predict(scaler.transform(query.astype(np.float64)))


def test_moments_are_weighted_and_a_constant_has_scale_one():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (50, 4)).astype(np.float32)
    x[:, 2] = 1e3
    weight = rng.poisson(1, 50).astype(np.float32)
    mean, scale = moments(jnp.asarray(x), jnp.asarray(weight))
    np.testing.assert_allclose(mean, np.average(x, axis=0, weights=weight), rtol=1e-5)
    repeated = np.repeat(x, weight.astype(int), axis=0)[:, [0, 1, 3]]
    np.testing.assert_allclose(np.asarray(scale)[[0, 1, 3]], repeated.std(0), rtol=1e-4)
    assert scale[2] == 1


# 5,000 rows are decomposed by tables of blocks.
@pytest.mark.parametrize(("rows", "width"), [(150, 12), (20, 40), (5000, 12)])
def test_ridge_equals_scikit_learn(rows, width):
    x, y = made(rows=rows, width=width)
    x[:, 1], x[:, 2] = 2 * x[:, 0], 7.0  # a direction without variance; a constant
    x[:, 3] = x[:, 4] * (1 + 1e-3 * np.random.default_rng(3).normal(size=rows))
    query, spread = x[:10] * 1.1, y.std(0).mean()
    for l2 in (100.0, 1.0, 0.01, 1e-3):
        wanted = oracle(x, y, np.ones(rows), l2, query)
        found = fit_one(x, y, np.ones(rows), l2, query)
        np.testing.assert_allclose(found / spread, wanted / spread, atol=1e-4)


def test_many_rows_are_decomposed_as_exactly_as_by_an_svd():
    """Axes of variances from 15 to 1e-8, where the table alone is 2e-4 off."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(3000, 8)) @ rng.normal(size=(8, 80))
    x = 3 * common + rng.normal(size=(3000, 80)) * np.logspace(0, -3, 80) + 2
    x = x.astype(np.float32)
    y = (x[:, :50] @ rng.normal(0, 0.1, (50, 5)) + common[:, :5]).astype(np.float32)
    fit = jax.jit(lambda x, y, weight: decompose(x, y, weight).predict(x[:100], GRID))
    found = np.asarray(fit(x, y, np.ones(3000, np.float32)))
    for one, l2 in zip(found, GRID, strict=True):
        wanted = oracle(x, y, np.ones(3000), l2, x[:100])
        np.testing.assert_allclose(one / y.std(), wanted / y.std(), atol=2e-5)


def test_ridge_weights_count_as_repetitions():
    x, y = made()
    weight = np.random.default_rng(2).poisson(1, len(x))
    repeated = np.repeat(np.arange(len(x)), weight)
    wanted = oracle(x[repeated], y[repeated], np.ones(len(repeated)), 0.1, x)
    found = fit_one(x, y, weight, 0.1, x)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * y.std() * 5)


@pytest.mark.parametrize("chosen_on", ["select fold", "patients"])
def test_ridge_sweep_chooses_as_a_loop_does(chosen_on):
    x, y = made(rows=120)
    select = (
        np.arange(120) % 4 == 0 if chosen_on == "select fold" else np.zeros(120, bool)
    )
    plan = fold_weights(np.arange(120) // 3, select, seeds=3, folds=4, seed=1)
    strengths = np.array([100.0, 1.0, 0.1, 0.01, 1e-4], np.float32)
    query = x[:17] + 0.5
    sweep = ridge_sweep(x, y, plan.train, plan.val, strengths, query, final=plan.final)
    for seed in range(3):
        final = plan.train[seed, plan.final]
        repeated = np.repeat(y, final.astype(int), axis=0)
        losses = np.zeros(len(strengths))
        for fold in range(plan.train.shape[1]):
            for place, one in enumerate(strengths):
                error = oracle(x, y, plan.train[seed, fold], one, x) - y
                error = ((error / repeated.std(0)) ** 2).mean(1)
                losses[place] += plan.val[seed, fold] @ error
        losses /= plan.val[seed].sum()
        np.testing.assert_allclose(sweep.loss[seed], losses, rtol=1e-3)
        best = int(losses.argmin())
        assert int(sweep.choice[seed]) == best
        wanted = oracle(x, y, final, strengths[best], query)
        np.testing.assert_allclose(sweep.prediction[seed], wanted, atol=2e-3)


def test_ridge_ignores_rows_without_weight_and_padding():
    x, y = made(rows=100)
    plan = fold_weights(np.arange(100), np.arange(100) % 5 == 0, seeds=2, folds=5)
    strengths = np.array([1.0, 0.1], np.float32)
    plain = ridge_sweep(x, y, plan.train, plan.val, strengths, x, final=0)
    rows = ((0, 0), (0, 0), (0, 28))
    padded = ridge_sweep(
        np.pad(x, ((0, 28), (0, 0)), constant_values=1e3),
        np.pad(y, ((0, 28), (0, 0)), constant_values=1e3),
        np.pad(plan.train, rows),
        np.pad(plan.val, rows),
        strengths,
        x,
        final=0,
    )
    np.testing.assert_allclose(plain.prediction, padded.prediction, atol=1e-3)
    np.testing.assert_allclose(plain.loss, padded.loss, rtol=1e-4)


def test_ridge_of_constant_targets_predicts_the_constant():
    x, y = made(rows=60)
    y[:, 0] = 2.5
    found = fit_one(x, y, np.ones(60), 0.1, x + 1)
    np.testing.assert_allclose(found[:, 0], 2.5, rtol=1e-5)


def clouds(rows, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(50).normal(0, 1, (classes, 8))
    y = rng.integers(0, classes, rows)
    return (centres[y] + rng.normal(0, 0.8, (rows, 8))).astype(np.float32), y


def predicted(x, y, weight, query, ks):
    """Shares `[S, Q, T]` by one fit."""
    ks = np.asarray(ks, np.int32)
    parts = x, y, weight[None], query, ks[None]
    return np.asarray(knn_predict(*parts, largest=int(ks.max()))[0])


def test_knn_shares_equal_scikit_learn_for_every_k():
    x, y = clouds(120)
    query, _ = clouds(40, seed=1)
    ks = np.array([30, 5, 1], np.int32)
    onehot = np.eye(3, dtype=np.float32)[y]
    found = predicted(x, onehot, np.ones(120, np.float32), query, ks)
    for place, k in enumerate(ks):
        model = neighbors.KNeighborsClassifier(
            int(k),
            metric="cosine",
            algorithm="brute",
            weights=lambda distance: np.exp((1 - distance) / 0.07),
        ).fit(x, y)
        np.testing.assert_allclose(found[place], model.predict_proba(query), atol=1e-4)


def test_knn_takes_no_row_without_weight_and_all_rows_for_a_large_k():
    x, y = clouds(60)
    onehot = np.eye(3, dtype=np.float32)[y]
    weight = np.ones(60, np.float32)
    weight[20:] = 0
    ks = np.array([50, 3], np.int32)
    found = predicted(x, onehot, weight, x, ks)
    alone = predicted(x[:20], onehot[:20], weight[:20], x, [20, 3])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_knn_pieces_of_the_query_do_not_matter():
    x, y = clouds(50)
    query, _ = clouds(600, seed=3)  # more than two pieces of 256, the last ragged
    onehot = np.eye(3, dtype=np.float32)[y]
    arguments = (x, onehot, np.ones(50, np.float32))
    whole = predicted(*arguments, query, [7])
    part = predicted(*arguments, query[500:520], [7])
    np.testing.assert_allclose(whole[:, 500:520], part, atol=1e-6)


@pytest.mark.parametrize("rows", [150, 256, 300])  # 256 are compared at once
def test_knn_sweep_chooses_the_smallest_brier_score(rows):
    x, y = clouds(rows)
    onehot = np.eye(3, dtype=np.float32)[y]
    plan = fold_weights(np.arange(rows) // 2, np.zeros(rows, bool), y, seeds=2, folds=3)
    ks = np.array([60, 10, 1], np.int32)
    sweep = knn_sweep(
        x, onehot, plan.train, plan.val, ks, x[:9], final=plan.final, largest=60
    )
    for seed in range(2):
        losses = np.zeros(3)
        for fold in range(3):
            share = predicted(x, onehot, plan.train[seed, fold], x, ks)
            brier = ((share - onehot[None]) ** 2).sum(-1)
            losses += brier @ plan.val[seed, fold]
        losses /= plan.val[seed].sum()
        np.testing.assert_allclose(sweep.loss[seed], losses, rtol=1e-4)
        assert int(sweep.choice[seed]) == losses.argmin()


@pytest.mark.parametrize(
    "sweep",
    [ridge_sweep, functools.partial(knn_sweep, largest=100)],
    ids=["ridge", "knn"],
)
def test_beside_the_embeddings_little_memory_is_needed(sweep):
    """Nine numbers or classes, a seed's two folds; a tenth is predicted."""
    rows, width = 100_000, 1_024

    def like(*shape):
        return jax.ShapeDtypeStruct(shape, np.int32 if shape == (6,) else np.float32)

    weights = like(1, 3, rows)
    memory = (
        jax.jit(functools.partial(sweep, final=2))
        .lower(
            *(like(rows, width), like(rows, 9), weights, weights),
            *(like(6), like(rows // 10, width)),
        )
        .compile()
        .memory_analysis()
    )
    query = 4 * width * rows // 10
    needed = memory.argument_size_in_bytes + memory.temp_size_in_bytes - query
    assert needed < 1.3 * 4 * rows * width
