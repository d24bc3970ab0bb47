"""The autoencoder of expression: its loss against SciPy, and what holds for all losses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pathjax.data.study import StudyError
from pathjax.objectives import ObjectiveError, Spec
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.gene_vae import GeneVAE
from pathjax.train.accumulate import value_and_grad

VAE = GeneVAE(latent_dim=3, widths=(16,), covariate="site", kl=0.5)
KEY = jax.random.key(3)


@pytest.fixture
def given(batch):
    """Of each sample a third of the genes was not measured, and holds NaN."""
    known = np.random.default_rng(5).random((8, 12)) > 1 / 3
    hot = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1, 0, 0]]
    hot[2] = 0  # of a site that training had not
    hot[6:] = np.nan
    made = {k: batch[k] for k in ("expression", "counts", "library", "mask")}
    for name in ("expression", "counts"):
        made[name] = jnp.where(known, made[name], jnp.nan)
    return made | {"measured": jnp.asarray(known), "vectors": jnp.asarray(hot)}


@pytest.fixture
def objective(vit):
    resources = {"levels": ["a", "b"], "dimensions": 2}
    spec = Spec(vit, 12, steps=40, partial=True, resources=resources)
    return VAE.setup(spec)


@pytest.fixture
def params(objective, jit):
    return jit(lambda key: objective.init(key, {})[0])(KEY)


def test_needs(objective):
    assert set(objective.requires) == {
        *("mask", "counts", "library", "expression", "measured", "vectors")
    }


def test_the_loss_is_the_evidence_lower_bound(objective, params, given, jit):
    run = jit(functools.partial(batch_losses, objective), static_argnums=5)
    values, metrics, _ = run(params, {}, given, KEY, 0, False)
    known, rows = np.asarray(given["measured"])[:6], slice(6)
    genes = jnp.where(known, given["expression"][rows], 0)
    encoder, decoder = params["encoder"], params["decoder"]
    mean, log_var = objective.encoder.apply({"params": encoder}, genes)
    mean, log_var = np.asarray(mean, float), np.asarray(log_var, float)
    rate, log_alpha = objective.decoder.apply(
        {"params": decoder}, jnp.asarray(mean, jnp.float32), given["vectors"][rows]
    )
    mu = np.asarray(given["library"][rows], float)[:, None] * np.exp(rate)
    alpha = np.exp(np.asarray(log_alpha, float))[None]
    counts = np.where(known, given["counts"][rows], 0)
    log_p = scipy.stats.nbinom.logpmf(counts, 1 / alpha, 1 / (1 + alpha * mu))
    kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=1)
    expected = (-np.where(known, log_p, 0).sum(axis=1) + 0.5 * kl) / 12
    np.testing.assert_allclose(values[:6], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["kl"][:6], kl, rtol=1e-4)
    assert not np.any(np.asarray(values)[6:])


@pytest.mark.slow
def test_the_weight_of_the_divergence_rises(objective, params, given):
    def weight(step, train=True):
        made = objective.represent(params, {}, given, KEY, step, train)
        return float(made["kl_weight"][0])

    # Over the first quarter of 40 steps.
    assert [weight(step) for step in (0, 4, 9, 30)] == [
        pytest.approx(0.5 * share) for share in (0.1, 0.5, 1, 1)
    ]
    assert weight(0, train=False) == 0.5


@pytest.mark.slow
def test_rows_devices_and_parts(objective, params, given, jit):
    def gradient(batch, parts=1, train=True):
        def represent(params, rows, part):
            return objective.represent(params, {}, rows, KEY, 2, train)

        def compare(params, rows):
            values, metrics, _ = objective.compare(params, {}, rows, batch, 2)
            return jnp.where(batch["mask"], values, 0).sum() / 6, metrics

        return value_and_grad(represent, compare, params, batch, parts)

    run = jit(gradient, static_argnums=(1, 2))
    expected = run(given)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    # What padding holds, and what was not measured, does not matter.
    spoilt = {
        name: jnp.nan_to_num(rows, nan=1e9) if rows.dtype == jnp.float32 else rows
        for name, rows in given.items()
    }
    jax.tree.map(np.testing.assert_array_equal, run(spoilt), expected)
    assert run(given | {"counts": given["counts"] + 1})[0][0] != expected[0][0]
    # Eight devices, and parts of a batch, have the gradient of the whole.
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    divided = jax.device_put(given, NamedSharding(mesh, PartitionSpec("data")))
    whole = run(given, 1, False)
    for found, same in ((run(divided), expected), (run(given, 4, False), whole)):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(same), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * max(1, np.abs(b).max()))


def test_the_covariate_is_that_of_the_training_samples(tiny_study, vit):
    ids = tiny_study.samples["sample_id"].tolist()
    vae = GeneVAE(covariate="group")
    low = tiny_study.samples["group"] == "low"
    train = [one for one, is_low in zip(ids, low, strict=True) if is_low]
    resources = vae.read(tiny_study, train, None)
    assert resources == {"levels": ["low"], "dimensions": 1}
    vectors = vae.setup(Spec(vit, 5, resources=resources)).sample_vectors(tiny_study)
    np.testing.assert_array_equal(vectors.values[:, 0], low)
    with pytest.raises(StudyError, match=r"covariate='scanner': the samples of tiny"):
        dataclasses.replace(vae, covariate="scanner").read(tiny_study, train, None)


def test_what_is_said_and_refused(objective, vit):
    assert "divergence is 0.01 nats" in objective.concerns({"kl": 0.01})["collapse"]
    assert not objective.concerns({"kl": 5.0})
    options = {"latent_dim": 0, "widths": (), "kl": -1.0, "kl_warmup": 2.0}
    with pytest.raises(ObjectiveError) as error:
        GeneVAE(**options, dropout=1.0).setup(Spec(vit, 5, text_dim=3))
    for name in (*options, "dropout", "does not read text"):
        assert name in str(error.value)
