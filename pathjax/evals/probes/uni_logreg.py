"""UNI's linear probe of tiles: logistic regression with a penalty set by the sizes.

`uni_logreg` is the solver, `UniLogreg` the probe.

github.com/mahmoodlab/UNI, uni/downstream/eval_patch_features/linear_probe.py and
logistic_regression.py (Chen et al. 2024, doi:10.1038/s41591-024-02857-3): features as
they are, train and val rows together, cost C = features x classes / 100, L-BFGS of at
most 1,000 steps from zero, bias not penalised.

Its own solver minimises the mean log loss + |W| / (2 C): the norm of the kernel, *not*
its square. Its option `use_sklearn` is scikit-learn's LogisticRegression(C), which is
the mean log loss + |W|^2 / (2 C n), far weaker on any usual set. Both are here; the
first is UNI's default. It is no probe for few features: below some tens C is so small
that the minimum is at W = 0, a kink where L-BFGS stops, with a gradient above tolerance.

Inside, features are standardised, block by block, and the kernel is penalised as if they
were not, which changes the way to the minimum and not the minimum. Rows are not weighted and nothing is
chosen; logistic.py chooses its regularisation.
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
    class_probabilities,
    require_finite,
)
from pathjax.evals.probes.lbfgs import Point, descend, no_pairs, origin, settled
from pathjax.evals.probes.sweep import EXACT, moments, over_rows


@dataclasses.dataclass(frozen=True)
class UniLogreg(Probe):
    """UNI's logistic regression: fit and select rows together, nothing is chosen.

    Attributes:
      squared: scikit-learn's penalty in place of UNI's.
      steps, tolerance: Of L-BFGS.
    """

    kinds = ("classification",)
    squared: bool = False
    steps: int = 1000
    tolerance: float = 1e-7

    def fit(self, problem: Problem) -> Fit:
        absent = problem.classes - len(np.unique(problem.y))
        if absent:
            raise EvalError(
                f"{absent} of {problem.classes} classes are in the test fold only, and "
                "this probe counts the classes it learns: choose other folds, or name "
                "the classes"
            )
        result = uni_logreg(
            problem.joined("features"),
            problem.y,
            problem.test.features,
            classes=problem.classes,
            squared=self.squared,
            steps=self.steps,
            tolerance=self.tolerance,
        )
        require_finite(result.gradient)
        info = {
            "chosen_by": "nothing: the cost follows from features and classes",
            "groups": "none",
            "solver_steps": [int(result.steps)],
            "converged": bool(result.gradient <= self.tolerance),
        }
        probabilities = class_probabilities(np.asarray(result.logits))
        return Fit(probabilities[None], info=info)


class UniFit(NamedTuple):
    """Logits of the query rows, the solver's steps and its last largest gradient."""

    logits: Float[Array, "Q C"]
    steps: Int[Array, ""]
    gradient: Float[Array, ""]


@functools.partial(jax.jit, static_argnames=("classes", "squared", "steps"))
def uni_logreg(
    x: Float[Array, "N E"],
    y: Int[Array, "N"],
    query: Float[Array, "Q E"],
    *,
    classes: int,
    squared: bool = False,
    steps: int = 1000,
    tolerance: float = 1e-7,
) -> UniFit:
    """Fits the train rows and applies the probe to the query.

    Args:
      x, y: Features and class numbers of all rows that are learned from.
      query: Rows to predict.
      classes: How many; each must be in `y`, as the cost counts those that are.
      squared: scikit-learn's penalty in place of UNI's own.
      steps, tolerance: L-BFGS stops when the gradient's largest entry is below
        `tolerance`, and after `steps` at the latest. scikit-learn's penalty is so weak
        that on classes which can be told apart 1e-5 leaves probabilities 0.03 off.
    """
    rows, width = x.shape
    cost = width * classes / 100
    mean, scale = moments(x, jnp.ones(rows))

    def standard(x):
        return (x.astype(jnp.float32) - mean[None, :]) / scale[None, :]

    def penalty(kernel):
        square = jnp.sum((kernel / scale[:, None]) ** 2)
        if squared:
            # Of two classes scikit-learn has one logit, w; two are w / 2 and -w / 2.
            return square * (2 if classes == 2 else 1) / (2 * cost * rows)
        # The norm's gradient at 0, where the fit begins, is 0 as in torch.
        some = square > 0
        return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0) / (2 * cost)

    def logits(params, x):
        product = jnp.matmul(standard(x), params[0, :-1], precision=EXACT)
        return product + params[0, -1][None]

    def evaluate(params):
        def block(x, y):
            logp = jax.nn.log_softmax(logits(params, x))
            onehot = jax.nn.one_hot(y, classes)
            slope = jnp.exp(logp) - onehot
            pull = jnp.matmul(standard(x).T, slope, precision=EXACT)
            return -jnp.sum(onehot * logp), jnp.vstack([pull, slope.sum(axis=0)])

        loss, gradient = jax.tree.map(lambda part: part / rows, over_rows(block, x, y))
        more, pull = jax.value_and_grad(penalty)(params[0, :-1])
        gradient = gradient.at[:-1].add(pull)
        return Point(params, loss[None] + more, gradient[None], jnp.zeros(1))

    start = origin(1, width + 1, classes)
    point, _, count = descend(
        evaluate,
        evaluate(start),
        no_pairs(start),
        precondition=lambda vector, _: vector,
        largest=_largest,
        steps=steps,
        tolerance=tolerance,
    )
    gradient = settled(point, _largest(point.gradient))
    return UniFit(logits(point.params, query), count[0], gradient[0])


def _largest(gradient):
    return jnp.abs(gradient).max(axis=(1, 2))
