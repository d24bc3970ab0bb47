"""The contrastive objective: common behaviour, and what it is made of."""

import functools

import jax
import numpy as np
import pytest

from pathjax import losses
from pathjax.objectives import ObjectiveError, Spec
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.contrastive import Contrastive

SMALL = {"embed_dim": 8, "widths": (16, 16)}


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "infonce", "aggregator": "mean", "gene_dropout": 0.2},
        pytest.param(
            {"loss": "sigmoid", "aggregator": "attention", "projection_hidden": 16},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_common(check_objective, deep, options):
    objective = Contrastive(**SMALL, **options).setup(Spec(deep, 12))
    params, extra = check_objective(objective)
    assert extra == {} and set(objective.export(params, extra)) == set(params)
    assert ("aggregator" in params) == (options["aggregator"] == "attention")
    assert ("bias" in params["temperature"]) == (options["loss"] == "sigmoid")


@pytest.fixture
def plain(vit, batch, jit):
    objective = Contrastive(dropout=0.5, **SMALL).setup(Spec(vit, 12))
    return objective, jit(objective.init)(jax.random.key(0), batch)[0]


def test_loss_is_info_nce_of_what_is_predicted(plain, batch, jit):
    objective, params = plain
    found = jit(objective.predict)(params, batch)
    for z in found.values():
        assert z.shape == (8, 8)
        np.testing.assert_allclose(np.linalg.norm(z[:6], axis=1), 1, atol=1e-5)
    loss = jit(functools.partial(batch_losses, objective), static_argnums=5)
    values, metrics, _ = loss(params, {}, batch, jax.random.key(1), 0, False)
    expected = losses.info_nce(
        found["z_image"],
        found["z_expression"],
        params["temperature"]["log_scale"],
        batch["mask"],
        batch["pair_id"],
    )
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["temperature"], 0.07, rtol=1e-5)


def test_predict_needs_no_expression(plain, batch):
    objective, params = plain
    given = {"image": batch["image"], "mask": batch["mask"]}
    assert set(jax.eval_shape(objective.predict, params, given)) == {"z_image"}


def test_a_tile_mask_takes_tiles_out(vit, batch, jit):
    objective = Contrastive(aggregator="attention", **SMALL).setup(Spec(vit, 12))
    params, _ = jit(objective.init)(jax.random.key(0), batch)
    predict = jit(objective.predict)
    mask = np.zeros((8, 3), bool)
    mask[:, 0] = True
    masked = predict(params, {**batch, "tile_mask": mask})["z_image"]
    alone = predict(params, {**batch, "image": batch["image"][:, :1]})["z_image"]
    np.testing.assert_allclose(masked, alone, atol=1e-5)


def test_randomness_follows_key_and_step_and_only_in_training(plain, batch, jit):
    objective, params = plain
    run = jit(functools.partial(batch_losses, objective), static_argnums=5)

    def values(seed, step, train):
        key = jax.random.key(seed)
        return np.asarray(run(params, {}, batch, key, step, train)[0])

    np.testing.assert_array_equal(values(0, 1, True), values(0, 1, True))
    assert np.any(values(0, 1, True) != values(0, 2, True))
    assert np.any(values(0, 1, True) != values(1, 1, True))
    np.testing.assert_array_equal(values(0, 1, False), values(1, 2, False))


@pytest.mark.parametrize(
    ("options", "n_genes", "message"),
    [
        ({}, 0, r"needs gene expression: set data\.genes"),
        ({"loss": "clip"}, 12, "loss='clip': expected infonce or sigmoid"),
        ({"aggregator": "max"}, 12, "aggregator='max'"),
        ({"image_expression": 0.0}, 12, "expected one above 0"),
    ],
)
def test_what_cannot_be_built(vit, options, n_genes, message):
    with pytest.raises(ObjectiveError, match=message):
        Contrastive(**options).setup(Spec(vit, n_genes))
