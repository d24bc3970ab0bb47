"""Image to expression retrieval: recall@k over a test fold, both ways, with chance.

`recall_at_k` counts, `Retrieval` is the probe. NumPy only; it does not embed anything.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from pathjax.embeddings.embedding_file import not_finite
from pathjax.evals import EvalError
from pathjax.evals.probes.base import Fit, Probe, Problem

AT_ONCE = 1024  # rows of each side


@dataclasses.dataclass(frozen=True)
class Retrieval(Probe):
    """Recall@k of the test rows against their partner embeddings; learns nothing.

    Attributes:
      k: How many answers count.
      per_slide: Search each query's own slide only, which removes what is known from
        the slide's colour.
    """

    kinds = ("retrieval",)
    samples_only = True
    k: int = 10
    per_slide: bool = False

    def fit(self, problem: Problem) -> Fit:
        test = problem.test
        assert problem.partner is not None, "rows.prepare requires it"
        group = test.slide if self.per_slide else None
        hits, chance = recall_at_k(test.features, problem.partner, self.k, group=group)
        info = {
            "k": self.k,
            "per_slide": self.per_slide,
            "image_to_expression": float(hits[:, 0].mean()),
            "expression_to_image": float(hits[:, 1].mean()),
        }
        return Fit(hits[None].astype(np.float32), info=info, chance=chance)


def _unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def ranks(
    image: Float[np.ndarray, "n E"], expression: Float[np.ndarray, "n E"]
) -> Int[np.ndarray, "n 2"]:
    """Rank, from 1, of row i of one for row i of the other, by cosine similarity.

    Both ways, image first as the query, from blocks of similarities. A tie counts against
    the model: constant embeddings retrieve nothing.
    """
    count = len(image)
    blocks = [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]
    # Equal vectors may differ in the last bit of their products. The right answer itself
    # is among those counted.
    least = np.concatenate(
        [(_unit(image[rows]) * _unit(expression[rows])).sum(axis=1) for rows in blocks]
    )
    least -= 1e-9
    out = np.zeros((count, 2), np.int64)
    for rows in blocks:
        query = _unit(image[rows])
        for columns in blocks:
            similarity = query @ _unit(expression[columns]).T
            out[rows, 0] += (similarity >= least[rows, None]).sum(axis=1)
            out[columns, 1] += (similarity >= least[None, columns]).sum(axis=0)
    return out


def recall_at_k(
    image: Float[np.ndarray, "n E"],
    expression: Float[np.ndarray, "n E"],
    k: int,
    *,
    group: Shaped[np.ndarray, "n"] | None = None,
) -> tuple[Bool[np.ndarray, "n 2"], float]:
    """Recall@k both ways.

    Args:
      image, expression: Embeddings; rows i belong together.
      k: How many answers count.
      group: Of each row, such as its slide: a query is answered within its own group.

    Returns:
      Hits, image to expression and expression to image; and the expected recall of a
      random order, k / n in each group.

    Raises:
      EvalError: Shapes differ, k < 1, no row, or values that are not finite.
    """
    image, expression = np.asarray(image), np.asarray(expression)
    if image.shape != expression.shape or image.ndim != 2:
        raise EvalError(
            "expected image and expression of one shape [n, E], got "
            f"{image.shape} and {expression.shape}: embed both with one model's towers"
        )
    if k < 1 or not len(image):
        raise EvalError(
            f"expected k and rows of at least 1, got {k}, {len(image)} rows"
        )
    if not_finite(image).size or not_finite(expression).size:
        raise EvalError("an embedding has values that are not finite")
    groups: list = [slice(None)]
    if group is not None:
        groups = [np.flatnonzero(group == name) for name in np.unique(group)]
    hits = np.empty((len(image), 2), bool)
    chance = 0.0
    for rows in groups:
        found = ranks(image[rows], expression[rows])
        hits[rows] = found <= k
        chance += min(k, len(found)) / len(image)
    return hits, chance
