"""Logistic regression: `logistic_sweep` the solver, `Logistic` the probe.

With more rows than features all fits multiply the same rows (logistic_path.py), with
more features than rows each the principal axes of its own (logistic_wide.py). What
sweeps share is in sweep.py.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from pathjax.evals.folds import FoldWeights
from pathjax.evals.probes.base import pad, require_finite
from pathjax.evals.probes.logistic_path import path_sweep
from pathjax.evals.probes.logistic_wide import (
    label_sweep,
    log_probabilities,
    rotated_fits,
)
from pathjax.evals.probes.sweep import (
    EXACT,
    GridProbe,
    Sweep,
    choose,
    moments,
    powers_of_ten,
)


@dataclasses.dataclass(frozen=True)
class Logistic(GridProbe):
    """Multinomial logistic regression.

    Attributes:
      l2: The grid, per unit of sample weight: scikit-learn's C is 1 / (l2 * n).
      balanced: Classes weigh equally in the loss, as they do in the metric.
      steps, tolerance: Of L-BFGS.
    """

    kinds = ("classification",)
    l2: tuple[float, ...] = powers_of_ten(2, -4, 8)
    balanced: bool = True
    steps: int = 300
    tolerance: float = 1e-4

    @property
    def grid(self):
        return self.l2

    def sweep(self, x, y, grid, query, train, val, *, final, classes):
        return logistic_sweep(
            *(x, y, train, val, grid, query),
            classes=classes,
            balanced=self.balanced,
            final=final,
            steps=self.steps,
            tolerance=self.tolerance,
        )

    def fit_labels(
        self,
        x: Float[np.ndarray, "N E"],
        y: Int[np.ndarray, "G N"],
        weights: FoldWeights,
    ) -> tuple[Float[np.ndarray, "G N"], Float[np.ndarray, "G"]]:
        """Many labels of two classes of the same rows, as one compiled program.

        Args:
          x: Features of all rows, those to predict too.
          y: Class numbers, -1 where a label is not known.
          weights: Of one seed; rows to predict have none.

        Returns:
          The probability of class 1 of all rows, and the strength chosen for each label.
        """
        labels = np.full((len(y), len(pad(x))), -1, np.int32)
        labels[:, : len(x)] = y
        sweep = label_sweep(
            # Columns of zeros change nothing: folds that keep other genes share a compile.
            *(pad(pad(x), 1), labels, pad(weights.train, 2), pad(weights.val, 2)),
            np.asarray(self.grid, np.float32),
            balanced=self.balanced,
            final=weights.final,
            steps=self.steps,
            tolerance=self.tolerance,
        )
        require_finite(sweep.loss, sweep.gradient)
        chosen = np.asarray(self.grid)[np.asarray(sweep.choice)]
        return np.asarray(sweep.prediction)[:, : len(x), 0], chosen

    def info(self, sweep):
        return {
            "solver_steps": [int(count) for count in sweep.steps],
            "converged": bool((sweep.gradient <= self.tolerance).all()),
        }


@functools.partial(jax.jit, static_argnames=("classes", "balanced", "final", "steps"))
def logistic_sweep(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    l2: Float[Array, "S"],
    query: Float[Array, "Q E"],
    *,
    classes: int,
    balanced: bool,
    final: int,
    steps: int = 300,
    tolerance: ArrayLike = 1e-4,
) -> Sweep:
    """Fits R x F x S classifiers, chooses one per seed, predicts the query.

    Args:
      x, y: Features and class numbers, 0 to classes - 1.
      train, val, final: Of FoldWeights.
      l2: Regularisations, the strongest first (ties go to the first).
      query: Rows to predict.
      classes: Number of classes, at least 2.
      balanced: Weigh classes equally (scikit-learn's class_weight="balanced").
      steps, tolerance: L-BFGS stops when the gradient's largest entry is below
        `tolerance`, and after `steps` at the latest.
    """
    if x.shape[1] <= len(x):
        return path_sweep(
            *(x, y, train, val, l2, query),
            classes=classes,
            balanced=balanced,
            final=final,
            steps=steps,
            tolerance=tolerance,
        )
    onehot = jax.nn.one_hot(y, classes).T[None]
    # By the mean and spread of all rows that some fit counts.
    x = x.astype(jnp.float32)
    centre, spread = moments(x, (train.sum(axis=(0, 1)) > 0).astype(jnp.float32))
    losses, held, *parts = rotated_fits(
        (x - centre[None, :]) / spread[None, :],
        *(onehot, train, val, l2),
        balanced=balanced,
        steps=steps,
        tolerance=tolerance,
        keep=lambda params, shared, logp: shared(params[0]),
    )
    loss, choice = choose(losses[..., 0], held[..., 0])
    seeds = jnp.arange(len(train))
    (kernel, bias), count, gradient = jax.tree.map(
        lambda part: part[seeds, final, choice], parts
    )
    counts = jnp.einsum("rn,gcn->rc", train[:, final], onehot, precision=EXACT)
    query = (query.astype(jnp.float32) - centre[None, :]) / spread[None, :]
    params = jnp.concatenate([kernel, bias[:, None, :]], axis=1)
    logp = log_probabilities(params, query, (counts > 0).astype(jnp.float32))
    prediction = jnp.swapaxes(jnp.exp(logp), 1, 2)
    return Sweep(prediction, choice, loss, count[:, 0], gradient[:, 0])
