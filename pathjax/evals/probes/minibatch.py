"""P fits by mini-batch AdamW with early stopping, side by side, as one program.

    init, loss, score, P keys, P learning rates -> fit_runs -> Fits

It does what a Lightning trainer with `EarlyStopping` and `ModelCheckpoint` on one
monitored score does, for all runs at once: rows shuffled anew each epoch, the last
short batch kept, a validation after each epoch, the best epoch's parameters returned.
A `while_loop` over epochs ends when the last run has stopped, a `scan` over batches is
inside, runs are a `vmap` axis. Batches are gathered by row number, so the device holds
the rows once whatever P is.

`loss` and `score` close over model and data. The same keys give the same fits, alone or
beside others. `EpochProbe` is what probes with such runs share.
"""

import concurrent.futures
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from pathjax.evals.probes.base import Probe, Problem, over_devices

Rows = slice | Int[np.ndarray, "n"]
TOGETHER = 1 << 30  # bytes read by one step of all runs that are fitted side by side
# What runs in threads may take beside the embeddings, if an eighth of these is less. A
# step holds what it reads and a few layers of it.
LEAST_ROOM, STEP_COPIES = 1 << 26, 4
SCORED_FOLD = "the scored fold"  # in the record of what chose the epoch


@dataclasses.dataclass(frozen=True)
class EpochProbe(Probe):
    """A probe of several runs, whose epoch is chosen on validation rows.

    Attributes:
      seeds: Runs, which differ in first parameters and row orders.
      folds, resample_seed: The fit fold is cut into this many by patient, one of which
        chooses the epoch, where the task names no select fold. 0: the scored fold
        chooses, so that the score is the best of many epochs for the very rows scored.
    """

    averaged = True
    seeds: int = 5
    folds: int = 0
    resample_seed: int = 0

    def validation(self, problem: Problem) -> tuple[str, Rows, Rows, str]:
        """What validates an epoch.

        Returns:
          Its role, the fit rows to train on, the rows of that role to validate on, and
          what these are.
        """
        every = slice(None)
        if "select" in problem.rows:
            return "select", every, every, f"fold {problem.names['select']}"
        if not self.folds:
            return "test", every, every, f"{SCORED_FOLD} {problem.names['test']}"
        weights, info = problem.fold_weights(1, self.folds, self.resample_seed)
        held_out = weights.val[0, 0] > 0
        where = f"one of {info['chosen_by']} of the fit fold by {info['groups']}"
        return "fit", np.flatnonzero(~held_out), np.flatnonzero(held_out), where

    def run(
        self, fit: Callable[..., Any], shared: Sequence[np.ndarray], step_bytes: int = 1
    ) -> Any:
        """`fit(*shared, seeds)` of all seeds, some of them at once.

        Side by side in one program, but on a CPU each in one of its own, on a core of its
        own: the core's cache holds one run's batch, and a run ends at its own stop.

        Args:
          fit: The solver.
          shared: What it takes, the embeddings first.
          step_bytes: What a run's step reads of them at once.
        """
        at_once, threads = max(1, TOGETHER // step_bytes), 1
        if jax.default_backend() == "cpu" and jax.local_device_count() == 1:
            room = max(LEAST_ROOM, shared[0].nbytes // 8) // (STEP_COPIES * step_bytes)
            at_once, threads = 1, max(1, min(self.seeds, os.cpu_count() or 1, room))
            shared = jax.device_put(list(shared))  # once, and not in each run
        starts = range(at_once, self.seeds, at_once)
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            parts = pool.map(
                lambda seeds: over_devices(fit, shared, [seeds]),
                np.split(np.arange(self.seeds), starts),
            )
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How each run is fitted.

    Attributes:
      batch: Rows of a batch; the last of an epoch may have fewer.
      epochs: At most this many, each followed by a validation.
      patience: A run stops after this many validations in a row that are not above
        its best.
      weight_decay: Decoupled (Loshchilov & Hutter 2019, arXiv:1711.05101); 0.01 is the
        default of `torch.optim.AdamW`. It decays biases too, as there.
      warm_epochs, warm_factor: The learning rate is multiplied by the factor during
        the first epochs. 5 and 1/3 are the defaults of torch's `ConstantLR`.
      b1, b2, eps: Of Adam.
      parts: A batch's gradient is the sum of so many parts', of as many rows each: less
        memory, and other last bits.
    """

    batch: int
    epochs: int
    patience: int
    weight_decay: float = 0.01
    warm_epochs: int = 5
    warm_factor: float = 1 / 3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    parts: int = 1


class Fits(NamedTuple):
    """Outcome of P runs.

    Attributes:
      params: Of the best epoch; each leaf has a leading axis P.
      score: The best validation score.
      epoch: The epoch it is from, counted from 0; the first of equals.
      epochs: How many epochs the run took.
      history: `[P, T]` validation scores, NaN after a run has stopped.
    """

    params: PyTree[Float[Array, "P ..."]]
    score: Float[Array, "P"]
    epoch: Int[Array, "P"]
    epochs: Int[Array, "P"]
    history: Float[Array, "P T"]


def run_keys(seed: Int[Array, ""]) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """The keys of a run's first parameters and of its row orders."""
    first, order = jax.random.split(jax.random.key(seed))
    return first, order


def epoch_order(
    key: Key[Array, ""], epoch: Int[Array, ""] | int, rows: int
) -> Int[Array, "N"]:
    """The order in which an epoch visits the rows.

    Random numbers are sorted with the row's own number in their low bits, which on a
    CPU takes a third to a sixth of an argsort's time. Up to 2^18 rows at least 14 bits
    are random; above that it is an argsort.
    """
    bits = jax.random.bits(jax.random.fold_in(key, epoch), (rows,))
    low = (rows - 1).bit_length()
    if low > 18:
        return jnp.argsort(bits)
    packed = (bits >> low << low) | jnp.arange(rows, dtype=jnp.uint32)
    return (jnp.sort(packed) & (2**low - 1)).astype(jnp.int32)


def uniform_linear(
    key: Key[Array, ""], inputs: int, outputs: int
) -> dict[str, Float[Array, "..."]]:
    """A linear layer's first parameters, as `torch.nn.Linear` initialises them.

    Kernel and bias are uniform within 1 / sqrt(inputs): He et al. 2015
    (arXiv:1502.01852) with a = sqrt(5).
    """
    bound = inputs**-0.5
    kernel, bias = jax.random.split(key)
    return {
        "kernel": jax.random.uniform(kernel, (inputs, outputs), minval=-1) * bound,
        "bias": jax.random.uniform(bias, (outputs,), minval=-1) * bound,
    }


def class_loss(
    logits: Float[Array, "B K"], y: Int[Array, "B"], weight: Float[Array, "B"]
) -> Float[Array, ""]:
    """Weighted sum of the cross entropy; one logit is that of the second of two."""
    if logits.shape[1] == 1:
        each = optax.sigmoid_binary_cross_entropy(logits[:, 0], y.astype(logits.dtype))
    else:
        each = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return jnp.sum(weight * each)


def predicted_class(logits: Float[Array, "*rows K"]) -> Int[Array, "*rows"]:
    """Class numbers; one logit is the second class's, above probability 0.5."""
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def macro_recall(
    prediction: Int[Array, "M"], truth: Int[Array, "M"], classes: int
) -> Float[Array, ""]:
    """Mean over classes of their recall: balanced accuracy.

    A class that is predicted but not there counts as 0, and one that is neither is
    left out, as torchmetrics' macro average has it. Where every class is there, as it
    should be in a validation fold, this is the metric `balanced_accuracy`.
    """
    number = jnp.arange(classes)[None, :]
    member = truth[:, None] == number
    hits = jnp.sum(member & (prediction == truth)[:, None], axis=0)
    rows = member.sum(axis=0)
    counted = (rows > 0) | jnp.any(prediction[:, None] == number, axis=0)
    return jnp.sum(hits / jnp.maximum(rows, 1)) / counted.sum()


class Moments(NamedTuple):
    """AdamW's running means of a gradient and of its square, and the number of steps."""

    steps: Int[Array, ""]
    first: PyTree[Float[Array, "..."]]
    second: PyTree[Float[Array, "..."]]


def start_moments(params: PyTree[Float[Array, "..."]]) -> Moments:
    """Zero moments in the shapes of `params`."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return Moments(jnp.int32(0), zeros, zeros)


def adamw(gradient, moments: Moments, params, rate, recipe: Recipe):
    """New parameters and moments, as `torch.optim.AdamW` makes them.

    In float32 1 - 0.999 ** count, as optax has it, is off by up to 1.3e-5 of itself,
    which is what the probes would differ from torch by.
    """
    b1, b2 = recipe.b1, recipe.b2
    count = moments.steps + 1
    shrink = [-jnp.expm1(count * math.log(b)) for b in (b1, b2)]  # 1 - b ** count
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, moments.first, gradient)
    second = jax.tree.map(
        lambda v, g: b2 * v + (1 - b2) * g * g, moments.second, gradient
    )

    def move(p, m, v):
        spread = jnp.sqrt(v / shrink[1]) + recipe.eps
        # Decay in torch's order: 1 - 3e-6 rounded is what its weights shrink by.
        return p * (1 - rate * recipe.weight_decay) - rate * (m / shrink[0]) / spread

    params = jax.tree.map(move, params, first, second)
    return params, Moments(count, first, second)


def fit_runs(
    init: Callable[[Key[Array, ""]], Any],
    loss: Callable[[Any, Int[Array, "B"], Float[Array, "B"]], Float[Array, ""]],
    score: Callable[[Any], Float[Array, ""]],
    seeds: Int[Array, "P"],
    learning_rate: Float[Array, "P"],
    *,
    rows: int,
    recipe: Recipe,
) -> Fits:
    """Fits P runs; to be called under `jax.jit`.

    Args:
      init: A run's key to its first parameters.
      loss: Parameters, row numbers of a batch and their weights (which sum to 1, 0 for
        padding) to the loss: the weighted sum over the rows.
      score: Parameters to the validation score; higher is better.
      seeds, learning_rate: Of each run. Runs of one seed share start and orders.
      rows: How many rows there are to learn from.
      recipe: What all runs share.
    """
    steps = -(-rows // recipe.batch)
    padding = steps * recipe.batch - rows
    first, order_key = jax.vmap(run_keys)(seeds)
    real = (jnp.arange(steps * recipe.batch) < rows).reshape(steps, recipe.batch)
    weight = real / real.sum(axis=1, keepdims=True)

    def gradient_of(params, index, weight):
        if recipe.parts == 1:
            return jax.grad(loss)(params, index, weight)

        def add(total, part):
            return jax.tree.map(jnp.add, total, jax.grad(loss)(params, *part)), None

        cut = (each.reshape(recipe.parts, -1) for each in (index, weight))
        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), tuple(cut))[0]

    def train(params, moments, key, epoch, rate):
        order = jnp.pad(epoch_order(key, epoch, rows), (0, padding))
        warm = jnp.where(epoch < recipe.warm_epochs, recipe.warm_factor, 1.0)

        def step(carry, batch):
            params, moments = carry
            gradient = gradient_of(params, *batch)
            return adamw(gradient, moments, params, rate * warm, recipe), None

        batches = order.reshape(steps, recipe.batch), weight
        return jax.lax.scan(step, (params, moments), batches)[0]

    def unfinished(carry):
        epoch, active = carry[0], carry[1]
        return (epoch < recipe.epochs) & active.any()

    def advance(carry):
        epoch, active, params, moments, fits = carry
        params, moments = jax.vmap(train, (0, 0, 0, None, 0))(
            params, moments, order_key, epoch, learning_rate
        )
        scores = jax.vmap(score)(params)
        # A stopped run keeps training until the last one stops; its result stays.
        better = active & (scores > fits.score)
        fits = Fits(
            params=jax.tree.map(
                lambda new, old: jnp.where(
                    better.reshape(-1, *[1] * (new.ndim - 1)), new, old
                ),
                params,
                fits.params,
            ),
            score=jnp.where(better, scores, fits.score),
            epoch=jnp.where(better, epoch, fits.epoch),
            epochs=fits.epochs + active,
            history=fits.history.at[:, epoch].set(jnp.where(active, scores, jnp.nan)),
        )
        # Validations since the best one.
        active &= epoch - fits.epoch < recipe.patience
        return epoch + 1, active, params, moments, fits

    params = jax.vmap(init)(first)
    runs = len(seeds)
    start = Fits(
        params=params,
        score=jnp.full((runs,), -jnp.inf),
        epoch=jnp.full((runs,), -1),
        epochs=jnp.zeros((runs,), jnp.int32),
        history=jnp.full((runs, recipe.epochs), jnp.nan),
    )
    moments = jax.vmap(start_moments)(params)
    everyone = jnp.ones((runs,), bool)
    carry = (jnp.int32(0), everyone, params, moments, start)
    return jax.lax.while_loop(unfinished, advance, carry)[-1]
