"""What a contrastive step's numbers say is wrong: computed right, and said right."""

import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.objectives import Spec
from pathjax.objectives.contrastive import Contrastive


def step(vit, batch, zi, ze, log_scale):
    """The metrics of a step with these embeddings, and the concerns about them."""
    objective = Contrastive(embed_dim=zi.shape[1], widths=(8,))
    objective = objective.setup(Spec(vit, 12, cached=True))
    params = {"temperature": {"log_scale": jnp.float32(log_scale)}}
    rows = {"z_image": jnp.asarray(zi), "z_expression": jnp.asarray(ze)}
    _, metrics, _ = objective.compare(params, {}, rows, batch, 0)
    means = {name: float(np.asarray(one)[:6].mean()) for name, one in metrics.items()}
    return means, objective.concerns(means)


def unit(random, *shape):
    values = random.normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.slow
def test_a_healthy_step_has_no_concern(vit, batch):
    z = np.eye(8, dtype=np.float32)[np.asarray(batch["pair_id"])]
    means, concerns = step(vit, batch, z, z, np.log(20))
    assert concerns == {} and means["alignment"] == 0
    # Five groups at right angles; pairs of other groups are sqrt 2 apart.
    assert means["uniformity_image"] == pytest.approx(-4, abs=1e-5)
    eigenvalues = np.linalg.eigvalsh(np.cov(z[:6].T, bias=True))
    rank = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert means["rank_image"] == pytest.approx(rank, rel=1e-4)


def test_a_collapse_is_a_uniform_guess(vit, batch):
    one = np.tile(unit(np.random.default_rng(0), 1, 5), (8, 1))
    means, concerns = step(vit, batch, one, one, np.log(20))
    assert means["loss_to_guess"] == pytest.approx(1, abs=1e-5)
    assert means["rank_image"] == 0
    assert means["uniformity_image"] == pytest.approx(0, abs=1e-5)
    assert set(concerns) == {"guess", "collapse_image", "collapse_expression"}
    assert "100% of that of a uniform guess" in concerns["guess"]
    assert "objective.queue" in concerns["guess"]
    assert "effective rank 0.0 of 5" in concerns["collapse_image"]


def test_embeddings_on_a_line_have_rank_one(vit, batch):
    z = np.zeros((8, 4), np.float32)
    z[:, 0] = np.where(np.arange(8) % 2, 1, -1)
    means, concerns = step(vit, batch, z, z, np.log(2))
    assert means["rank_expression"] == pytest.approx(1, abs=1e-4)
    assert {"collapse_image", "collapse_expression"} <= set(concerns)


@pytest.mark.parametrize(("log_scale", "warned"), [(np.log(95), False), (9.0, True)])
def test_a_temperature_at_its_bound(vit, batch, log_scale, warned):
    z = unit(np.random.default_rng(1), 8, 6)
    means, concerns = step(vit, batch, z, z, log_scale)
    assert ("temperature" in concerns) == warned
    assert means["temperature"] == pytest.approx(0.01 if warned else 1 / 95, rel=1e-4)
