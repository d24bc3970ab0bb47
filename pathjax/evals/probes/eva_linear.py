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
`chosen_by` in the results says so.

Two things differ by intent. eva's runs are not seeded; these are. And eva validates
binary tasks with torchmetrics, which takes a batch of logits that all happen to lie
within 0 and 1 for probabilities; here 0.5 is always the probability.

An epoch that the step limit would cut short has no validation in eva and so cannot be
chosen; it is not run.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pathjax.evals import EvalError
from pathjax.evals.probes.base import (
    Fit,
    Probe,
    Problem,
    chosen,
    class_probabilities,
    over_devices,
)
from pathjax.evals.probes.minibatch import (
    Recipe,
    class_loss,
    fit_runs,
    macro_recall,
    predicted_class,
    uniform_linear,
)
from pathjax.evals.probes.sweep import EXACT


@dataclasses.dataclass(frozen=True)
class EvaLinear(Probe):
    """eva's linear probe.

    Attributes:
      learning_rates: The grid; eva has one.
      seeds: Runs, which differ in first parameters and row orders.
      batch, steps: Rows of a batch, and batches of a run at most.
      patience_share: Of `steps`; rounded up to whole epochs it is the patience.
      weight_decay, warm_epochs, warm_factor: As in `minibatch.Recipe`.
    """

    kinds = ("classification",)
    averaged = True
    learning_rates: tuple[float, ...] = (3e-4,)
    seeds: int = 5
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
        val = "select" if "select" in problem.rows else "test"
        rates = np.asarray(self.learning_rates, np.float32)
        sweep = over_devices(
            lambda rates, x, y, val_x, val_y, query, seeds: linear_sweep(
                *(x, y, val_x, val_y, query, seeds, rates),
                classes=problem.classes,
                options=self,
            ),
            [
                rates,
                problem.rows["fit"].features,
                problem.labels["fit"],
                problem.rows[val].features,
                problem.labels[val],
                problem.test.features,
            ],
            [np.arange(self.seeds)],
        )
        choice, runs = np.asarray(sweep.choice), np.arange(self.seeds)
        rate, info = chosen(self.learning_rates, choice, 1 - np.asarray(sweep.score))
        where = "fold" if val == "select" else "the scored fold"
        info |= {
            "chosen_by": f"{where} {problem.names[val]}: epoch and learning rate",
            "groups": "none: rows are shuffled",
            "best_epoch": [int(e) for e in np.asarray(sweep.epoch)[runs, choice]],
            "epochs": [int(e) for e in np.asarray(sweep.epochs)[runs, choice]],
        }
        logits = np.asarray(sweep.logits)[runs, choice]
        return Fit(class_probabilities(logits), rate, info)


class LinearSweep(NamedTuple):
    """Outcome of R seeds at S learning rates.

    Attributes:
      kernel, bias: of the best epoch; K is 1 for two classes.
      logits: of the query rows, by the best epoch's parameters.
      score: balanced accuracy of the validation rows there.
      epoch, epochs: the best epoch, counted from 0, and how many were run.
      history: the score after each epoch, NaN after the run has stopped.
    """

    kernel: Float[Array, "R S E K"]
    bias: Float[Array, "R S K"]
    logits: Float[Array, "R S Q K"]
    score: Float[Array, "R S"]
    epoch: Int[Array, "R S"]
    epochs: Int[Array, "R S"]
    history: Float[Array, "R S T"]

    @property
    def choice(self) -> Int[Array, "R"]:
        """Each seed's learning rate of best validation score; the first of equals."""
        return jnp.argmax(self.score, axis=1)

    @property
    def prediction(self) -> Int[Array, "R Q"]:
        """Class numbers of the query rows at each seed's chosen learning rate."""
        chosen = jnp.take_along_axis(self.logits, self.choice[:, None, None, None], 1)
        return predicted_class(chosen[:, 0])


def _logits(params, x):
    x = x.astype(jnp.float32)
    return jnp.matmul(x, params["kernel"], precision=EXACT) + params["bias"][None, :]


@functools.partial(jax.jit, static_argnames=("classes", "options"))
def linear_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    val_x: Float[Array, "M E"],
    val_y: Int[Array, "M"],
    query: Float[Array, "Q E"],
    seeds: Int[Array, "R"],
    learning_rate: Float[Array, "S"],
    *,
    classes: int,
    options: EvaLinear = EvaLinear(),
) -> LinearSweep:
    """Fits R x S linear probes side by side and applies them to the query.

    Features may be of any floating type; they stay as they are, and a batch is turned
    into float32. Beside them a sweep needs memory for R x S batches and parameters, and
    for the logits of validation and query rows.

    Args:
      x, y: training features and class numbers, 0 to classes - 1.
      val_x, val_y: what the epoch is chosen on.
      query: rows to predict; the validation rows where a task has no test.
      seeds: of the runs: first parameters and row orders; eva has 5.
      learning_rate: the grid; every seed runs at each.
      classes: number of classes, at least 2.
      options: the protocol.

    Raises:
      EvalError: as in `EvaLinear.recipe`.
    """
    recipe = options.recipe(len(x))
    width, columns = x.shape[1], 1 if classes == 2 else classes
    many = len(seeds), len(learning_rate)

    fits = fit_runs(
        init=lambda key: uniform_linear(key, width, columns),
        loss=lambda params, index, weight: class_loss(
            _logits(params, x[index]), y[index], weight
        ),
        score=lambda params: macro_recall(
            predicted_class(_logits(params, val_x)), val_y, classes
        ),
        seeds=jnp.repeat(seeds, many[1]),
        learning_rate=jnp.tile(learning_rate, many[0]),
        rows=len(x),
        recipe=recipe,
    )
    logits = jax.vmap(_logits, (0, None))(fits.params, query)
    grid = jax.tree.map(lambda leaf: leaf.reshape(*many, *leaf.shape[1:]), fits)
    return LinearSweep(
        grid.params["kernel"],
        grid.params["bias"],
        logits.reshape(*many, *logits.shape[1:]),
        grid.score,
        grid.epoch,
        grid.epochs,
        grid.history,
    )
