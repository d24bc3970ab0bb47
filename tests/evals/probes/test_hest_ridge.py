"""scikit-learn's scaler, PCA and ridge, and scipy's Pearson r, as HEST calls them."""

import numpy as np
import pandas as pd
import pytest
from extras import extra
from scipy.stats import pearsonr

from pathjax.data.images import decode_tile
from pathjax.datasets.her2st.build import build_her2st
from pathjax.evals.probes.hest_ridge import hest_alpha, hest_choice, hest_ridge
from pathjax.stats.metrics import mean_pearson

decomposition = extra("sklearn.decomposition")
linear_model = extra("sklearn.linear_model")
pipeline = extra("sklearn.pipeline")
preprocessing = extra("sklearn.preprocessing")

GENES = 50


def made(rows, width, draw):
    """Correlated features of many scales, one constant; counts that follow some."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(draw)
    mix = fixed.normal(size=(40, width)) * 10.0 ** fixed.uniform(-2, 2, width)
    slope = fixed.normal(0, 0.3, (40, GENES))
    hidden = rng.normal(size=(rows, 40))
    noise = rng.normal(0, 0.3, (rows, width)) * np.abs(mix).mean(axis=0)
    x = hidden @ mix + noise
    x[:, 3] = 7.0
    counts = rng.poisson(np.exp(hidden @ slope))
    return x.astype(np.float32), np.log1p(counts).astype(np.float32)


def thumbnail(data):
    tile = decode_tile(data)
    side = len(tile) // 16
    blocks = tile[: 16 * side, : 16 * side].reshape(16, side, 16, side, 3)
    return blocks.mean(axis=(1, 3)).ravel().astype(np.float32)


def scikit_learn(x, y, query, components, alpha=None):
    x, y, query = (part.astype(np.float64) for part in (x, y, query))
    alpha = 100 / (components * y.shape[1]) if alpha is None else alpha
    return (
        pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            decomposition.PCA(components, svd_solver="full"),
            linear_model.Ridge(alpha=alpha, fit_intercept=False),
        )
        .fit(x, y)
        .predict(query)
    )


def as_in_hest(x, y, query):
    alpha = hest_alpha(256, *x.shape, y.shape[1])
    return np.asarray(hest_ridge(x, y, query, np.float32([alpha])))[0]


@pytest.mark.parametrize(
    ("rows", "width", "components"),
    [(300, 270, 256), (300, 20, 20), (80, 270, 79)],
    ids=["256 components", "few features", "few rows"],
)
def test_predictions_and_r_are_those_of_scikit_learn(rows, width, components):
    (x, y), (query, truth) = made(rows, width, 1), made(200, width, 2)
    wanted = scikit_learn(x, y, query, components)
    found = as_in_hest(x, y, query)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    r = np.mean([pearsonr(truth[:, g], wanted[:, g])[0] for g in range(GENES)])
    assert mean_pearson(truth, found) == pytest.approx(r, abs=1e-5) and r > 0.3


def test_the_alpha_is_chosen_as_scikit_learn_would_with_the_same_folds():
    (x, y), alphas = made(120, 30, 1), np.float32([1e4, 100, 1, 0.01])
    fold = np.arange(120) % 3
    hold = (fold[None] == np.arange(3)[:, None]).astype(np.float32)
    found = np.asarray(hest_choice(x, y, 1 - hold, hold, alphas, components=20))
    wanted = np.zeros(4)
    for one in range(3):
        fit, out = fold != one, fold == one
        for place, alpha in enumerate(alphas):
            guess = scikit_learn(x[fit], y[fit], x[out], 20, alpha) + y[fit].mean(
                axis=0
            )
            wanted[place] += ((guess - y[out]) ** 2).mean(axis=1).sum() / 120
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert found.argmin() not in (0, 3)


def test_rows_of_weight_zero_do_not_count():
    (x, y), (query, _) = made(60, 30, 1), made(20, 30, 2)
    weight = np.float32([1] * 40 + [0] * 20)
    alpha = np.float32([3.0])
    found = hest_ridge(x, y, query, alpha, weight, components=0)
    wanted = hest_ridge(x[:40], y[:40], query, alpha, components=0)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_r_is_that_of_scikit_learn_on_real_spots(real_data, tmp_path):
    """her2st, C2 to C4 to C5, 768 numbers of a tile (16 x 16 means), 50 genes."""
    expression, folds = {}, {}
    study = build_her2st(real_data / "her2st", tmp_path / "out")
    adata = study.expression()
    rows = pd.Index(study.tiles["sample_id"]).get_indexer(adata.obs_names)
    x = np.stack([thumbnail(one) for one in study.tile_bytes(rows)])
    counts = np.log1p(adata.layers["counts"].toarray())
    for fold in ("train", "new_section"):
        folds[fold] = study.fold_samples("c_sections", fold)
        expression[fold] = counts[folds[fold]]
    genes = np.argsort(-expression["train"].var(axis=0), kind="stable")[:GENES]
    y, truth = (expression[fold][:, genes] for fold in ("train", "new_section"))
    data = x[folds["train"]], y, x[folds["new_section"]]
    wanted = mean_pearson(truth, scikit_learn(*data, 256))
    found = mean_pearson(truth, as_in_hest(*data))
    as_hest = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        decomposition.PCA(256, random_state=1),
        linear_model.Ridge(
            alpha=100 / (256 * GENES), fit_intercept=False, solver="lsqr", max_iter=1000
        ),
    )
    drawn = mean_pearson(truth, as_hest.fit(*data[:2]).predict(data[2]))
    print(
        f"r = {wanted:.5f}, ours {found:.5f}, with scikit-learn's choices {drawn:.5f}"
    )
    assert found == pytest.approx(wanted, abs=1e-4)
    assert found == pytest.approx(drawn, abs=0.02)
