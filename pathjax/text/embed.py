"""Embeds the reports of a study or of a table into one file.

STUDY or FILE -> texts -> back-end, cache -> TextEmbeddings -> FILE.h5
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from pathjax.data.study import Study
from pathjax.data.text_store import TextEmbeddings, TextError, hash_texts
from pathjax.text.backend import Backend, Plan, make_plan, run
from pathjax.text.cache import VectorCache
from pathjax.text.openai_http import OpenAIBackend
from pathjax.text.reports import MIN_WORDS, read_reports
from pathjax.text.tfidf import tfidf_vectors

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts to embed.

    Attributes:
      sample_ids: of a study's samples; of a table the ids that it has.
      texts: as many.
      study: None for a table.
      source: a table's file, SHA-256 and kind of id; empty for a study.
      notes: what a table's reader says.
    """

    sample_ids: list[str]
    texts: list[str]
    study: Study | None
    source: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """What the file of embeddings says of the texts."""
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
          TextError: they are of no study.
          StudyError: there is no such split or fold.
        """
        if self.study is None:
            raise TextError("folds are a study's: name a study, not a table")
        rows = self.study.fold_samples(split, fold)
        inside = set(self.study.samples["sample_id"].iloc[rows])
        return np.array([one in inside for one in self.sample_ids])


def load_texts(
    target: Path, *, min_words: int = MIN_WORDS, encoding: str = "utf-8"
) -> Texts:
    """The reports of a study's folder or of a table.

    Raises:
      TextError: there are none.
    """
    target = Path(target)
    if not target.is_dir():
        found = read_reports(target, min_words=min_words, encoding=encoding)
        return Texts(
            found.texts["id"].tolist(),
            found.texts["text"].tolist(),
            None,
            found.source | {"ids": found.kind},
            found.notes,
        )
    study = Study(target)
    reports = study.reports()
    if reports.empty:
        raise TextError(
            f"study {study.name} has no reports: add them with `pathjax data reports "
            f"{target} --reports FILE`"
        )
    ids = reports["sample_id"].astype(str).tolist()
    return Texts(ids, reports["text"].astype(str).tolist(), study)


def embed_pieces(
    texts: Texts,
    backend: Backend,
    cache: VectorCache,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> TextEmbeddings:
    """Embeds each text by itself: "openai" and "minilm".

    Args:
      texts: what to embed.
      backend: what with.
      cache: what it has is not asked for.
      plan: of these texts, where it was made already.
      progress: called with (pieces done, pieces in all) after each answer is kept.

    Raises:
      TextError: the back-end fails; what it had answered is kept.
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
    """Embeds with TF-IDF and SVD.

    Args:
      texts: what to embed.
      fit_on: (split, fold) whose texts it is fitted to; all texts if None.
      dimensions: T at most.
      seed: of the SVD.

    Raises:
      TextError: there is too little to fit to.
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


def stop_over(
    backend: OpenAIBackend, price: float | None, max_cost: float | None
) -> Progress:
    """A progress that ends the run when the server's count of tokens costs too much.

    Raises:
      TextError: from the progress, when it does.
    """

    def check(done: int, total: int) -> None:
        usd = backend.billed * (price or 0) / 1e6
        if max_cost is not None and usd > max_cost and done < total:
            raise TextError(
                f"${usd:.4f} is paid, over --max-cost {max_cost:g}, after {done} of "
                f"{total} pieces: they are kept"
            )

    return check
