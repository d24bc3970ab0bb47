"""Texts to vectors through a back-end and the cache: what is missing is asked for.

    texts -> plan (pieces, keys, what the cache lacks) -> run -> [n, T]

A text longer than the model takes is cut into pieces; its vector is the mean of theirs,
weighted by their length in characters. All vectors are scaled to unit length, as cosine
similarity is what such models are trained for. A back-end that is fitted to the texts
(TF-IDF) does not come through here.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from pathjax.data.text_store import TextError
from pathjax.text.cache import VectorCache, key_of


class Backend(Protocol):
    """Turns pieces of text into vectors, each by itself."""

    name: str
    model: str

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a vector but the text: part of the cache's key."""

    def pieces(self, text: str) -> list[str]:
        """The text as the model takes it: one piece, or several."""

    def count(self, text: str) -> int:
        """Tokens, counted or estimated."""

    def embed(
        self, pieces: Sequence[str]
    ) -> Iterator[list[tuple[int, Float[np.ndarray, "T"]]]]:
        """Vectors with their places in `pieces`, each once, as they come."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What embedding some texts takes.

    Attributes:
      pieces: of each text, in order.
      missing: pieces that the cache lacks, each once.
      cached: how many distinct pieces it has.
      tokens: of the missing ones, as the back-end counts or estimates.
    """

    pieces: list[list[str]]
    missing: list[str]
    cached: int
    tokens: int

    @property
    def cut(self) -> int:
        """How many texts are in several pieces."""
        return sum(len(one) > 1 for one in self.pieces)


def make_plan(texts: Sequence[str], backend: Backend, cache: VectorCache) -> Plan:
    """What has to be asked for; nothing is, yet.

    Raises:
      TextError: some texts are empty.
    """
    pieces = [backend.pieces(text) for text in texts]
    empty = [i for i, one in enumerate(pieces) if not one]
    if empty:
        raise TextError(f"{len(empty)} texts are empty, first in row {empty[0]}")
    distinct = list(dict.fromkeys(one for some in pieces for one in some))
    keys = {key_of(backend.settings, one): one for one in distinct}
    there = cache.get(list(keys))
    missing = [one for key, one in keys.items() if key not in there]
    tokens = sum(map(backend.count, missing))
    return Plan(pieces, missing, len(distinct) - len(missing), tokens)


def run(
    plan: Plan,
    backend: Backend,
    cache: VectorCache,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "n T"]:
    """Asks for what is missing, keeps each answer at once, and joins the pieces.

    Returns:
      `[n, T]` float32, rows of unit length.

    Raises:
      TextError: the back-end fails; what it had answered is in the cache. Or vectors
        in the cache have several lengths.
    """
    settings, done = backend.settings, 0
    for answers in backend.embed(plan.missing):
        cache.put((key_of(settings, plan.missing[i]), one) for i, one in answers)
        done += len(answers)
        if progress:
            progress(done, len(plan.missing))
    whole = cache.get([key_of(settings, one) for some in plan.pieces for one in some])
    widths = sorted({len(one) for one in whole.values()})
    if len(widths) > 1:
        raise TextError(
            f"vectors of model {backend.model} have {widths} numbers, expected one "
            f"length: the server has changed its model; remove {cache.path}"
        )
    return np.stack(
        [
            mean([(len(one), whole[key_of(settings, one)]) for one in some])
            for some in plan.pieces
        ]
    )


def mean(parts: Sequence[tuple[float, Float[np.ndarray, "T"]]]) -> np.ndarray:
    """The weighted mean of (weight, vector), scaled to unit length."""
    weights = np.array([weight for weight, _ in parts], np.float64)
    total = weights @ np.stack([one for _, one in parts]).astype(np.float64)
    return (total / np.linalg.norm(total)).astype(np.float32)
