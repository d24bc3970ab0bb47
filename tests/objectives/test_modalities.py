"""Three modalities, any of which a sample may lack: as if its terms were dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax import losses
from pathjax.objectives import ObjectiveError, Spec
from pathjax.objectives.contract import batch_losses
from pathjax.objectives.contrastive import Contrastive
from pathjax.parallel.mesh import make_mesh, to_global

TEXT, GENES, ROWS = 5, 12, 32
WEIGHTS = {"image_expression": 1.0, "image_text": 0.5, "expression_text": 0.25}
SMALL = {"embed_dim": 8, "widths": (16,), "text_width": 16, "dropout": 0.0}


def batch_of(text=0.5, expression=0.7, masked=3):
    """Rows that lack text or expression at random, NaN in place of it."""
    random = np.random.default_rng(0)
    mask = np.arange(ROWS) < ROWS - masked
    made = {
        "embedding": random.normal(size=(ROWS, 2, 24)).astype(np.float32),
        "expression": random.normal(size=(ROWS, GENES)).astype(np.float32),
        "text": random.normal(size=(ROWS, TEXT)).astype(np.float32),
        "has_text": random.random(ROWS) < text,
        "has_expression": random.random(ROWS) < expression,
        "mask": mask,
        "pair_id": (np.arange(ROWS) * 2 // 3).astype(np.int32),
    }
    for name in ("text", "expression"):
        made[name][~(made[f"has_{name}"] & mask)] = np.nan
    return made


def build(vit, **options):
    options = SMALL | WEIGHTS | options
    return Contrastive(**options).setup(Spec(vit, GENES, TEXT, cached=True))


def mean_loss(objective, batch, params, mesh=None):
    values, metrics, _ = batch_losses(
        objective, params, {}, batch, jax.random.key(0), 0, False, mesh
    )
    mask = batch["mask"]
    return jnp.where(mask, values, 0).sum() / mask.sum(), metrics


def by_hand(objective, batch, params, loss):
    """Each pair's loss on the rows that have both, which are all that it is given."""
    rows = {"image": batch["mask"]}
    for name in ("expression", "text"):
        rows[name] = batch["mask"] & batch[f"has_{name}"]
    total = 0.0
    for pair, weight in WEIGHTS.items():
        left, right = pair.split("_")
        both = np.flatnonzero(rows[left] & rows[right])
        some = {name: batch[name][both] for name in batch if "has_" not in name}
        # Of a modality that is not of this pair rows may be absent.
        some = {k: np.nan_to_num(v) for k, v in some.items()}
        z = objective.predict(params, some)
        name = "temperature" if pair == "image_expression" else f"temperature_{pair}"
        given = z[f"z_{left}"], z[f"z_{right}"]
        learned = params[name]
        where = some["mask"], some["pair_id"]
        if loss == "infonce":
            values = losses.info_nce(*given, learned["log_scale"], *where)
        else:
            values = losses.sigmoid_loss(
                *given, learned["log_scale"], learned["bias"], *where
            )
        total += weight * values.mean()
    return total


def close(found, expected, tolerance=1e-6):
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(largest, 1))


