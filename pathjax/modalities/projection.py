"""Embeddings in two dimensions, and the purity of their neighbourhoods.

    features -> reduced -> project (t-SNE or UMAP) -> [n, 2]
    features, labels    -> neighbours -> purity (classes) or r (numbers), and chance

Such a picture preserves neighbourhoods and not distances. Purity is the share of a row's
nearest rows that are of its class, in the embedding and in the picture. Needs the extra
`pathjax[figures]`.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.features import principal_axes, scaled
from pathjax.optional_deps import need

METHODS = ("tsne", "umap")
# What both are given: fewer, decorrelated columns (as the authors of t-SNE did:
# van der Maaten & Hinton 2008, J Mach Learn Res 9:2579, section 4.1, 30; 50 is usual).
COMPONENTS = 50
PERPLEXITY = 30  # openTSNE's own
NEIGHBOURS = 15  # UMAP's own
K = 10
ROWS_AT_ONCE = 512


def reduced(
    x: Float[np.ndarray, "n E"], *, standardise: bool = False
) -> Float[np.ndarray, "n F"]:
    """Centred features, as their first principal components.

    Args:
      x: Features.
      standardise: For features without a common scale, such as genes. On an embedding
        it would amplify noise.
    """
    everyone = np.ones(len(x), bool)
    x = scaled(np.asarray(x, np.float64), everyone, standardise=standardise)
    if x.shape[1] > COMPONENTS:
        x = x @ principal_axes(x, min(COMPONENTS, len(x) - 1))
    return np.ascontiguousarray(x)


def project(
    x: Float[np.ndarray, "n F"], method: str = "tsne", seed: int = 0
) -> Float[np.ndarray, "n 2"]:
    """Places in the plane, initialised with the first two principal components.

    Args:
      x: Of `reduced`.
      method: "tsne" (openTSNE) or "umap".
      seed: Of the library.

    Raises:
      ModalityError: Another method, or too few rows.
      RuntimeError: The library is missing.
    """
    if method not in METHODS:
        raise ModalityError(f"method {method!r}: expected one of {', '.join(METHODS)}")
    if len(x) < 10:
        raise ModalityError(f"expected 10 or more rows for a picture, got {len(x)}")
    if method == "tsne":
        tsne = need("openTSNE", "figures").TSNE(
            perplexity=min(PERPLEXITY, (len(x) - 1) / 3),
            initialization="pca",
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(tsne.fit(x), np.float64)
    umap = need("umap", "figures").UMAP(
        n_neighbors=min(NEIGHBOURS, len(x) - 1),
        init="pca",
        random_state=seed,
        n_jobs=1,  # with more, umap ignores the seed
    )
    return np.asarray(umap.fit_transform(x), np.float64)


def neighbours(
    x: Float[np.ndarray, "n F"], patient: Int[np.ndarray, "n"], k: int = K
) -> tuple[Int[np.ndarray, "n k"], bool]:
    """The k nearest rows of other patients, and whether they are of others.

    Rows of one patient are alike whatever their label. Where fewer than k rows are of
    other patients, all rows but itself count.
    """
    n = len(x)
    k = min(k, n - 1)
    _, count = np.unique(patient, return_counts=True)
    others = n - int(count.max()) >= k
    square = (x**2).sum(axis=1)
    near = np.empty((n, k), np.int64)
    for start in range(0, n, ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, n))
        far = square[rows, None] + square[None] - 2 * x[rows] @ x.T
        if others:
            far[patient[rows, None] == patient[None]] = np.inf
        far[np.arange(len(rows)), rows] = np.inf
        near[rows] = np.argpartition(far, k - 1, axis=1)[:, :k]
    return near, others


@dataclasses.dataclass(frozen=True)
class Purity:
    """How far the neighbours of rows share their labels.

    Attributes:
      value: Of classes, the mean over classes of the share of neighbours that are of
        the row's own; of numbers, the correlation of a row's value with the mean of
        its neighbours'.
      chance: The same of random neighbours.
      k: Number of neighbours.
      other_patients: True when no neighbour is of the row's own patient.
    """

    value: float
    chance: float
    k: int
    other_patients: bool


def purity(
    x: Float[np.ndarray, "n F"],
    label: np.ndarray,
    patient: Int[np.ndarray, "n"],
    k: int = K,
) -> Purity:
    """k-NN purity of class numbers (int), or correlation of values (float)."""
    near, others = neighbours(x, patient, k)
    if np.issubdtype(label.dtype, np.floating):
        mean = label[near].mean(axis=1)
        # Not by their deviation, which is rounded: equal values would correlate.
        constant = min(np.ptp(mean), np.ptp(label)) <= 1e-9 * np.abs(label).max()
        r = 0.0 if constant else float(np.corrcoef(label, mean)[0, 1])
        return Purity(r, 0.0, near.shape[1], others)
    same = (label[near] == label[:, None]).mean(axis=1)
    # Of a random row among those that may be neighbours.
    own = patient if others else np.arange(len(label))
    may = len(label) - _size_of(own)
    random = (_size_of(label) - _size_of(np.stack([label, own], axis=1))) / may
    classes = np.unique(label)
    value, chance = (
        float(np.mean([rows[label == one].mean() for one in classes]))
        for rows in (same, random)
    )
    return Purity(value, chance, near.shape[1], others)


def _size_of(group: Int[np.ndarray, "n *k"]) -> Int[np.ndarray, "n"]:
    """How many rows are of each row's group."""
    _, number, count = np.unique(group, axis=0, return_inverse=True, return_counts=True)
    return count[number.reshape(-1)]
