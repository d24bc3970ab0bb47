"""Gated attention over bags against NumPy and PyTorch twins; padding, training."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.evals.probes.abmil import (
    EVA,
    LEARNING_RATE,
    PART_BYTES,
    abmil_attention,
    abmil_fit,
    abmil_init,
    abmil_logits,
    in_parts,
)
from pathjax.evals.probes.minibatch import Recipe, epoch_order, fit_runs, run_keys
from pathjax.stats.metrics import balanced_accuracy

WIDTH = 5
SMALL = Recipe(batch=8, epochs=12, patience=5, warm_epochs=2)
apply = jax.jit(abmil_logits)


@functools.cache
def parameters(logits=3):
    return jax.tree.map(
        np.asarray, jax.jit(abmil_init, static_argnums=(1, 2))(
            jax.random.key(3), WIDTH, logits
        )
    )  # fmt: skip


def made(bags=20, most=6, draw=0):
    """Bags of three classes: one instance in each tells which; padding is junk."""
    rng = np.random.default_rng(draw)
    y = (np.arange(bags) % 3).astype(np.int32)
    x = rng.normal(0, 0.3, (bags, most, WIDTH)).astype(np.float32)
    x[:, 0, :3] += 2 * np.eye(3, dtype=np.float32)[y]
    mask = np.arange(most)[None] < rng.integers(1, most + 1, bags)[:, None]
    x[~mask] = np.inf
    return x, mask, y


def numpy_logits(params, instances):
    """One bag, its instances alone, in float64."""

    def linear(name, x):
        kernel, bias = (params[name][k].astype(np.float64) for k in ("kernel", "bias"))
        return x @ kernel + bias

    h = linear("project", instances.astype(np.float64))
    gate = np.tanh(linear("tanh", h)) / (1 + np.exp(-linear("sigmoid", h)))
    e = np.exp(linear("attend", gate))
    x = (e / e.sum() * h).sum(axis=0)
    for name in ("mlp0", "mlp1"):
        x = np.maximum(linear(name, x), 0)
    return linear("mlp2", x)


def torch_twin(params):
    """The same network of PyTorch's own layers, with these weights."""
    import torch

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, one in params.items():
                layer = torch.nn.Linear(*one["kernel"].shape)
                with torch.no_grad():
                    layer.weight.copy_(torch.tensor(one["kernel"].T))
                    layer.bias.copy_(torch.tensor(one["bias"]))
                setattr(self, name, layer)

        def forward(self, x, mask):
            h = self.project(torch.where(mask[..., None], x, 0))
            gate = torch.tanh(self.tanh(h)) * torch.sigmoid(self.sigmoid(h))
            logits = self.attend(gate).masked_fill(~mask[..., None], -torch.inf)
            x = (torch.softmax(logits, dim=1) * h).sum(dim=1)
            return self.mlp2(torch.relu(self.mlp1(torch.relu(self.mlp0(x)))))

    return Twin()


def test_logits_are_those_of_numpy_bag_by_bag():
    x, mask, _ = made()
    found = apply(parameters(), x, mask)
    wanted = [numpy_logits(parameters(), x[i][mask[i]]) for i in range(len(x))]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=20, max_size=20),
    junk=st.sampled_from([0.0, 1e30, -np.inf, np.nan]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_neither_padding_nor_the_order_of_instances_changes_anything(
    lengths, junk, seed
):
    rng = np.random.default_rng(seed)
    tight = rng.normal(size=(20, 6, WIDTH)).astype(np.float32)
    mask = np.arange(6)[None] < np.array(lengths)[:, None]
    wide = np.full((20, 11, WIDTH), junk, np.float32)
    wide_mask = np.zeros((20, 11), bool)
    for i, length in enumerate(lengths):
        places = rng.choice(11, length, replace=False)
        wide[i, places], wide_mask[i, places] = tight[i, :length], True
    plain = apply(parameters(), tight, mask)
    np.testing.assert_allclose(plain, apply(parameters(), wide, wide_mask), atol=2e-6)


def test_padding_has_no_attention_and_no_gradient():
    x, mask, _ = made()
    h = jax.random.normal(jax.random.key(0), (*mask.shape, 128))
    attention = abmil_attention(parameters(), h, mask)
    assert (np.asarray(attention)[~mask] == 0).all()
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-6)
    mask = mask.copy()
    mask[0] = False  # an empty bag does not spoil the others

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def total(params, x):
        return jnp.sum(abmil_logits(params, x, mask) ** 2)

    value, (of_params, of_x) = total(parameters(), x)
    assert np.isfinite(value)
    assert all(np.isfinite(one).all() for one in jax.tree.leaves(of_params))
    assert (np.asarray(of_x)[~mask] == 0).all() and np.asarray(of_x)[mask].any()


def flat(*bags):
    """All tiles, and the numbers of those of each bag."""
    sizes = [one.shape[0] * one.shape[1] for one in bags]
    numbers = np.split(np.arange(sum(sizes), dtype=np.int32), np.cumsum(sizes)[:-1])
    x = np.concatenate([one.reshape(-1, one.shape[2]) for one in bags])
    return x, [n.reshape(one.shape[:2]) for n, one in zip(numbers, bags, strict=True)]


def fitted(classes=3, recipe=SMALL, rate=LEARNING_RATE):
    train, val = made(), made(12, 4, draw=1)
    if classes == 2:
        train, val = ((*one[:2], np.minimum(one[2], 1)) for one in (train, val))
    x, (bags, val_bags) = flat(train[0], val[0])
    fits, logits = abmil_fit(
        x, bags, *train[1:], val_bags, *val[1:], val_bags, val[1], np.arange(2),
        classes=classes, recipe=recipe, learning_rate=rate,
    )  # fmt: skip
    fit = types.SimpleNamespace(**fits._asdict(), logits=logits)
    return train, val, types.SimpleNamespace(**jax.tree.map(np.asarray, vars(fit)))


