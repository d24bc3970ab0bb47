"""Embeds the reports of a study or a table into one file.

    STUDY or FILE -> Texts -> Plan (pieces, what the cache lacks) -> run -> FILE.h5

A text longer than the model accepts is cut into pieces; its vector is the mean of theirs,
weighted by length in characters. Vectors are scaled to unit length, because such models
are trained for cosine similarity. cost.py states what a server would bill.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from pathjax.data.study import Study
from pathjax.data.text_store import TextEmbeddings, TextError, hash_texts
from pathjax.text.cache import VectorCache, key_of
from pathjax.text.reports import MIN_WORDS, read_reports
from pathjax.text.tfidf import tfidf_vectors

Progress = Callable[[int, int], None]
Answers = list[tuple[int, Float[np.ndarray, "T"]]]


class Backend(Protocol):
    """Turns pieces of text into vectors, each by itself.

    Attributes:
      counted: How `count` counts.
      settings: All that decides a vector except the text: part of the cache's key.
    """

    name: str
    model: str
    max_tokens: int
    counted: str

    @property
    def settings(self) -> dict[str, Any]: ...

    def pieces(self, text: str) -> list[str]:
        """The text as the model accepts it: one piece, or several."""

    def count(self, text: str) -> int:
        """Tokens, counted or estimated."""

    def embed(self, pieces: Sequence[str]) -> Iterator[Answers]:
        """Vectors with their indices in `pieces`, each once, as they arrive."""


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts to embed.

    Attributes:
      sample_ids: Of a study's samples, or the ids of a table.
      texts: One for each.
      study: None for a table.
      source: A table's file, SHA-256 and kind of id; empty for a study.
      notes: From the table's reader.
    """

    sample_ids: list[str]
    texts: list[str]
    study: Study | None
    source: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """What the file of embeddings records about the texts."""
        study = self.study
        return {
            "texts": hash_texts(zip(self.sample_ids, self.texts, strict=True)),
            "study": study.name if study else None,
            "fingerprint": study.fingerprint if study else None,
            "synthetic": study.synthetic if study else None,
            "source": self.source,
        }

    def of_fold(self, split: str, fold: str) -> Bool[np.ndarray, "n"]:
        """True for texts of the samples of one fold.

        Raises:
          TextError: the texts are from a table.
          StudyError: unknown split or fold.
        """
        if self.study is None:
            raise TextError("folds are a study's: name a study, not a table")
        rows = self.study.fold_samples(split, fold)
        inside = set(self.study.samples["sample_id"].iloc[rows])
        return np.array([name in inside for name in self.sample_ids])


