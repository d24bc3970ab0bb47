"""The linear probe of kaiko's eva, all runs and learning rates as one program.

    train, validation, query rows; seeds, learning rates -> linear_sweep -> LinearSweep

The protocol (github.com/kaiko-ai/eva at 73b61a7, configs/vision/pathology/offline/
classification): one linear layer on features as they are, AdamW at 3e-4, batches of
256, at most 12,500 steps, balanced accuracy on the validation rows after each epoch,
stopped after 20 % of the steps without a better one, scored at the best epoch; 5 runs.
A task of two classes has one logit.

`EVA` copies what the code runs: its head module steps torch's ConstantLR once an epoch,
so that the first 5 epochs, which on large sets is most of the fit, run at a third of
the learning rate, and AdamW decays weights by torch's default, 0.01. `EVA_DOCS` is what
its documentation says: a constant learning rate and no weight decay.

Two things differ by intent. eva's runs are not seeded; these are. And eva validates
binary tasks with torchmetrics, which takes a batch of logits that all happen to lie
within 0 and 1 for probabilities; here 0.5 is always the probability.

An epoch that the step limit would cut short has no validation in eva and so cannot be
chosen; it is not run. The probe reads no file and knows no task.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pathjax.evals.minibatch import (
    Recipe,
    RecipeError,
    class_loss,
    fit_runs,
    macro_recall,
    predicted_class,
    uniform_linear,
)
from pathjax.evals.probes import EXACT

LEARNING_RATE = 3e-4
RUNS = 5


@dataclasses.dataclass(frozen=True)
class LinearOptions:
    """What a run of the protocol depends on besides the data.

    Attributes:
      batch, max_steps: rows of a batch, and batches of a run.
      patience_share: of `max_steps`; rounded up to whole epochs it is the patience.
      weight_decay, warm_epochs, warm_factor: as in `minibatch.Recipe`.
    """

    batch: int = 256
    max_steps: int = 12_500
    patience_share: float = 0.2
    weight_decay: float = 0.01
    warm_epochs: int = 5
    warm_factor: float = 1 / 3

    def recipe(self, rows: int) -> Recipe:
        """The recipe for this many training rows.

        Raises:
          RecipeError: not one epoch fits into `max_steps`, or there is no row.
        """
        steps = -(-rows // self.batch)
        if not 1 <= steps <= self.max_steps:
            raise RecipeError(
                f"{rows} training rows are {steps} batches of {self.batch}, and a run "
                f"has {self.max_steps} steps: wanted 1 epoch at least, which is when "
                "it is validated; enlarge batch or max_steps"
            )
        # Rounded first: 0.2 * 12,500 must not be a little more than 2,500.
        patience_steps = round(self.patience_share * self.max_steps, 6)
        return Recipe(
            batch=self.batch,
            epochs=self.max_steps // steps,
            patience=max(1, int(-(-patience_steps // steps))),
            weight_decay=self.weight_decay,
            warm_epochs=self.warm_epochs,
            warm_factor=self.warm_factor,
        )


EVA = LinearOptions()
EVA_DOCS = LinearOptions(weight_decay=0.0, warm_epochs=0)


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
    options: LinearOptions = EVA,
) -> LinearSweep:
    """Fits R x S linear probes side by side and applies them to the query.

    Features may be of any floating type; they stay as they are, and a batch is turned
    into float32. Beside them a sweep needs memory for R x S batches and parameters, and
    for the logits of validation and query rows.

    Args:
      x, y: training features and class numbers, 0 to classes - 1.
      val_x, val_y: what the epoch is chosen on.
      query: rows to predict; the validation rows where a task has no test.
      seeds: of the runs: first parameters and row orders. `EVA` has 5 runs.
      learning_rate: the grid; every seed runs at each.
      classes: number of classes, at least 2.
      options: the protocol.

    Raises:
      RecipeError: as in `LinearOptions.recipe`.
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