@pytest.fixture
def params(vit, jit):
    batch = batch_of()
    return jit(build(vit).init)(jax.random.key(0), batch)[0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_missing_is_dropping_terms_by_hand(vit, jit, loss):
    objective, batch = build(vit, loss=loss), batch_of()
    assert 10 < batch["has_text"].sum() < 22 < batch["has_expression"].sum() + 4
    params = jit(objective.init)(jax.random.key(0), batch)[0]

    def found(params):
        return mean_loss(objective, batch, params)[0]

    def expected(params):
        return by_hand(objective, batch, params, loss)

    value, gradient = jit(jax.value_and_grad(found))(params)
    other, by_terms = jit(jax.value_and_grad(expected))(params)
    assert value == pytest.approx(float(other), rel=1e-6)
    close(gradient, by_terms)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_the_value_is_numpys(vit, jit, params):
    """A loop over pairs in float64, on the embeddings alone."""
    objective, batch = build(vit), batch_of()
    clean = {k: np.nan_to_num(v) for k, v in batch.items() if "has_" not in k}
    z = {
        k: np.asarray(v, np.float64)
        for k, v in objective.predict(params, clean).items()
    }
    present = {n: batch["mask"] & batch[f"has_{n}"] for n in ("expression", "text")}
    present["image"] = batch["mask"]
    ids, scale, total = batch["pair_id"], 1 / 0.07, 0.0
    for pair, weight in WEIGHTS.items():
        left, right = pair.split("_")
        both = np.flatnonzero(present[left] & present[right])
        terms = []
        for a, b in ((left, right), (right, left)):
            s = scale * z[f"z_{a}"][both] @ z[f"z_{b}"][both].T
            log_p = s - scipy.special.logsumexp(s, axis=1, keepdims=True)
            same = ids[both][:, None] == ids[both][None]
            terms.append(-(log_p * same).sum(axis=1) / same.sum(axis=1))
        total += weight * np.mean(terms)
    value, metrics = mean_loss(objective, batch, params)
    assert float(value) == pytest.approx(total, rel=1e-6)
    values, rows = metrics["recall1_text_to_image"]
    assert rows.sum() == present["text"].sum() and not np.any(values[~rows])


@pytest.mark.parametrize("absent", ["text", "expression"])
def test_a_modality_without_a_row_adds_nothing(vit, jit, params, absent):
    objective, batch = build(vit), batch_of()
    batch[f"has_{absent}"][:] = False

    def total(params):
        return mean_loss(objective, batch, params)[0]

    value, gradient = jit(jax.value_and_grad(total))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for part in (absent, f"{absent}_head", "temperature_expression_text"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[part])), part
    other = "image_expression" if absent == "text" else "image_text"
    alone = build(vit, **dict.fromkeys(WEIGHTS, 0.0) | {other: WEIGHTS[other]})
    expected, _ = mean_loss(alone, batch, params)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


def test_nothing_at_all_is_zero(vit, jit, params):
    batch = batch_of(text=0.0, expression=0.0)
    run = jit(jax.value_and_grad(lambda p: mean_loss(build(vit), batch, p)[0]))
    value, gradient = run(params)
    assert float(value) == 0.0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_without_text_the_values_are_those_of_two_modalities(vit, jit, params):
    batch = batch_of(text=0.0, expression=1.0)
    three, _ = mean_loss(build(vit), batch, params)
    options = {k: v for k, v in SMALL.items() if k != "text_width"}
    two = Contrastive(**options).setup(Spec(vit, GENES, cached=True))
    batch = {k: batch[k] for k in two.requires}
    old, metrics = mean_loss(two, batch, params)
    assert float(old) == float(three)
    assert set(metrics) >= {"recall1_image", "recall1_expression", "temperature"}
    assert not any("text" in name for name in metrics)
    made, _ = jit(two.init)(jax.random.key(0), batch)
    for name, part in made.items():  # the same start, and no more parameters
        jax.tree.map(np.testing.assert_array_equal, part, params[name])


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [1, 4])
def test_over_devices_and_in_chunks(vit, jit, params, fsdp):
    mesh, batch = make_mesh(fsdp=fsdp), batch_of()

    def run(objective, mesh, batch):
        total = jit(
            jax.value_and_grad(
                lambda p, b: mean_loss(objective, b, p, mesh), has_aux=True
            )
        )
        return total(params, batch)

    expected = run(build(vit), None, batch)
    found = run(build(vit, chunk=16), mesh, to_global(batch, mesh))
    assert len(jax.tree.leaves(found[0][1])[0].sharding.device_set) == 8
    close(jax.device_get(found), jax.device_get(expected))


def test_weights(vit):
    with pytest.raises(ObjectiveError, match="image_text=-1"):
        build(vit, image_text=-1.0)
    nothing = dict.fromkeys(WEIGHTS, 0.0)
    with pytest.raises(ObjectiveError, match="one above 0"):
        build(vit, **nothing)
    assert (
        "temperature_expression_text"
        not in jax.eval_shape(
            build(vit, expression_text=0.0).init, jax.random.key(0), batch_of()
        )[0]
    )
