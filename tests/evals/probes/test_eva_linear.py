"""eva's linear probe against loops in NumPy and PyTorch that run it step by step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extras import extra

from pathjax.evals import EvalError
from pathjax.evals.probes.eva_linear import EvaLinear, linear_sweep
from pathjax.evals.probes.minibatch import (
    epoch_order,
    macro_recall,
    predicted_class,
    run_keys,
    uniform_linear,
)
from pathjax.evals.protocols import PROTOCOLS
from pathjax.stats.metrics import balanced_accuracy

linear_model = extra("sklearn.linear_model")

# 70 rows are 5 batches, the last of 6 rows: at most 30 epochs, a patience of 6.
SMALL = EvaLinear(batch=16, steps=150)
EVA, EVA_DOCS = (
    PROTOCOLS[name].probe for name in ("eva-linear/1", "eva-linear-docs/1")
)
SEEDS = np.arange(3)
RATES = np.array([3e-3, 3e-2], np.float32)


def made(classes, rows=70, width=6, draw=0):
    centres = np.random.default_rng(0).normal(size=(classes, width))
    rng = np.random.default_rng(10 * classes + draw)
    y = rng.integers(0, classes, rows).astype(np.int32)
    x = centres[y] + rng.normal(0, 1.5, (rows, width))
    return x.astype(np.float32), y


def folds(classes):
    return *made(classes), *made(classes, rows=60, draw=1)


@functools.cache
def swept(classes, options=SMALL):
    x, y, val_x, val_y = folds(classes)
    sweep = linear_sweep(
        x, y, val_x, val_y, val_x[:7], SEEDS, RATES, classes=classes, options=options
    )
    return jax.tree.map(np.asarray, sweep)


def first_and_orders(seed, width, columns, rows):
    """A run's first parameters, and a function from epochs to row orders."""
    first, key = run_keys(seed)
    params = jax.tree.map(np.asarray, uniform_linear(first, width, columns))
    return params, lambda epoch: np.asarray(epoch_order(key, epoch, rows))


class NumpyRun:
    """A linear layer and AdamW in float64, from their formulas."""

    def __init__(self, params, options):
        self.params = [params[k].astype(np.float64) for k in ("kernel", "bias")]
        self.first = [np.zeros_like(p) for p in self.params]
        self.second = [np.zeros_like(p) for p in self.params]
        self.decay, self.count = options.weight_decay, 0

    def logits(self, x):
        return x.astype(np.float64) @ self.params[0] + self.params[1]

    def step(self, x, y, rate):
        logits = self.logits(x)
        if logits.shape[1] == 1:
            slope = 1 / (1 + np.exp(-logits)) - y[:, None]
        else:
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope = e / e.sum(axis=1, keepdims=True) - np.eye(e.shape[1])[y]
        slope /= len(x)
        self.count += 1
        for i, g in enumerate([x.astype(np.float64).T @ slope, slope.sum(axis=0)]):
            self.first[i] = 0.9 * self.first[i] + 0.1 * g
            self.second[i] = 0.999 * self.second[i] + 0.001 * g**2
            mean = self.first[i] / (1 - 0.9**self.count)
            spread = np.sqrt(self.second[i] / (1 - 0.999**self.count))
            self.params[i] *= 1 - rate * self.decay
            self.params[i] -= rate * mean / (spread + 1e-8)

    def epoch(self, x, y, batches, rate, epoch, options):
        if epoch < options.warm_epochs:
            rate = rate * options.warm_factor
        for rows in batches:
            self.step(x[rows], y[rows], rate)


class TorchRun:
    """The same with PyTorch's own layer, loss, optimiser and scheduler."""

    def __init__(self, params, options, rate):
        import torch

        self.torch = torch
        self.layer = torch.nn.Linear(*params["kernel"].shape)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(params["kernel"].T))
            self.layer.bias.copy_(torch.tensor(params["bias"]))
        # Where eva is copied, torch's own defaults decide.
        docs = options.weight_decay == 0
        self.optimiser = torch.optim.AdamW(
            self.layer.parameters(),
            lr=float(rate),
            **({"weight_decay": 0} if docs else {}),
        )
        self.scheduler = torch.optim.lr_scheduler.ConstantLR(
            self.optimiser, **({"factor": 1.0} if docs else {})
        )

    def logits(self, x):
        with self.torch.no_grad():
            return self.layer(self.torch.tensor(x)).numpy()

    @property
    def params(self):
        return [
            self.layer.weight.detach().numpy().T.copy(),
            self.layer.bias.detach().numpy().copy(),
        ]

    def epoch(self, x, y, batches, rate, epoch, options):
        functional = self.torch.nn.functional
        for rows in batches:
            self.optimiser.zero_grad()
            logits = self.layer(self.torch.tensor(x[rows])).squeeze(-1)
            if logits.ndim == 1:
                target = self.torch.tensor(y[rows], dtype=self.torch.float32)
                loss = functional.binary_cross_entropy_with_logits(logits, target)
            else:
                target = self.torch.tensor(y[rows], dtype=self.torch.int64)
                loss = functional.cross_entropy(logits, target)
            loss.backward()
            self.optimiser.step()
        self.scheduler.step()


