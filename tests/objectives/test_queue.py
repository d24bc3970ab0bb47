"""The queue of negatives: what enters, in which order, and that it only adds negatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.losses import Rows
from pathjax.objectives import Spec
from pathjax.objectives import queue as queues
from pathjax.objectives.contrastive import Contrastive


def sides(values, mask):
    z = jnp.asarray(values, jnp.float32)[:, None]
    rows = Rows(z, jnp.asarray(mask), jnp.asarray(values, jnp.int32))
    return {"image": rows, "expression": rows}


def test_the_newest_rows_come_first_and_padding_never_enters():
    queue = queues.empty(5, ("image", "expression"), 1)
    for values, mask in (
        ([1, 2, 9], [1, 1, 0]),
        ([9, 3, 4], [0, 1, 1]),
        ([5, 6, 9], [1, 1, 0]),
    ):
        mask = np.array(mask, bool)
        queue = queues.pushed(queue, sides(values, mask), jnp.asarray(mask))
    assert queue["pair_id"].tolist() == [5, 6, 3, 4, 1]
    rows = queues.rows_of(queue)["image"]
    assert rows.z[:, 0].tolist() == [5, 6, 3, 4, 1] and bool(rows.mask.all())
    # A batch larger than the queue fills it.
    mask = np.ones(7, bool)
    queue = queues.pushed(queue, sides(range(7), mask), jnp.asarray(mask))
    assert queue["pair_id"].tolist() == [0, 1, 2, 3, 4]


def unit(random, *shape):
    values = random.normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_the_loss_has_the_queues_rows_as_negatives(vit, batch, jit, loss):
    """Against the loss written as loops in float64; own samples in the queue are left out."""
    objective = Contrastive(embed_dim=4, widths=(8,), queue=6, loss=loss)
    objective = objective.setup(Spec(vit, 12, cached=True))
    random = np.random.default_rng(3)
    zi, ze, qi, qe = (unit(random, n, 4) for n in (8, 8, 6, 6))
    mask, ids = np.asarray(batch["mask"]), np.asarray(batch["pair_id"])
    queued, held = np.array([3, 9, 8, 7, 1, 9], np.int32), np.arange(6) < 5
    queue = {
        "z": {"image": qi, "expression": qe},
        "mask": {"image": held, "expression": held},
        "pair_id": queued,
    }
    scale, bias = np.log(7.0), -1.5 if loss == "sigmoid" else 0.0
    params = {"temperature": {"log_scale": np.float32(scale)}}
    if loss == "sigmoid":
        params["temperature"]["bias"] = np.float32(bias)
    rows = {"z_image": zi, "z_expression": ze, "trained": np.zeros(8, np.float32)}
    compare = jit(objective.compare)
    values, metrics, aux = compare(params, {"queue": queue}, rows, batch, 0)

    expected = np.zeros(8)
    for i in np.flatnonzero(mask):
        for query, keys, more in ((zi[i], ze, qe), (ze[i], zi, qi)):
            own = 7 * keys[mask].astype(np.float64) @ query
            positive = ids[mask] == ids[i]
            further = 7 * more[held & (queued != ids[i])].astype(np.float64) @ query
            if loss == "infonce":
                total = scipy.special.logsumexp(np.concatenate([own, further]))
                expected[i] += 0.5 * (total - own[positive].mean())
            else:
                wrong = np.concatenate([own[~positive], further])
                logs = np.log1p(np.exp(-(own[positive] + bias))).sum()
                expected[i] += 0.5 * (logs + np.log1p(np.exp(wrong + bias)).sum())
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert aux["queue"]["pair_id"].tolist() == [0, 1, 2, 3, 3, 4]
    if loss == "infonce":
        others = np.array([(held & (queued != one)).sum() for one in ids])
        guess = np.log(6 + others)
        np.testing.assert_allclose(
            metrics["loss_to_guess"][:6], (expected / guess)[:6], rtol=1e-5
        )


@pytest.mark.slow
def test_common(check_objective, vit):
    options = {"soft_targets": 0.4, "soft_by": "expression", "label_smoothing": 0.1}
    objective = Contrastive(embed_dim=8, widths=(16,), queue=5, **options)
    params, extra = check_objective(objective.setup(Spec(vit, 12)))
    assert set(objective.export(params, extra)) == set(params)
    assert extra["queue"]["z"]["image"].shape == (5, 8)


def test_validation_has_no_queue(vit, batch):
    objective = Contrastive(embed_dim=4, widths=(8,), queue=6).setup(Spec(vit, 12))
    make = lambda: objective.represent({}, {}, batch, jax.random.key(0), 0, False)
    object.__setattr__(objective, "_embed", lambda *_: jnp.zeros((8, 4)))
    assert set(make()) == {"z_image", "z_expression"}
