"""Genes that were not measured: no value there changes a loss or a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.objectives import ObjectiveError, Spec
from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.objective import Objective
from pathjax.objectives.regression import Regression
from pathjax.train.accumulate import value_and_grad

OBJECTIVES = {
    "mse": Regression(),
    "huber": Regression(loss="huber"),
    "pearson": Regression(loss="pearson"),
    "counts": Regression(loss="negative_binomial"),
    "contrastive": Contrastive(widths=(16,), embed_dim=8, dropout=0.0),
}


@pytest.fixture
def batch(batch):
    """Of each sample a third of the genes was not measured, and holds NaN."""
    known = np.random.default_rng(5).random((8, 12)) > 1 / 3
    known[:, :2] = True
    made = {
        name: jnp.where(known, batch[name], jnp.nan)
        for name in ("expression", "counts")
    }
    return batch | made | {"measured": jnp.asarray(known)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pearson", "contrastive"])
def test_common(check_objective, vit, name):
    """Padding, several devices and gradients, with NaN where nothing was measured."""
    objective = OBJECTIVES[name].setup(Spec(vit, 12, partial=True))
    assert "measured" in objective.requires
    check_objective(objective)


QUICK = ("pearson", "counts")


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in OBJECTIVES
    ],
)
def test_no_unmeasured_value_changes_loss_or_gradient(vit, batch, jit, name):
    objective = OBJECTIVES[name].setup(Spec(vit, 12, partial=True, cached=True))
    image = np.random.default_rng(0).normal(size=(8, 3, vit.embed_dim))
    given = {key: batch[key] for key in objective.requires if key != "embedding"}
    given["embedding"] = jnp.asarray(image, jnp.float32)
    params, _ = jit(objective.init)(jax.random.key(0), given)

    def gradient(batch, parts):
        def represent(params, rows, part):
            return objective.represent(params, {}, rows, jax.random.key(1), 0, False)

        def compare(params, rows):
            values, _, _ = objective.compare(params, {}, rows, batch, 0)
            return jnp.where(batch["mask"], values, 0).sum() / 6, None

        return value_and_grad(represent, compare, params, batch, parts)

    run = jit(gradient, static_argnums=1)

    def spoilt(value):
        return given | {
            key: jnp.where(given["measured"], given[key], value)
            for key in ("expression", "counts")
            if key in given
        }

    expected = run(spoilt(0.0), 1)
    assert np.isfinite(expected[0][0])
    for value in (np.nan, 1e9, -np.inf):
        jax.tree.map(np.testing.assert_array_equal, run(spoilt(value), 1), expected)
    # What was measured does matter, and a batch in parts is still one batch.
    moved = given | {
        key: given[key].at[0, 0].add(3.0)
        for key in ("expression", "counts")
        if key in given
    }
    assert run(moved, 1)[0][0] != expected[0][0]
    for a, b in zip(
        *(jax.tree.leaves(one) for one in (run(given, 4), expected)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, float(jnp.abs(b).max())))


def test_a_study_measured_whole_has_the_same_batch_as_before(vit):
    assert "measured" not in Regression().setup(Spec(vit, 12)).requires


def test_an_objective_that_ignores_what_was_measured_is_refused(vit):
    class Own(Objective):
        needs_genes = True

    with pytest.raises(ObjectiveError, match=r"every gene .* --genes-join inner"):
        Own().setup(Spec(vit, 12, partial=True))
