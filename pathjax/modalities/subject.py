"""What a picture is of: rows of embeddings with their labels, ids and patients.

    study or RNA with labels, what of it, a target -> read_subject -> Subject

Rows are samples, or tiles where the target is one of tiles and the file holds tiles.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pathjax.data.study import Study
from pathjax.embeddings.embedding_file import read_embeddings
from pathjax.modalities.cohort import Cohort, ModalityError
from pathjax.modalities.sources import from_study, from_tables

RNA = "rna"


@dataclasses.dataclass(frozen=True)
class Subject:
    """Rows to be shown.

    Attributes:
      what: "slide", "rna", "text" or "tiles".
      features: `[n, E]`.
      labels: class names (object, None where unknown) or values (float, NaN).
      ids, patient: of the rows; patients as numbers.
      cohort: the name of what they are of.
      synthetic: True when made by a program.
    """

    what: str
    features: Float[np.ndarray, "n E"]
    labels: np.ndarray
    ids: np.ndarray
    patient: Int[np.ndarray, "n"]
    cohort: str
    synthetic: bool


def read_subject(
    study: Path | None,
    of: str,
    by: str,
    *,
    labels: Sequence[Path] = (),
    most: int = 20_000,
    seed: int = 0,
) -> Subject:
    """Reads what is to be shown.

    Args:
      study: a study, or None with `labels`.
      of: "rna" (the study's expression), an embedding file of tiles or of texts, or an
        AnnData of RNA.
      by: a target, or TARGET@OTHER=CLASS to show the samples of that class only.
      labels: tables of labels, for RNA without a study.
      most: rows at most; of more, so many are drawn.
      seed: of that draw.

    Raises:
      ModalityError: there is no such thing or target.
    """
    what = kind_of(of)
    if study is None:
        if what != "rna" or of == RNA or not labels:
            raise ModalityError(
                "without a study wanted --of FILE.h5ad of `pathjax data tcga-rna` and "
                "--labels with tables of labels"
            )
        return _of_cohort(from_tables(Path(of), labels), "rna", by, most, seed)
    opened = Study(study)
    target = opened.targets.get(by)
    if target is not None and target.level == "tile":
        if what != "slide":
            raise ModalityError(
                f"{by} is a target of tiles: wanted --of an embedding file of tiles"
            )
        return _of_tiles(opened, Path(of), by, most, seed)
    path = None if of == RNA else Path(of)
    cohort = from_study(opened, **({} if path is None else {what: path}))
    return _of_cohort(cohort, what, by, most, seed)


def kind_of(of: str) -> str:
    """What `--of` names: "rna", "slide" or "text".

    Raises:
      ModalityError: no such file, or one of another kind.
    """
    path = Path(of)
    if of == RNA or (path.suffix == ".h5ad" and path.is_file()):
        return "rna"
    if not path.is_file():
        raise ModalityError(
            f"--of {of}: wanted rna, or a file: embeddings of tiles (`pathjax embed`), "
            "of reports (`pathjax text embed`), or RNA (.h5ad)"
        )
    try:
        with h5py.File(path, "r") as file:
            return "text" if "sample_id" in file else "slide"
    except OSError as error:
        raise ModalityError(f"{path} cannot be read: {error}") from error


def _drawn(count: int, most: int, seed: int):
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _of_cohort(cohort: Cohort, what: str, by: str, most: int, seed: int) -> Subject:
    if what not in cohort.modalities:
        raise ModalityError(f"{cohort.name} has no expression to show")
    question = cohort.question(by)
    if question.kind not in ("class", "number"):
        raise ModalityError(f"--by {by}: wanted a target with classes or numbers")
    rows = cohort.modalities[what].rows
    if question.where:
        column, value = question.where
        rows = rows[(cohort.samples[column].iloc[rows].astype(object) == value)]
    rows = rows[_drawn(len(rows), most, seed)]
    return Subject(
        what=what,
        features=cohort.modalities[what].at(rows),
        labels=_labels(cohort.samples[question.target].iloc[rows], question.kind),
        ids=cohort.samples["sample_id"].iloc[rows].to_numpy(),
        patient=np.unique(cohort.patients[rows], return_inverse=True)[1],
        cohort=cohort.name,
        synthetic=cohort.synthetic,
    )


def _of_tiles(study: Study, path: Path, by: str, most: int, seed: int) -> Subject:
    rows = _drawn(len(study.tiles), most, seed)
    table = study.tiles.iloc[rows]
    return Subject(
        what="tiles",
        features=read_embeddings(path, study).features[rows],
        labels=_labels(table[by], study.targets[by].kind),
        ids=table["tile_id"].astype(str).to_numpy(),
        patient=np.unique(table["patient_id"].astype(str), return_inverse=True)[1],
        cohort=study.name,
        synthetic=study.synthetic,
    )


def _labels(column: pd.Series, kind: str) -> np.ndarray:
    if kind == "number":
        return pd.to_numeric(column).to_numpy(np.float64)
    values = column.astype(object)
    return values.where(values.notna(), None).to_numpy(object)
