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

Inside, features are standardised and the kernel is penalised as if they were not, which
changes the way to the minimum and not the minimum. Rows are not weighted and nothing is
chosen; logistic.py chooses its regularisation.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from pathjax.evals import EvalError
from pathjax.evals.probes.base import Fit, Probe, Problem, class_probabilities
from pathjax.evals.probes.logistic import minimise
from pathjax.evals.probes.sweep import EXACT, moments


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
    x, query = x.astype(jnp.float32), query.astype(jnp.float32)
    rows, width = x.shape
    cost = width * classes / 100
    mean, scale = moments(x, jnp.ones(rows))
    x, query = ((part - mean[None]) / scale[None] for part in (x, query))

    def logits(params, at):
        product = jnp.matmul(at, params["kernel"], precision=EXACT)
        return product + params["bias"][None]

    def penalty(kernel):
        square = jnp.sum((kernel / scale[:, None]) ** 2)
        if squared:
            # Of two classes scikit-learn has one logit, w; two are w / 2 and -w / 2.
            return square * (2 if classes == 2 else 1) / (2 * cost * rows)
        # The norm's gradient at 0, where the fit begins, is 0 as in torch.
        some = square > 0
        return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0) / (2 * cost)

    def loss(params):
        each = optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y)
        return each.mean() + penalty(params["kernel"])

    start = {"kernel": jnp.zeros((width, classes)), "bias": jnp.zeros((classes,))}
    params, count, gradient = minimise(loss, start, steps, tolerance)
    return UniFit(logits(params, query), count, gradient)
