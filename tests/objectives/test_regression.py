"""The regression objective: common behaviour under each loss, and its predictions."""

import jax
import numpy as np
import pytest
import scipy.stats

from pathjax.objectives import ObjectiveError, Spec
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.regression import Regression


@pytest.mark.parametrize(
    ("loss", "aggregator", "devices"),
    [
        pytest.param("huber", "mean", False, marks=pytest.mark.slow),
        ("pearson", "mean", True),
        ("negative_binomial", "attention", False),
        pytest.param("huber", "mean", True, marks=pytest.mark.slow),
        pytest.param("negative_binomial", "attention", True, marks=pytest.mark.slow),
    ],
)
def test_common(check_objective, vit, loss, aggregator, devices):
    objective = Regression(loss=loss, aggregator=aggregator).setup(Spec(vit, 12))
    params, extra = check_objective(objective, devices)
    assert extra == {} and set(objective.export(params, extra)) == set(params)


def run(objective, batch, jit):
    """Values, metrics and predictions of the unmasked rows."""
    params, _ = jit(objective.init)(jax.random.key(0), batch)

    def both(params, batch):
        key = jax.random.key(1)
        values, metrics, _ = batch_losses(objective, params, {}, batch, key, 0, False)
        return values, metrics, objective.predict(params, batch)["expression"]

    found = jit(both)(params, batch)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:6], found)


def test_mse_and_batch_pearson_are_those_of_the_prediction(vit, batch, jit):
    values, metrics, predicted = run(Regression().setup(Spec(vit, 12)), batch, jit)
    target = np.asarray(batch["expression"])[:6]
    expected = ((predicted - target) ** 2).mean(axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_array_equal(metrics["mse"], values)
    r = [scipy.stats.pearsonr(predicted[:, g], target[:, g])[0] for g in range(12)]
    assert metrics["pearson_batch"].mean() == pytest.approx(np.mean(r), abs=5e-3)


def test_negative_binomial_is_scipys_with_library_as_exposure(vit, batch, jit):
    objective = Regression(loss="negative_binomial").setup(Spec(vit, 12))
    assert set(objective.requires) == {"image", "mask", "counts", "library"}
    values, _, logged = run(objective, batch, jit)
    rate = np.expm1(logged.astype(np.float64)) / 1e4  # log1p(counts per 10,000)
    counts, library = (np.asarray(batch[k])[:6] for k in ("counts", "library"))
    mu = rate * library[:, None]
    assert mu.mean() == pytest.approx(counts.mean(), rel=0.3)  # an even share each
    expected = -scipy.stats.nbinom(1, 1 / (1 + mu)).logpmf(counts).mean(axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "n_genes", "message"),
    [
        ({}, 0, r"set data\.genes"),
        ({"loss": "mae"}, 12, "loss='mae': expected one of mse, huber, pearson"),
        ({"aggregator": "max"}, 12, "aggregator='max'"),
    ],
)
def test_what_cannot_be_built(vit, options, n_genes, message):
    with pytest.raises(ObjectiveError, match=message):
        Regression(**options).setup(Spec(vit, n_genes))