def early_stopped(run, data, orders, rate, options):
    """Trains a run as Lightning does.

    Returns:
      validation scores, how far rounding can move each, the best epoch, its parameters,
      its logits of seven rows.
    """
    x, y, val_x, val_y = data
    epochs = options.steps // -(-len(x) // options.batch)
    patience = int(np.ceil(0.2 * options.steps / -(-len(x) // options.batch)))
    best, waited, history, doubts, kept = -np.inf, 0, [], [], None
    one_row = 1 / np.bincount(val_y).min() / len(np.unique(val_y))
    for epoch in range(epochs):
        batches = np.split(orders(epoch), range(options.batch, len(x), options.batch))
        run.epoch(x, y, batches, rate, epoch, options)
        logits = run.logits(val_x)
        guess = np.asarray(predicted_class(logits))
        history.append(balanced_accuracy(val_y, guess))
        # Rows so near to the border that rounding decides, and what they can move.
        ordered = np.sort(np.pad(logits, ((0, 0), (0, len(logits[0]) == 1))), axis=1)
        near = np.sum(ordered[:, -1] - ordered[:, -2] < 2e-5)
        doubts.append(1e-6 + one_row * near)
        if history[-1] > best:
            best, waited = history[-1], 0
            kept = epoch, [p.copy() for p in run.params], logits[:7]
        else:
            waited += 1
            if waited == patience:
                break
    return history, np.array(doubts), *kept


def assert_same_run(sweep, seed, place, expected, parameters, logits):
    history, doubts, epoch, params, wanted_logits = expected
    ran = int(sweep.epochs[seed, place])
    assert ran == len(history) and int(sweep.epoch[seed, place]) == epoch
    found = np.asarray(sweep.history[seed, place])
    assert (np.abs(found[:ran] - history) <= doubts).all()
    assert np.mean(doubts > 1e-6) < 0.1
    assert np.isnan(found[ran:]).all()
    np.testing.assert_allclose(sweep.kernel[seed, place], params[0], atol=parameters)
    np.testing.assert_allclose(sweep.bias[seed, place], params[1], atol=parameters)
    np.testing.assert_allclose(sweep.logits[seed, place], wanted_logits, atol=logits)


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_every_run_is_that_of_a_numpy_loop(classes):
    sweep, data = swept(classes), folds(classes)
    columns = 1 if classes == 2 else classes
    for seed in SEEDS:
        for place, rate in enumerate(RATES):
            params, orders = first_and_orders(seed, 6, columns, 70)
            run = NumpyRun(params, SMALL)
            expected = early_stopped(run, data, orders, float(rate), SMALL)
            assert_same_run(sweep, seed, place, expected, 2e-5, 1e-4)
    # Some stopped early and some late, so that both are tested.
    assert sweep.epochs.min() < 20 and len(np.unique(sweep.epochs)) > 2


@pytest.mark.peer
@pytest.mark.parametrize("classes", [2, 9])
@pytest.mark.parametrize("options", [EVA, EVA_DOCS], ids=["eva", "docs"])
def test_every_run_is_that_of_a_torch_loop(classes, options):
    """1,000 rows are 4 batches of 256: 75 epochs at most, a patience of 15."""
    options = dataclasses.replace(options, steps=300)
    data = *made(classes, rows=1000, width=32), *made(classes, 500, 32, draw=1)
    rates = np.array([3e-4, 1e-2], np.float32)
    sweep = linear_sweep(
        *data, data[2][:7], SEEDS[:2], rates, classes=classes, options=options
    )
    columns = 1 if classes == 2 else classes
    for seed in SEEDS[:2]:
        for place, rate in enumerate(rates):
            params, orders = first_and_orders(seed, 32, columns, 1000)
            run = TorchRun(params, options, rate)
            expected = early_stopped(run, data, orders, rate, options)
            history, _, epoch, _, logits = expected
            gap = np.abs(sweep.logits[seed, place] - logits).max()
            print(
                f"{classes} classes, lr {rate}: best epoch {epoch} of {len(history)}, "
                f"logits up to {np.abs(logits).max():.1f} are {gap:.1e} apart"
            )
            assert_same_run(sweep, seed, place, expected, 5e-6, 1e-5)


def test_the_two_forms_of_the_protocol_differ():
    docs = EvaLinear(batch=16, steps=150, weight_decay=0.0, warm_epochs=0)
    assert not np.allclose(swept(2).kernel, swept(2, docs).kernel, atol=1e-3)
    assert (EVA.weight_decay, EVA.warm_epochs) == (0.01, 5)
    assert EVA.warm_factor == 1 / 3
    assert (EVA_DOCS.weight_decay, EVA_DOCS.warm_epochs) == (0.0, 0)


@pytest.mark.parametrize(
    ("rows", "patience"),
    [
        (268, 1250), (100_000, 7), (2_175, 278), (262_144, 3),
        (1_132, 500), (15_303, 42), (3_657, 167), (6_270, 100),
    ],
)  # fmt: skip
def test_patience_is_that_of_each_of_evas_configs(rows, patience):
    recipe = EVA.recipe(rows)
    assert recipe.patience == patience
    assert recipe.epochs == 12_500 // -(-rows // 256)


@pytest.mark.parametrize("rows", [0, 12_500 * 256 + 1])
def test_no_whole_epoch_is_an_error(rows):
    with pytest.raises(EvalError, match=f"{rows} training rows.*Enlarge batch"):
        EVA.recipe(rows)


def test_a_run_is_the_same_beside_others():
    together = swept(2)
    x, y, val_x, val_y = folds(2)
    data = x, y, val_x, val_y, val_x[:7]
    alone = linear_sweep(*data, SEEDS[1:2], RATES[1:], classes=2, options=SMALL)
    np.testing.assert_allclose(alone.kernel[0, 0], together.kernel[1, 1], atol=1e-6)
    assert int(alone.epochs[0, 0]) == int(together.epochs[1, 1])


@pytest.mark.parametrize("rows", [1, 2, 256, 257, 2**18 + 1])
def test_an_order_visits_every_row_once(rows):
    key = jax.random.key(0)
    first, second = (np.asarray(epoch_order(key, epoch, rows)) for epoch in (0, 1))
    np.testing.assert_array_equal(np.sort(first), np.arange(rows))
    np.testing.assert_array_equal(np.sort(second), np.arange(rows))
    assert rows < 3 or (first != second).any()
    if rows > 1000:  # standard error of the mean of 256 is 1.8 % of the range
        assert abs(first[:256].mean() / rows - 0.5) < 0.1


def test_every_row_is_equally_often_in_every_place():
    orders = jax.vmap(lambda e: epoch_order(jax.random.key(1), e, 5))(np.arange(4000))
    counts = np.stack([np.bincount(place, minlength=5) for place in orders.T])
    # 800 expected, binomial: standard deviation 25.
    assert np.abs(counts - 800).max() < 100


def test_macro_recall_counts_a_class_that_is_predicted_but_not_there():
    truth, guess = jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 2])
    assert float(macro_recall(guess[:3], truth[:3], 4)) == pytest.approx(0.75)
    assert float(macro_recall(guess, truth, 4)) == pytest.approx(1 / 3)


def test_beside_the_embeddings_a_sweep_needs_little_memory():
    rows, width = 100_000, 1_024
    shape = jax.ShapeDtypeStruct
    lowered = linear_sweep.lower(
        shape((rows, width), jnp.float32),
        shape((rows,), jnp.int32),
        shape((1_000, width), jnp.float32),
        shape((1_000,), jnp.int32),
        shape((1_000, width), jnp.float32),
        shape((5,), jnp.int32),
        shape((2,), jnp.float32),
        classes=2,
    )
    extra = lowered.compile().memory_analysis().temp_size_in_bytes
    assert extra < 0.1 * 4 * rows * width


@pytest.mark.slow
def test_real_tiles_are_told_apart_as_by_scikit_learn(real_data):
    """A scale of features as encoders have it; 478 tiles of one patient, by colour."""
    from PIL import Image

    from pathjax.embeddings.handcrafted import features

    files = sorted((real_data / "idc_patches").glob("**/*_class[01].png"))
    tiles = [np.asarray(Image.open(one).convert("RGB")) for one in files]
    keep = [i for i, tile in enumerate(tiles) if tile.shape == (50, 50, 3)]
    x = features(np.stack([tiles[i] for i in keep]))
    x = x[:, x.std(axis=0) > 0]  # no tile is empty
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = np.array([int(files[i].stem[-1]) for i in keep], np.int32)
    fit, val, test = np.split(np.random.default_rng(0).permutation(len(y)), (240, 360))
    options = EvaLinear(steps=300)
    sweep = linear_sweep(
        x[fit], y[fit], x[val], y[val], x[test], np.arange(5), RATES,
        classes=2, options=options,
    )  # fmt: skip
    best = np.argmax(sweep.score, axis=1)
    chosen = np.asarray(sweep.logits)[np.arange(5), best]
    guess = predicted_class(jnp.asarray(chosen))
    ours = [balanced_accuracy(y[test], one) for one in np.asarray(guess)]
    theirs = (
        linear_model.LogisticRegression(max_iter=1000)
        .fit(x[fit], y[fit])
        .predict(x[test])
    )
    theirs = balanced_accuracy(y[test], theirs)
    print(f"eva-linear {np.mean(ours):.3f}, scikit-learn {theirs:.3f}")
    assert abs(np.mean(ours) - theirs) < 0.05 and np.mean(ours) > 0.6
