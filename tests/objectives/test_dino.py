"""DINO: common behaviour, schedules, the teacher, the centre, the frozen last layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.towers import DINOHead
from pathjax.objectives import ObjectiveError, Spec, dino
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.dino import DINO
from pathjax.parallel.mesh import make_mesh, replicated, to_global

SMALL = {"total_steps": 10, "prototypes": 16, "hidden": 20, "bottleneck": 8}


@pytest.fixture
def made(vit, batch, jit):
    """An objective with the parameters and extra state of its init."""

    def make(vit=vit, **options):
        objective = DINO(**{**SMALL, **options}).setup(Spec(vit))
        return objective, *jit(objective.init)(jax.random.key(0), batch)

    return make


def leaves(*trees):
    return zip(*map(jax.tree.leaves, trees), strict=True)


@pytest.mark.parametrize("devices", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_common(check_objective, vit, devices):
    objective = DINO(**SMALL).setup(Spec(vit))
    params, extra = check_objective(objective, devices)
    assert objective.predict(params, {}) == {}
    assert set(objective.export(params, extra)) == {"vit"}


def test_momentum_is_a_cosine_from_start_to_one():
    found = [float(dino.momentum_at(s, 100, 0.996)) for s in (0, 50, 100, 150)]
    assert found == pytest.approx([0.996, 0.998, 1.0, 1.0], abs=1e-6)


def test_teacher_temperature_warms_up():
    found = [float(dino.temperature_at(s, 0.04, 0.07, 30)) for s in (0, 15, 30, 99)]
    assert found == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert float(dino.temperature_at(0, 0.04, 0.07, 0)) == pytest.approx(0.04)
    assert float(dino.temperature_at(1, 0.04, 0.07, 0)) == pytest.approx(0.07)


def test_teacher_is_a_copy_that_can_be_donated_with_the_student(made):
    _, params, extra = made()
    for mine, theirs in leaves(params, extra["teacher"]):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.unsafe_buffer_pointer() != theirs.unsafe_buffer_pointer()
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    jax.block_until_ready(step((params, extra)))


@pytest.mark.slow
def test_update_moves_teacher_and_centre(made):
    objective, params, extra = made()
    student = jax.tree.map(lambda leaf: leaf + 1, params)
    aux = {"sum": jnp.arange(16.0) * 4, "count": jnp.float32(4)}
    new = jax.jit(objective.update_extra)(extra, student, aux, 5)
    share = 1 - float(dino.momentum_at(5, 10, 0.996))
    for after, before in leaves(new["teacher"], extra["teacher"]):
        np.testing.assert_allclose(after, np.asarray(before) + share, atol=1e-6)
    np.testing.assert_allclose(new["centre"], 0.1 * np.arange(16.0), rtol=1e-5)
    # A batch of padding moves no centre.
    nothing = {"sum": jnp.zeros(16), "count": jnp.float32(0)}
    still = objective.update_extra(new, student, nothing, 5)
    np.testing.assert_array_equal(still["centre"], new["centre"])


@pytest.mark.slow
def test_centre_is_of_the_teachers_logits_over_unmasked_rows(made, batch, jit, deep):
    objective, params, extra = made(deep)
    loss = jit(functools.partial(batch_losses, objective), static_argnums=5)
    _, _, aux = loss(params, extra, batch, jax.random.key(1), 0, True)
    assert aux["count"] == 6 * 2
    tiles = batch["crops_global"][:6].reshape(12, 16, 16, 3)
    embedded = jit(objective.encode)(extra["teacher"], tiles)
    head = DINOHead(16, 20, 8)
    logits = head.apply({"params": extra["teacher"]["head"]}, embedded)
    np.testing.assert_allclose(aux["sum"], logits.sum(axis=0), atol=1e-4)
    assert np.abs(logits).max() <= 1 + 1e-5  # cosines


def test_export_is_the_teacher(made):
    objective, params, extra = made()
    other = jax.tree.map(jnp.zeros_like, params)
    exported = objective.export(other, extra)
    for found, expected in leaves(exported["vit"], extra["teacher"]["vit"]):
        np.testing.assert_array_equal(found, expected)


def test_reset_lets_the_teacher_follow_replaced_parameters(made):
    objective, params, extra = made()
    given = jax.tree.map(lambda leaf: leaf + 1, params)
    new = objective.reset_extra(given, extra)
    for found, expected in leaves(new["teacher"], given):
        np.testing.assert_array_equal(found, expected)
        assert found.unsafe_buffer_pointer() != expected.unsafe_buffer_pointer()


@pytest.mark.slow
def test_prototypes_are_held_for_the_first_steps(made, batch, jit):
    objective, params, extra = made(freeze_last_steps=2)

    def total(params, step):
        key = jax.random.key(1)
        return batch_losses(objective, params, extra, batch, key, step, True)[0].sum()

    gradient = jit(jax.grad(total))
    for step, moves in ((1, False), (2, True)):
        by = gradient(params, step)["head"]
        assert bool(np.any(by["prototypes"])) == moves
        assert np.any(by["fc3"]["kernel"])


def test_length_of_prototypes_does_not_matter():
    head = DINOHead(16, 20, 8)
    x = np.random.default_rng(0).normal(size=(4, 24)).astype(np.float32)
    params = head.init(jax.random.key(0), x)["params"]
    longer = {**params, "prototypes": 7 * params["prototypes"]}
    outs = [head.apply({"params": p}, x) for p in (params, longer)]
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_built(vit):
    with pytest.raises(ObjectiveError, match=r"prototypes=1.*momentum=1\.5"):
        DINO(prototypes=1, momentum=1.5).setup(Spec(vit, steps=10))
    with pytest.raises(ObjectiveError, match="cannot learn from cached embeddings"):
        DINO(**SMALL).setup(Spec(vit, cached=True))
    with pytest.raises(ObjectiveError, match="total_steps is unknown"):
        DINO().setup(Spec(vit))


def test_schedules_follow_the_run(vit):
    ready = DINO().setup(Spec(vit, steps=100))
    assert (ready.total_steps, ready.warmup_steps) == (100, 30)


@pytest.mark.parametrize("fsdp", [1, 4])
def test_centre_and_statistics_are_global(vit, jit, fsdp):
    """Rows over eight devices, some masked: NumPy's numbers of the whole batch."""
    random = np.random.default_rng(0)
    student = random.normal(size=(16, 3, 16)).astype(np.float32)
    teacher = random.normal(size=(16, 2, 16)).astype(np.float32)
    centre = random.normal(size=16).astype(np.float32)
    # Devices with no row, with one and with both.
    mask = np.arange(16) % 3 < 2
    mask[4:6] = False
    teacher[~mask] = np.nan
    objective = DINO(**SMALL, centre_momentum=0.8).setup(Spec(vit))
    mesh = make_mesh(fsdp=fsdp)
    given = to_global({"student": student, "teacher": teacher, "mask": mask}, mesh)

    def run(given, centre):
        extra = {"centre": centre, "teacher": {}}
        mask = {"mask": given["mask"]}
        values, metrics, aux = objective.compare({}, extra, given, mask, 9, mesh)
        return values, metrics, objective.update_extra(extra, {}, aux, 9)["centre"]

    values, metrics, found = jit(run)(given, jax.device_put(centre, replicated(mesh)))
    kept = teacher[mask].astype(np.float64)
    mean = kept.mean(axis=(0, 1))
    np.testing.assert_allclose(found, 0.8 * centre + 0.2 * mean, rtol=1e-5)
    q = scipy.special.softmax((kept - centre) / 0.07, axis=-1)
    entropy = -(q * np.log(q)).sum(axis=-1).mean(axis=1)
    np.testing.assert_allclose(
        metrics["teacher_entropy"][mask], entropy, rtol=1e-4, atol=1e-6
    )
    log_p = scipy.special.log_softmax(student[mask].astype(np.float64) / 0.1, axis=-1)
    pairs = -np.einsum("bvp,bsp->bvs", q, log_p)
    expected = [pairs[:, v, s] for v in range(2) for s in range(3) if v != s]
    np.testing.assert_allclose(values[mask], np.mean(expected, axis=0), rtol=1e-4)
    assert not np.any(values[~mask])
