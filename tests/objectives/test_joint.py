"""The joint objective: the weighted sum of its parts, each as it is alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.objectives import Anchor, ObjectiveError, Spec, anchored, build
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.joint import Joint
from pathjax.objectives.regression import Regression

SMALL = {"embed_dim": 8, "widths": (16,), "dropout": 0.0}
WEIGHTS = {"contrastive": 2.0, "regression": 0.5, "reconstruction": 0.25}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"regression_loss": "negative_binomial", "aggregator": "attention"},
        {"regression_loss": "pearson", "queue": 5, "soft_targets": 0.5},
    ],
)
def test_common(check_objective, vit, options):
    check_objective(Joint(**SMALL, **WEIGHTS, **options).setup(Spec(vit, 12)))


@pytest.fixture
def cached(vit, batch):
    """A batch of embeddings, so that tests need not compile an encoder."""
    random = np.random.default_rng(0)
    values = random.normal(size=(8, 3, vit.embed_dim)).astype(np.float32)
    rest = {
        name: rows for name, rows in batch.items() if name[:5] not in ("image", "crops")
    }
    return rest | {"embedding": jnp.asarray(values)}


VARIANCE = tuple(np.linspace(0.5, 3, 12))


@pytest.mark.parametrize(
    "loss", [pytest.param("mse", marks=pytest.mark.slow), "negative_binomial"]
)
def test_it_is_the_weighted_sum_of_its_parts(vit, cached, jit, loss):
    spec = Spec(vit, 12, cached=True, gene_variance=VARIANCE)
    joint = Joint(**SMALL, **WEIGHTS, regression_loss=loss, variance_power=0.5)
    joint = joint.setup(spec)
    contrastive = Contrastive(**SMALL).setup(spec)
    regression = Regression(loss=loss, variance_power=0.5).setup(spec)
    key = jax.random.key(0)

    def run(batch):
        params, extra = joint.init(key, batch)
        alone = batch_losses(contrastive, params, {}, batch, key, 0, False)
        genes = batch_losses(regression, params, {}, batch, key, 0, False)
        z = contrastive.predict(params, batch)
        decoder, decoded = {"head": params["decoder"]}, 0.0
        for name in ("z_image", "z_expression"):
            rows = regression.decode(decoder, z[name])
            decoded += 0.5 * regression.compare(decoder, {}, rows, batch, 0)[0]
        found = batch_losses(joint, params, extra, batch, key, 0, False)
        predicted = joint.predict(params, batch)
        expected = z | regression.predict(params, batch)
        return found, (alone, genes, decoded), (predicted, expected)

    (values, metrics, _), (alone, genes, decoded), outputs = jit(run)(cached)
    expected = 2.0 * alone[0] + 0.5 * genes[0] + 0.25 * decoded
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert (np.asarray(decoded)[:6] > 0.01).all() and not np.any(np.asarray(values)[6:])
    np.testing.assert_allclose(metrics["contrastive"], alone[0], rtol=1e-6)
    np.testing.assert_allclose(metrics["regression"], genes[0], rtol=1e-6)
    both = metrics["image_decoded"] + metrics["expression_decoded"]
    np.testing.assert_allclose(0.5 * both, decoded, rtol=1e-5)
    assert set(alone[1]) | set(genes[1]) <= set(metrics)
    assert set(outputs[0]) == {"z_image", "z_expression", "expression"}
    jax.tree.map(np.testing.assert_array_equal, *outputs)


def test_genes_weigh_as_their_variance(vit, cached, jit):
    spec = Spec(vit, 12, cached=True, gene_variance=VARIANCE)
    objective = Regression(variance_power=1.0).setup(spec)
    params, _ = jit(objective.init)(jax.random.key(0), cached)
    run = jit(functools.partial(batch_losses, objective), static_argnums=5)
    values, _, _ = run(params, {}, cached, jax.random.key(0), 0, False)
    error = objective.predict(params, cached)["expression"] - cached["expression"]
    expected = (np.square(error) * VARIANCE).sum(axis=1) / np.sum(VARIANCE)
    np.testing.assert_allclose(values[:6], expected[:6], rtol=1e-5)
    unknown = Regression(variance_power=1.0).setup(
        dataclasses.replace(spec, gene_variance=())
    )
    with pytest.raises(ObjectiveError, match="the variance of 12 genes, got 0"):
        batch_losses(unknown, params, {}, cached, jax.random.key(0), 0, False)


@pytest.mark.slow
def test_rows_without_expression_have_no_loss_of_genes(vit, cached, jit):
    spec = Spec(vit, 12, 5, cached=True)
    objective = Joint(**SMALL, regression=1.0, reconstruction=1.0).setup(spec)
    has = np.array([True, True, False, True, True, False, True, True])
    random = np.random.default_rng(1)
    given = cached | {
        "text": jnp.asarray(random.normal(size=(8, 5)).astype(np.float32)),
        "has_text": jnp.ones(8, bool),
        "has_expression": jnp.asarray(has),
    }
    params, _ = jit(objective.init)(jax.random.key(0), given)
    run = jit(functools.partial(batch_losses, objective), static_argnums=5)
    values, metrics, _ = run(params, {}, given, jax.random.key(0), 0, False)
    lost, rows = metrics["regression"]
    known = has & np.asarray(cached["mask"])
    np.testing.assert_array_equal(rows, known)
    assert (np.asarray(lost)[known] > 0).all() and not np.any(np.asarray(lost)[~known])
    spoilt = given | {
        "expression": jnp.where(known[:, None], given["expression"], jnp.nan)
    }
    again, _, _ = run(params, {}, spoilt, jax.random.key(0), 0, False)
    np.testing.assert_array_equal(values, again)


def test_needs_follow_the_loss(vit):
    joint = build("joint", Spec(vit, 12), regression_loss="negative_binomial")
    assert {"expression", "counts", "library", "pair_id"} <= set(joint.requires)
    assert joint.expression_scale == "log_counts" and joint.shares_space
    assert build("joint", Spec(vit, 12)).expression_scale == "z_score"
    only = build("joint", Spec(vit, 12), regression=0.0, reconstruction=1.0)
    assert not only.predicts_expression
    held = anchored(joint, Anchor(weight=1.0))
    assert held.needs_counts and held.requires == joint.requires


@pytest.mark.parametrize(
    ("options", "text", "message"),
    [
        ({"contrastive": 0.0}, 0, r"contrastive=0.0: .* objective.name=regression"),
        ({"regression": 0.0}, 0, "are 0: expected one above 0"),
        ({"reconstruction": -1.0}, 0, "reconstruction=-1.0: expected 0 or more"),
        ({"regression_loss": "mae"}, 0, "regression_loss='mae': expected one of mse"),
        ({"aggregator": "max"}, 0, "aggregator='max': expected mean or attention$"),
        ({"regression_loss": "negative_binomial"}, 5, "leave data.text empty"),
    ],
)
def test_what_cannot_be_built(vit, options, text, message):
    with pytest.raises(ObjectiveError, match=message):
        Joint(**options).setup(Spec(vit, 12, text))