def load_texts(
    target: Path, *, min_words: int = MIN_WORDS, encoding: str = "utf-8"
) -> Texts:
    """The reports of a study's folder or of a table.

    Raises:
      TextError: there are none.
    """
    target = Path(target)
    if not target.is_dir():
        table = read_reports(target, min_words=min_words, encoding=encoding)
        ids, texts = table.texts["id"].tolist(), table.texts["text"].tolist()
        return Texts(ids, texts, None, table.source | {"ids": table.kind}, table.notes)
    study = Study(target)
    reports = study.reports()
    if reports.empty:
        raise TextError(
            f"study {study.name} has no reports: add them with `pathjax data reports "
            f"{target} --reports FILE`"
        )
    ids = reports["sample_id"].astype(str).tolist()
    return Texts(ids, reports["text"].astype(str).tolist(), study)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What embedding some texts requires.

    Attributes:
      pieces: Of each text, in order.
      missing: Distinct pieces that the cache lacks.
      cached: Number of distinct pieces that it has.
      tokens: Of the missing ones, as the backend counts or estimates.
    """

    pieces: list[list[str]]
    missing: list[str]
    cached: int
    tokens: int

    @property
    def cut(self) -> int:
        """Number of texts in several pieces."""
        return sum(len(pieces) > 1 for pieces in self.pieces)


def make_plan(texts: Sequence[str], backend: Backend, cache: VectorCache) -> Plan:
    """Compares texts with the cache; requests nothing.

    Raises:
      TextError: some texts are empty.
    """
    pieces = [backend.pieces(text) for text in texts]
    empty = [i for i, parts in enumerate(pieces) if not parts]
    if empty:
        raise TextError(f"{len(empty)} texts are empty, first in row {empty[0]}")
    distinct = list(dict.fromkeys(part for parts in pieces for part in parts))
    keys = {key_of(backend.settings, part): part for part in distinct}
    cached = cache.get(list(keys))
    missing = [part for key, part in keys.items() if key not in cached]
    tokens = sum(map(backend.count, missing))
    return Plan(pieces, missing, len(distinct) - len(missing), tokens)


def fetch(
    plan: Plan, backend: Backend, cache: VectorCache, progress: Progress | None = None
) -> None:
    """Requests what is missing, and caches each answer at once.

    Raises:
      TextError: the backend fails, after earlier answers were cached.
    """
    settings, done = backend.settings, 0
    for answers in backend.embed(plan.missing):
        cache.put((key_of(settings, plan.missing[i]), vector) for i, vector in answers)
        done += len(answers)
        if progress:
            progress(done, len(plan.missing))


def run(
    plan: Plan, backend: Backend, cache: VectorCache, progress: Progress | None = None
) -> Float[np.ndarray, "n T"]:
    """Fetches what is missing and joins the pieces.

    Raises:
      TextError: the backend fails, after earlier answers were cached; or vectors in the
        cache have several lengths.
    """
    fetch(plan, backend, cache, progress)
    settings = backend.settings
    keys = [[key_of(settings, part) for part in parts] for parts in plan.pieces]
    vectors = cache.get([key for row in keys for key in row])
    widths = sorted({len(vector) for vector in vectors.values()})
    if len(widths) > 1:
        raise TextError(
            f"vectors of model {backend.model} have {widths} numbers, expected one "
            f"length: the server has changed its model; remove {cache.path}"
        )
    return np.stack(
        [
            mean([(len(p), vectors[k]) for p, k in zip(parts, row, strict=True)])
            for parts, row in zip(plan.pieces, keys, strict=True)
        ]
    )


def mean(parts: Sequence[tuple[float, Float[np.ndarray, "T"]]]) -> np.ndarray:
    """The weighted mean of (weight, vector), scaled to unit length."""
    weights = np.array([weight for weight, _ in parts], np.float64)
    total = weights @ np.stack([vector for _, vector in parts]).astype(np.float64)
    return (total / np.linalg.norm(total)).astype(np.float32)


def embed_pieces(
    texts: Texts,
    backend: Backend,
    cache: VectorCache,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> TextEmbeddings:
    """Embeds each text by itself.

    Args:
      texts, backend, cache: What is embedded, with what, and what is known.
      plan: Of these texts, if made already.
      progress: Called with (pieces done, pieces in all) after each answer is cached.

    Raises:
      TextError: the backend fails; earlier answers are cached.
    """
    plan = plan or make_plan(texts.texts, backend, cache)
    values = run(plan, backend, cache, progress)
    about = {
        "max_tokens": backend.max_tokens,
        "tokens": backend.counted,
        "in_pieces": plan.cut,
        "scaled": "to unit length",
    }
    meta = backend.settings | texts.about() | about
    return TextEmbeddings(texts.sample_ids, values, meta)


def embed_tfidf(
    texts: Texts,
    *,
    fit_on: tuple[str, str] | None = None,
    dimensions: int = 256,
    seed: int = 0,
) -> TextEmbeddings:
    """Embeds with TF-IDF and SVD, fitted to all texts or those of `fit_on`.

    Args:
      texts: What is embedded.
      fit_on: (split, fold).
      dimensions, seed: As in `tfidf_vectors`.

    Raises:
      TextError: too little to fit.
    """
    fit = texts.of_fold(*fit_on) if fit_on else np.ones(len(texts.texts), bool)
    values = tfidf_vectors(texts.texts, fit, dimensions=dimensions, seed=seed)
    about = {
        "backend": "tfidf",
        "model": "TF-IDF and SVD",
        "fitted_on": ":".join(fit_on) if fit_on else "all texts",
        "fitted_texts": int(fit.sum()),
        "without_known_words": int((~values.any(1)).sum()),
        "seed": seed,
        "scaled": "to unit length",
    }
    return TextEmbeddings(texts.sample_ids, values, about | texts.about())
