"""Anchors: what the objective does, plus the distance to where training started."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.losses import feature_distance
from pathjax.models.lora import LoRA
from pathjax.models.vit import ViT, normalise
from pathjax.objectives import Anchor, Spec, anchored
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.regression import Regression

ANCHOR = Anchor(weight=2.0, patches=0.5)


@pytest.mark.parametrize("devices", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_common(check_objective, vit, devices):
    """Padding, devices, gradients and export, as of any objective."""
    inner = Contrastive(widths=(16,), embed_dim=8).setup(Spec(vit, 12))
    objective = anchored(inner, ANCHOR)
    params, (extra, base) = check_objective(objective, devices)
    assert extra == {} and set(objective.export(params, (extra, base))) == set(params)
    for leaf, start in zip(
        jax.tree.leaves(params["vit"]), jax.tree.leaves(base), strict=True
    ):
        np.testing.assert_array_equal(leaf, start)


def test_without_weight_it_is_the_objective_itself(vit):
    objective = Regression().setup(Spec(vit, 12))
    assert anchored(objective, Anchor()) is objective


def features(vit, params, image):
    pixels = normalise(image.reshape(-1, *image.shape[2:]), vit.mean, vit.std)
    return ViT(vit).apply({"params": params}, pixels)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LoRA(rank=2)])
def test_the_loss_is_the_objectives_plus_the_weighted_distance(vit, batch, jit, lora):
    vit = vit.replace(lora=lora, drop_path=0.0)
    plain = Regression().setup(Spec(vit, 12, steps=11))
    objective = anchored(plain, ANCHOR)
    key = jax.random.key(0)
    params, extra = jit(objective.init)(key, batch)
    assert bool(extra[1]) == (lora is None)  # with adapters there is no second copy
    moved = jax.tree.map(
        lambda x: x + 0.03 * jnp.sin(jnp.arange(x.size)).reshape(x.shape), params
    )

    def both(params, extra, batch):
        one = batch_losses(plain, params, {}, batch, key, 5, True)
        return one, batch_losses(objective, params, extra, batch, key, 5, True)

    if lora:  # the start differs by the adapters alone
        for path, leaf in jax.tree_util.tree_leaves_with_path(moved["vit"]):
            if "lora" not in str(path):
                assert leaf is not None
        base, config = strip(moved["vit"]), vit.replace(lora=None)
    else:
        base, config = params["vit"], vit
    (values, _, _), (with_anchor, metrics, _) = jit(both)(moved, extra, batch)
    tuned, start = (
        features(vit, moved["vit"], batch["image"]),
        features(config, base, batch["image"]),
    )
    expected = feature_distance(tuned.pooled, start.pooled)
    expected += 0.5 * feature_distance(tuned.patches, start.patches).mean(-1)
    expected = np.asarray(expected).reshape(8, 3).mean(1) * np.asarray(batch["mask"])
    assert (expected[:6] > 1e-3).all()
    np.testing.assert_allclose(metrics["anchor"], expected, atol=1e-5)
    np.testing.assert_allclose(with_anchor, values + 2 * expected, atol=1e-4)


def strip(params):
    return {
        name: strip(leaf) if isinstance(leaf, dict) else leaf
        for name, leaf in params.items()
        if not name.startswith("lora_")
    }


def test_predictions_and_needs_are_the_objectives(vit, batch, jit):
    plain = Regression(loss="pearson").setup(Spec(vit, 12))
    objective = anchored(plain, ANCHOR)
    params, _ = jit(plain.init)(jax.random.key(0), batch)
    given = {"image": batch["image"], "mask": batch["mask"]}
    np.testing.assert_array_equal(
        jit(objective.predict)(params, given)["expression"],
        jit(plain.predict)(params, given)["expression"],
    )
    assert objective.requires == plain.requires
    assert objective.min_rows == 2 and objective.predicts_expression


def test_the_weight_is_linear_over_the_run():
    anchor = Anchor(weight=2.0, end=0.5)
    found = [float(anchor.weight_at(step, 11)) for step in (0, 5, 10, 20)]
    assert found == pytest.approx([2.0, 1.5, 1.0, 1.0])
    assert float(anchor.weight_at(5, 0)) == 2.0


def test_options_that_cannot_be():
    problems = Anchor(-1.0, float("nan"), "l1", float("inf")).problems()
    assert [p.split("=")[0] for p in problems] == [
        f"anchor.{name}" for name in ("weight", "patches", "end", "distance")
    ]
