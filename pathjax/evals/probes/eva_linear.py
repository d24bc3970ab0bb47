"""The linear probe of kaiko's eva: `linear_sweep` the solver, `EvaLinear` the probe.

The protocol (github.com/kaiko-ai/eva at 73b61a7, configs/vision/pathology/offline/
classification): one linear layer on features as they are, AdamW at 3e-4, batches of
256, at most 12,500 steps, balanced accuracy on the validation rows after each epoch,
stopped after 20 % of the steps without a better one, scored at the best epoch; 5 runs.
A task of two classes has one logit.

The defaults copy what the code runs: its head module steps torch's ConstantLR once an
epoch, so the first 5 epochs, which on large sets is most of the fit, run at a third of
the learning rate, and AdamW decays weights by torch's default, 0.01. Its documentation
says otherwise: a constant learning rate and no weight decay (`eva-linear-docs/1`).

The fit fold is eva's train, the select fold its val. Where a task names no select fold,
the test fold is val and scored, as eva has it for sets without a test (BACH, CRC, MHIST,
BreakHis): its best epoch is then the best for the very rows that are scored, and
`chosen_by` in the results says so. With `folds` patients of the fit fold choose instead.

Two things differ by intent. eva's runs are not seeded; these are. And eva validates
binary tasks with torchmetrics, which takes a batch of logits that all happen to lie
within 0 and 1 for probabilities; here 0.5 is always the probability. An epoch that the
step limit would cut short has no validation in eva and cannot be chosen; it is not run.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pathjax.evals import EvalError
from pathjax.evals.probes.base import Fit, Problem, chosen, class_probabilities
from pathjax.evals.probes.minibatch import (
    EpochProbe,
    Recipe,
    class_loss,
    fit_runs,
    macro_recall,
    predicted_class,
    uniform_linear,
)
from pathjax.evals.probes.sweep import EXACT, each_row


@dataclasses.dataclass(frozen=True)
class EvaLinear(EpochProbe):
    """eva's linear probe.

    Attributes:
      learning_rates: The grid; eva has one.
      batch, steps: Rows of a batch, and batches of a run at most.
      patience_share: Of `steps`; rounded up to whole epochs it is the patience.
      weight_decay, warm_epochs, warm_factor: As in `minibatch.Recipe`.
    """

    kinds = ("classification",)
    learning_rates: tuple[float, ...] = (3e-4,)
    batch: int = 256
    steps: int = 12_500
    patience_share: float = 0.2
    weight_decay: float = 0.01
    warm_epochs: int = 5
    warm_factor: float = 1 / 3

    def recipe(self, rows: int) -> Recipe:
        """The recipe for this many training rows.

        Raises:
          EvalError: Not one epoch fits into `steps`, or there is no row.
        """
        steps = -(-rows // self.batch)
        if not 1 <= steps <= self.steps:
            raise EvalError(
                f"{rows} training rows are {steps} batches of {self.batch}, and a run "
                f"has {self.steps} steps: expected at least 1 epoch, after which it is "
                "validated. Enlarge batch or steps"
            )
        # Rounded first: 0.2 * 12,500 must not be a little more than 2,500.
        patience_steps = round(self.patience_share * self.steps, 6)
        return Recipe(
            batch=self.batch,
            epochs=self.steps // steps,
            patience=max(1, int(-(-patience_steps // steps))),
            weight_decay=self.weight_decay,
            warm_epochs=self.warm_epochs,
            warm_factor=self.warm_factor,
        )

    def fit(self, problem: Problem) -> Fit:
        role, *rows, where = self.validation(problem)
        sweep = self.sweep(
            *(problem.rows["fit"].features, problem.labels["fit"]),
            *(problem.rows[role].features, problem.labels[role]),
            problem.test.features,
            # Rows of the fit fold that validate are named: taken out, they would be copies.
            rows if role == "fit" else (),
            classes=problem.classes,
        )
        runs, choice = np.arange(self.seeds), np.argmax(sweep.score, axis=1)
        rate, info = chosen(self.learning_rates, choice, 1 - sweep.score)
        info |= {
            "chosen_by": f"{where}: epoch and learning rate",
            "groups": "none: rows are shuffled",
            "best_epoch": sweep.epoch[runs, choice].tolist(),
            "epochs": sweep.epochs[runs, choice].tolist(),
        }
        return Fit(class_probabilities(sweep.logits[runs, choice]), rate, info)

    def sweep(
        self, x, y, val_x, val_y, query, rows: Sequence[Any] = (), *, classes: int
    ) -> Any:
        """`linear_sweep` of all seeds and learning rates; `rows` are its train and val."""

        def fit(x, y, val_x, val_y, query, rates, *rows_and_seeds):
            *rows, seeds = rows_and_seeds
            parts = x, y, val_x, val_y, query, seeds, rates, *rows
            return linear_sweep(*parts, classes=classes, options=self)

        rates = np.asarray(self.learning_rates, np.float32)
        return self.run(fit, [x, y, val_x, val_y, query, rates, *rows])


class LinearSweep(NamedTuple):
    """Outcome of R seeds at S learning rates.

    Attributes:
      kernel, bias: Of the best epoch; K is 1 for two classes.
      logits: Of the query rows, by the best epoch's parameters.
      score: Balanced accuracy of the validation rows there.
      epoch, epochs: The best epoch, counted from 0, and how many were run.
      history: The score after each epoch, NaN after the run has stopped.
    """

    kernel: Float[Array, "R S E K"]
    bias: Float[Array, "R S K"]
    logits: Float[Array, "R S Q K"]
    score: Float[Array, "R S"]
    epoch: Int[Array, "R S"]
    epochs: Int[Array, "R S"]
    history: Float[Array, "R S T"]


def _start(key, inputs: int, outputs: int):
    params = uniform_linear(key, inputs, outputs)
    return params | {"kernel": params["kernel"].T}


def _logits(params, x):
    """The kernel is [K, E]: its gradient [E, K] would take a CPU four times as long."""
    product = jnp.matmul(x.astype(jnp.float32), params["kernel"].T, precision=EXACT)
    return product + params["bias"][None]


@functools.partial(jax.jit, static_argnames=("classes", "options"))
def linear_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    val_x: Float[Array, "M E"],
    val_y: Int[Array, "M"],
    query: Float[Array, "Q E"],
    seeds: Int[Array, "R"],
    learning_rate: Float[Array, "S"],
    train: Int[Array, "n"] | None = None,
    val: Int[Array, "m"] | None = None,
    *,
    classes: int,
    options: EvaLinear = EvaLinear(),
) -> LinearSweep:
    """Fits R x S linear probes side by side and applies them to the query.

    Features may be of any floating type; a batch is turned into float32. Beside them a
    sweep needs memory for R x S batches and parameters, and for the logits of
    validation and query rows.

    Args:
      x, y: Training features and class numbers, 0 to classes - 1.
      val_x, val_y: What the epoch is chosen on.
      query: Rows to predict.
      seeds: Of the runs: first parameters and row orders.
      learning_rate: The grid; every seed runs at each.
      train, val: Which of the training and of the validation rows; None is all.
      classes: Number of classes, at least 2.
      options: The protocol.

    Raises:
      EvalError: As in `EvaLinear.recipe`.
    """
    rows = len(x) if train is None else len(train)
    recipe = options.recipe(rows)
    width, columns = x.shape[1], 1 if classes == 2 else classes
    many = len(seeds), len(learning_rate)

    def loss(params, index, weight):
        index = index if train is None else train[index]
        return class_loss(_logits(params, x[index]), y[index], weight)

    def score(params):
        if val is None:
            return macro_recall(predicted_class(_logits(params, val_x)), val_y, classes)
        guess = each_row(
            lambda rows: predicted_class(_logits(params, val_x[rows])), val
        )
        return macro_recall(guess, val_y[val], classes)

    fits = fit_runs(
        init=lambda key: _start(key, width, columns),
        loss=loss,
        score=score,
        seeds=jnp.repeat(seeds, many[1]),
        learning_rate=jnp.tile(learning_rate, many[0]),
        rows=rows,
        recipe=recipe,
    )
    logits = jax.vmap(_logits, (0, None))(fits.params, query)
    fits, logits = jax.tree.map(
        lambda leaf: leaf.reshape(*many, *leaf.shape[1:]), (fits, logits)
    )
    kernel, bias = jnp.swapaxes(fits.params["kernel"], 2, 3), fits.params["bias"]
    return LinearSweep(kernel, bias, logits, *fits[1:])
