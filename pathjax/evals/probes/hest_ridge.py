"""The ridge regression of the HEST-Benchmark: expression from embeddings.

`hest_ridge` and `hest_choice` are the solver, `HestRidge` the probe.

Scaler, 256 principal components and ridge without intercept, all fitted on the train
rows (github.com/mahmoodlab/HEST, src/hest/bench/trainer.py and benchmark.py; Jaume et
al. 2024, arXiv:2406.16192). HEST's alpha is 100 / (components x genes) on the sum of
squares; the paper's table is without components. The score is Pearson r of each gene
over all query rows, whichever slide they are from, and its mean over genes. Targets are
log1p of raw counts there, without library-size normalisation; the caller chooses which
values are passed here.

Components are found exactly, by one decomposition of the scaled features, where
scikit-learn's PCA picks a solver by size and may draw at random (hence HEST's seed 1).
Where rows or features are fewer, there are as many components as there can be, and
HEST's alpha counts those. Without an intercept the predictions lack the genes' means, as
HEST's do; r does not see it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pathjax.evals.probes.base import Fit, Probe, Problem, chosen
from pathjax.evals.probes.ridge import decompose

COMPONENTS = 256
PENALTY = 100.0


@dataclasses.dataclass(frozen=True)
class HestRidge(Probe):
    """HEST's ridge: at HEST's alpha, or at one chosen from a grid.

    Attributes:
      alphas: The grid, chosen from on the select fold, or over folds of the fit fold's
        patients. Empty: HEST's alpha, and fit and select rows are learned from together.
      components: Principal components; 0 is none.
      folds, resample_seed: Of the choice.
    """

    kinds = ("expression",)
    alphas: tuple[float, ...] = ()
    components: int = COMPONENTS
    folds: int = 5
    resample_seed: int = 0

    def fit(self, problem: Problem) -> Fit:
        x, y, query = problem.joined("features"), problem.y, problem.test.features
        if self.alphas:
            grid = np.asarray(self.alphas, np.float32)
            weights, info = problem.fold_weights(1, self.folds, self.resample_seed)
            held_out = weights.val[0].sum(axis=1) > 0
            parts = weights.train[0][held_out], weights.val[0][held_out]
            loss = hest_choice(x, y, *parts, grid, components=self.components)
            choice = [int(np.argmin(loss))]
            alpha, more = chosen(self.alphas, choice, np.asarray(loss)[None])
            info, weight = more | info, weights.train[0, weights.final]
        else:
            rows, width = x.shape
            alpha = (hest_alpha(self.components, rows, width, y.shape[1]),)
            info = {"chosen_by": "nothing: alpha is HEST's", "groups": "none"}
            weight = np.ones(len(x), np.float32)
        grid = np.asarray(alpha, np.float32)
        prediction = hest_ridge(x, y, query, grid, weight, components=self.components)
        return Fit(np.asarray(prediction), alpha, info)


def kept_components(components: int, rows: int, features: int) -> int:
    """How many components there are: at most `components`; 0 asks for all.

    Centred rows have one dimension less than there are rows.
    """
    most = min(rows - 1, features)
    return min(components, most) if components else most


def hest_alpha(components: int, rows: int, features: int, genes: int) -> float:
    """HEST's alpha; without components it counts the features."""
    width = kept_components(components, rows, features) if components else features
    return PENALTY / (width * genes)


@functools.partial(jax.jit, static_argnames=("components",))
def hest_ridge(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    query: Float[Array, "Q E"],
    alpha: Float[Array, "S"],
    weight: Float[Array, "N"] | None = None,
    *,
    components: int = COMPONENTS,
) -> Float[Array, "S Q G"]:
    """Predictions of the query rows, all genes and alphas from one decomposition.

    Args:
      x, y: Train features and log expression.
      query: Rows to predict.
      alpha: Penalties on the sum of squares, as scikit-learn's Ridge has them.
      weight: 1 for rows to learn from, 0 for others; None is all.
      components: How many principal components at most; 0 keeps all directions.
    """
    weight = jnp.ones(len(x)) if weight is None else weight
    parts = decompose(x, y, weight, kept_components(components, *x.shape))
    # Without an intercept; alpha is on the sum over rows, not on their mean.
    parts = parts._replace(offset=jnp.zeros_like(parts.offset))
    return parts.predict(query, alpha / weight.sum())


@functools.partial(jax.jit, static_argnames=("components",))
def hest_choice(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    train: Float[Array, "F N"],
    val: Float[Array, "F N"],
    alpha: Float[Array, "S"],
    *,
    components: int = COMPONENTS,
) -> Float[Array, "S"]:
    """Mean held-out squared error of each alpha, with the genes' train means added.

    Args:
      x, y: Features and log expression of the train rows.
      train, val: For each inner fold, 1 for rows that are learned from, and that the
        error is of.
      alpha, components: As in `hest_ridge`.
    """
    spread = jnp.ones(y.shape[1])

    def held_out(part):
        train, val = part
        parts = decompose(x, y, train, kept_components(components, *x.shape))
        return parts.loss(x, y, val, alpha / train.sum(), spread)

    return jax.lax.map(held_out, (train, val)).sum(axis=0) / val.sum()
