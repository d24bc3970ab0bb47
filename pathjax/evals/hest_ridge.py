"""The ridge regression of the HEST-Benchmark: expression from embeddings.

    train x, y; query x -> hest_ridge -> predictions -> hest_score -> r

Scaler, 256 principal components and ridge without intercept, all fitted on the train
rows (github.com/mahmoodlab/HEST, src/hest/bench/trainer.py and benchmark.py; Jaume et
al. 2024, arXiv:2406.16192). The penalty is 100 / (components x genes) on the sum of
squares. The score is Pearson r of each gene over all query rows, whichever slide they
are from, and its mean over genes. Targets are log1p of raw counts there, without
library-size normalisation; which values are handed in here is the caller's to say.

Components are found exactly, by one decomposition of the scaled features, where
scikit-learn's PCA picks a solver by size and may draw at random (hence HEST's seed 1).
Where rows or features are fewer, there are as many components as there can be, and the
penalty counts those. Without an intercept the predictions lack the genes' means, as HEST's do;
r does not see it.

It reads no file and knows no task; ridge with a chosen strength is in probes.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from pathjax.evals.probes import EXACT, moments
from pathjax.evals.statistics import per_gene_pearson

COMPONENTS = 256
PENALTY = 100.0


@functools.partial(jax.jit, static_argnames=("components",))
def hest_ridge(
    x: Float[Array, "N E"],
    y: Float[Array, "N G"],
    query: Float[Array, "Q E"],
    *,
    components: int = COMPONENTS,
) -> Float[Array, "Q G"]:
    """Predictions of the query rows, all genes from one decomposition.

    Args:
      x, y: train features and log expression.
      query: rows to predict.
      components: how many principal components at most.
    """
    x, query = x.astype(jnp.float32), query.astype(jnp.float32)
    mean, scale = moments(x, jnp.ones(len(x)))
    x, query = ((part - mean[None]) / scale[None] for part in (x, query))
    # Centred rows have one dimension less than there are rows.
    kept = min(components, x.shape[0] - 1, x.shape[1])
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    u, s, vt = u[:, :kept], s[:kept], vt[:kept]
    penalty = PENALTY / (kept * y.shape[1])
    # Scores are u * s, so that the normal equations of the ridge are diagonal.
    kernel = (s / (s**2 + penalty))[:, None] * jnp.matmul(u.T, y, precision=EXACT)
    return jnp.matmul(jnp.matmul(query, vt.T, precision=EXACT), kernel, precision=EXACT)


def hest_score(
    truth: Num[np.ndarray, "Q G"], prediction: Num[np.ndarray, "Q G"]
) -> float:
    """Mean over genes of Pearson r over rows; NaN with a constant gene, as in HEST."""
    return float(np.mean(per_gene_pearson(truth, prediction)))