def test_a_gradient_in_parts_is_that_of_the_batch():
    """A sum of squares in place of bags: 21 rows in batches of 8, some of them padding."""
    target = jnp.asarray(np.random.default_rng(0).normal(size=(21, 3)), jnp.float32)

    def fit(parts):
        return fit_runs(
            lambda key: jnp.zeros(3),
            lambda params, i, weight: (
                weight @ jnp.sum((params[None] - target[i]) ** 2, 1)
            ),
            lambda params: -jnp.sum(params**2),
            np.arange(2),
            np.full(2, 1e-2, np.float32),
            rows=21,
            recipe=dataclasses.replace(SMALL, parts=parts),
        )

    whole, parts = jax.jit(fit, static_argnums=0)(1), jax.jit(fit, static_argnums=0)(4)
    np.testing.assert_allclose(whole.history, parts.history, rtol=1e-5)
    np.testing.assert_allclose(whole.params, parts.params, rtol=1e-5)
    assert np.abs(whole.params).min() > 1e-4


def test_bags_of_any_length_are_read_within_a_few_megabytes():
    assert in_parts(EVA, 256, 128) == (EVA, 1 << 22)  # small ones at once, as ever
    for length, width in ((256, 1024), (1024, 1024), (512, 384)):
        recipe, size = in_parts(EVA, length, width)
        assert size <= PART_BYTES and size * recipe.parts == 32 * 4 * length * width
    assert in_parts(EVA, 1024, 4096)[0].parts == EVA.batch  # one bag is the least


@pytest.mark.slow
def test_the_plan_is_within_the_goal():
    """Beside 110,000 tiles of 1,024 numbers, two runs at once take less than 0.2 of them."""
    tiles, width, length = 110_000, 1024, 1024
    recipe, _ = in_parts(EVA, length, width)
    bags = {
        count: (
            jax.ShapeDtypeStruct((count, length), np.int32),
            jax.ShapeDtypeStruct((count, length), bool),
        )
        for count in (80, 20, 10)
    }
    plan = abmil_fit.lower(
        jax.ShapeDtypeStruct((tiles, width), np.float32),
        *bags[80],
        jax.ShapeDtypeStruct((80,), np.int32),
        *bags[20],
        jax.ShapeDtypeStruct((20,), np.int32),
        *bags[10],
        np.arange(1),
        classes=9,
        recipe=recipe,
    )
    used = plan.compile().memory_analysis().temp_size_in_bytes
    assert used < 0.1 * 4 * tiles * width


@pytest.mark.slow
def test_training_tells_bags_apart_and_keeps_the_best_epoch():
    _, val, fit = fitted(recipe=SMALL, rate=1e-2)
    for seed in range(2):
        guess = fit.logits[seed].argmax(axis=1)
        score = balanced_accuracy(val[2], guess)
        history = fit.history[seed][: fit.epochs[seed]]
        assert score == pytest.approx(fit.score[seed], abs=1e-6)
        assert fit.epoch[seed] == np.argmax(history) and fit.score[seed] > 0.9
    assert (EVA.batch, EVA.epochs, EVA.patience) == (32, 100, 20)
    assert (EVA.weight_decay, EVA.warm_epochs, EVA.warm_factor) == (0.01, 5, 1 / 3)


@pytest.mark.peer
def test_logits_are_those_of_torch():
    import torch

    x, mask, _ = made(bags=40, most=30)
    wanted = torch_twin(parameters())(torch.tensor(x), torch.tensor(mask))
    wanted = wanted.detach().numpy()
    found = np.asarray(apply(parameters(), x, mask))
    print(f"logits {np.abs(found - wanted).max():.1e} apart")
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.peer
@pytest.mark.parametrize("classes", [2, 3])
def test_training_is_that_of_torch(classes):
    import torch

    recipe = Recipe(batch=8, epochs=12, patience=5)
    train, val, fit = fitted(classes, recipe)
    x, mask, y = (torch.tensor(one) for one in train)
    val_x, val_mask = (torch.tensor(one) for one in val[:2])
    for seed in range(2):
        first, key = run_keys(seed)
        logits = 1 if classes == 2 else classes
        twin = torch_twin(jax.tree.map(np.asarray, abmil_init(first, WIDTH, logits)))
        optimiser = torch.optim.AdamW(twin.parameters(), lr=LEARNING_RATE)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimiser)
        for epoch in range(int(fit.epoch[seed]) + 1):
            order = torch.tensor(np.asarray(epoch_order(key, epoch, len(y))))
            for rows in torch.split(order, recipe.batch):
                optimiser.zero_grad()
                logits = twin(x[rows], mask[rows])
                if classes == 2:
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(
                        logits[:, 0], y[rows].float()
                    )
                else:
                    target = y[rows].long()
                    loss = torch.nn.functional.cross_entropy(logits, target)
                loss.backward()
                optimiser.step()
            scheduler.step()
        wanted = twin(val_x, val_mask).detach().numpy()
        gap = np.abs(fit.logits[seed] - wanted).max()
        print(f"{classes} classes, epoch {epoch}: logits {gap:.1e} apart")
        np.testing.assert_allclose(fit.logits[seed], wanted, atol=1e-5)
        found = fit.params["project"]["kernel"][seed]
        kernel = twin.project.weight.detach().numpy().T
        np.testing.assert_allclose(found, kernel, atol=1e-5)
