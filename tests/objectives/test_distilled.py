"""Self-distillation beside an objective: its loss plus DINO's, of the same encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.lora import LoRA
from pathjax.models.towers import DINOHead
from pathjax.models.vit import ViT, normalise
from pathjax.objectives import Anchor, SelfDistillation, Spec, anchored, distilled
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.regression import Regression

PART = SelfDistillation(weight=0.5, prototypes=16, hidden=20, bottleneck=8)


@pytest.mark.parametrize("devices", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_common(check_objective, vit, devices):
    """Padding, devices, gradients and export, as of any objective."""
    inner = Contrastive(widths=(16,), embed_dim=8, queue=5).setup(Spec(vit, 12, 0, 10))
    objective = distilled(inner, PART)
    params, extra = check_objective(objective, devices)
    assert set(objective.requires) - set(inner.requires) == {
        "crops_global",
        "crops_local",
    }
    kept = objective.export(params, extra)
    assert set(params) - set(kept) == {"self_distillation"}
    jax.tree.map(np.testing.assert_array_equal, extra[1]["teacher"]["vit"], kept["vit"])


def test_without_weight_it_is_the_objective_itself(vit):
    objective = Regression().setup(Spec(vit, 12))
    assert distilled(objective, SelfDistillation()) is objective


def logits(vit, params, head, crops):
    pixels = normalise(crops.reshape(-1, *crops.shape[2:]), vit.mean, vit.std)
    out = ViT(vit).apply({"params": params}, pixels)
    made = DINOHead(16, 20, 8).apply({"params": head}, out.pooled)
    return np.asarray(made, np.float64).reshape(*crops.shape[:2], -1)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LoRA(2)])
def test_the_loss_is_the_sum_of_all_parts(vit, batch, jit, lora):
    """An anchor's too; DINO's in NumPy, from the logits of student and teacher."""
    vit = vit.replace(lora=lora, drop_path=0.0)
    held = anchored(Regression().setup(Spec(vit, 12, steps=10)), Anchor(weight=2.0))
    objective = distilled(held, PART)
    key = jax.random.key(0)
    start, extra = jit(objective.init)(key, batch)
    moved = jax.tree.map(
        lambda x: x + 0.03 * jnp.sin(jnp.arange(x.size)).reshape(x.shape), start
    )

    def both(params, extra, batch):
        alone = batch_losses(held, params, extra[0], batch, key, 3, True)
        return alone, batch_losses(objective, params, extra, batch, key, 3, True)

    (alone, _, _), (values, logged, aux) = jit(both)(moved, extra, batch)
    crops = batch["crops_global"], batch["crops_local"]
    student = [
        logits(vit, moved["vit"], moved["self_distillation"], one) for one in crops
    ]
    teacher = logits(vit, start["vit"], start["self_distillation"], crops[0])
    q = scipy.special.softmax(teacher / 0.07, axis=-1)  # after 3 of 10 steps; centre 0
    log_p = scipy.special.log_softmax(np.concatenate(student, axis=1) / 0.1, axis=-1)
    pairs = -np.einsum("bvp,bsp->bvs", q, log_p)
    expected = np.mean(
        [pairs[:, v, s] for v in range(2) for s in range(5) if v != s], axis=0
    )
    np.testing.assert_allclose(logged["self_distillation"][:6], expected[:6], rtol=1e-4)
    np.testing.assert_allclose(
        values[:6], alone[:6] + 0.5 * expected[:6], rtol=1e-4, atol=1e-5
    )
    (_, base), after = objective.update_extra(extra, moved, aux, 3)
    assert bool(base) == (lora is None)  # the anchor's own state stays
    np.testing.assert_allclose(
        after["centre"], 0.1 * teacher[:6].mean(axis=(0, 1)), atol=1e-5
    )
    one, two, three = (
        jax.tree.leaves(tree["vit"]) for tree in (start, moved, after["teacher"])
    )
    for before, student, follows in zip(one, two, three, strict=True):
        close_to_start = np.abs(follows - before) <= np.abs(follows - student) + 1e-7
        assert close_to_start.all() and not np.array_equal(follows, before)


def test_a_batch_without_views_has_the_objectives_loss(vit, batch, jit):
    plain = Regression().setup(Spec(vit, 12, steps=10))
    objective, key = distilled(plain, PART), jax.random.key(0)
    params, extra = jit(objective.init)(key, batch)
    given = {name: rows for name, rows in batch.items() if "crops" not in name}
    run = jit(lambda *a: batch_losses(objective, *a, given, key, 0, False))
    found, logged, _ = run(params, extra)
    values, _, _ = jit(lambda p: batch_losses(plain, p, {}, given, key, 0, False))(
        params
    )
    np.testing.assert_array_equal(found, values)
    assert "self_distillation" not in logged


def test_options_that_cannot_be():
    problems = SelfDistillation(float("inf"), prototypes=1, momentum=1.5).problems()
    assert [p.split("=")[0] for p in problems] == [
        f"self_distillation.{name}" for name in ("prototypes", "momentum", "weight")
    ]
