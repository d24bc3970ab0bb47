"""Image to expression retrieval: recall@k over a test fold, both ways, with chance.

`recall_at_k` counts, `Retrieval` is the probe. Pair-aware: rows with one `pair_id` (one
patient, or one sample) are all right answers. Masked rows are neither queries nor
answers. NumPy only; it does not embed anything.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from pathjax.evals import EvalError
from pathjax.evals.probes.base import Fit, Probe, Problem


@dataclasses.dataclass(frozen=True)
class Retrieval(Probe):
    """Recall@k of the test rows against their partner embeddings; learns nothing.

    Attributes:
      k: How many answers are looked at.
      per_slide: Each query is asked within its own slide only.
    """

    kinds = ("retrieval",)
    samples_only = True
    k: int = 10
    per_slide: bool = False

    def fit(self, problem: Problem) -> Fit:
        test = problem.test
        result = recall_at_k(
            test.features,
            problem.partner,
            self.k,
            group=test.slide if self.per_slide else None,
        )
        info = {
            "k": self.k,
            "per_slide": self.per_slide,
            "image_to_expression": result.image_to_expression,
            "expression_to_image": result.expression_to_image,
        }
        return Fit(
            result.hits[None].astype(np.float32), info=info, chance=result.chance
        )


@dataclasses.dataclass(frozen=True)
class Recall:
    """Recall@k of n queries.

    Attributes:
      k: the cut.
      hits: `[n, 2]` bool, image to expression and expression to image, in the order
        of the unmasked rows.
      chance: expected recall of a random order, mean over queries. It is k / n where
        a query has one right answer among n.
      n: number of queries.
    """

    k: int
    hits: Bool[np.ndarray, "n 2"]
    chance: float
    n: int

    @property
    def image_to_expression(self) -> float:
        return float(self.hits[:, 0].mean())

    @property
    def expression_to_image(self) -> float:
        return float(self.hits[:, 1].mean())

    @property
    def value(self) -> float:
        """Mean of the two directions."""
        return float(self.hits.mean())


def _unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def ranks(
    query: Float[np.ndarray, "n E"],
    offered: Float[np.ndarray, "n E"],
    pair_id: Int[np.ndarray, "n"],
) -> Int[np.ndarray, "n"]:
    """Rank, from 1, of each query's best right answer by cosine similarity.

    A tie counts against the model: constant embeddings retrieve nothing.
    """
    query, offered = _unit(query), _unit(offered)
    out = np.empty(len(query), np.int64)
    for start in range(0, len(query), 1024):  # 1024 x n similarities at a time
        rows = slice(start, start + 1024)
        similarity = query[rows] @ offered.T
        right = pair_id[rows, None] == pair_id[None, :]
        best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
        # Equal vectors may differ in the last bit of their products.
        out[rows] = 1 + (~right & (similarity >= best - 1e-9)).sum(axis=1)
    return out


def chance_recall(pair_id: Int[np.ndarray, "n"], k: int) -> float:
    """Expected recall@k of a random order: 1 - C(n - m, k) / C(n, k) for m right ones."""
    n = len(pair_id)
    _, inverse, count = np.unique(pair_id, return_inverse=True, return_counts=True)
    right = count[inverse]
    miss = np.ones(n)
    for answer in range(min(k, n)):
        miss *= np.maximum(n - right - answer, 0) / (n - answer)
    return float(1 - miss.mean())


def recall_at_k(
    image: Float[np.ndarray, "n E"],
    expression: Float[np.ndarray, "n E"],
    k: int,
    *,
    pair_id: Int[np.ndarray, "n"] | None = None,
    mask: Bool[np.ndarray, "n"] | None = None,
    group: Shaped[np.ndarray, "n"] | None = None,
) -> Recall:
    """Recall@k both ways.

    Args:
      image, expression: embeddings; rows i belong together.
      k: how many answers are looked at.
      pair_id: rows that share an id are right answers to each other; None: each its own.
      mask: False rows are left out on both sides.
      group: slide of each row: each query is then asked within its own slide only,
        which takes away what is known from the slide's colour. None: pooled.

    Raises:
      EvalError: shapes differ, k < 1, nothing unmasked, or non-finite values.
    """
    image, expression = np.asarray(image), np.asarray(expression)
    if image.shape != expression.shape or image.ndim != 2:
        raise EvalError(
            "expected image and expression of one shape [n, E], got "
            f"{image.shape} and {expression.shape}: embed both with one model's towers"
        )
    keep = np.ones(len(image), bool) if mask is None else np.asarray(mask, bool)
    if k < 1 or not keep.any():
        raise EvalError(
            f"expected k and rows of at least 1, got k={k}, {keep.sum()} rows"
        )
    image, expression = image[keep], expression[keep]
    if not (np.isfinite(image).all() and np.isfinite(expression).all()):
        raise EvalError("an embedding holds values that are not finite")
    pair_id = np.arange(len(keep)) if pair_id is None else np.asarray(pair_id)
    pair_id = pair_id[keep]
    group = np.zeros(len(keep)) if group is None else np.asarray(group)
    group = group[keep]
    hits = np.empty((len(image), 2), bool)
    chance = 0.0
    for name in np.unique(group):
        rows = np.flatnonzero(group == name)
        pairs, z_image, z_expression = pair_id[rows], image[rows], expression[rows]
        hits[rows, 0] = ranks(z_image, z_expression, pairs) <= k
        hits[rows, 1] = ranks(z_expression, z_image, pairs) <= k
        chance += chance_recall(pairs, k) * len(rows) / len(image)
    return Recall(k, hits, chance, len(image))
