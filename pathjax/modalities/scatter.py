"""Embeddings in the plane, coloured by a target: what `pathjax figure tsne` does.

    study or RNA with labels, what of it, a target -> read_subject -> Subject
    Subject -> make_picture (projected, purity measured) -> Picture
    Picture -> write -> FILE.png, FILE.csv (x, y, label, id), FILE.json

Rows are samples, or tiles where the target is one of tiles and the file holds tiles.
"""

import dataclasses
import importlib.metadata
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.figure import Figure

import pathjax
from pathjax.data.study import Study
from pathjax.embeddings.embedding_file import read_embeddings
from pathjax.files import reading, write_csv, write_json
from pathjax.modalities.cohort import Cohort, ModalityError
from pathjax.modalities.projection import Purity, project, purity, reduced
from pathjax.modalities.sources import from_study, from_tables
from pathjax.report.style import plain, save, style

RNA = "rna"
NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
LIBRARY = {"tsne": "openTSNE", "umap": "umap-learn"}
UNKNOWN = "(none)"


@dataclasses.dataclass(frozen=True)
class Subject:
    """Rows to be shown.

    Attributes:
      what: "slide", "rna", "text" or "tiles".
      features: `[n, E]`.
      labels: Class names (object, None where unknown) or values (float, NaN).
      ids, patient: Of the rows; patients as numbers.
      cohort: Name of the study or file.
      synthetic: Whether the data are synthetic.
    """

    what: str
    features: Float[np.ndarray, "n E"]
    labels: np.ndarray
    ids: np.ndarray
    patient: Int[np.ndarray, "n"]
    cohort: str
    synthetic: bool

    @property
    def numbers(self) -> bool:
        """Whether labels are numbers."""
        return np.issubdtype(self.labels.dtype, np.floating)

    @property
    def known(self) -> np.ndarray:
        """`[n]`, which rows have a label."""
        if self.numbers:
            return np.isfinite(self.labels)
        return np.array([label is not None for label in self.labels])


@dataclasses.dataclass(frozen=True)
class Picture:
    """A projected subject.

    Attributes:
      subject: Its rows.
      title: Of what, by what.
      method: "tsne" or "umap".
      places: `[n, 2]`.
      embedding, plane: Purity in the embedding and in the picture, or None where there
        are no two classes.
      about: For the record, JSON values.
    """

    subject: Subject
    title: str
    method: str
    places: Float[np.ndarray, "n 2"]
    embedding: Purity | None
    plane: Purity | None
    about: dict[str, Any]


def read_subject(
    study: Path | None,
    of: str,
    by: str,
    *,
    labels: Sequence[Path] = (),
    most: int = 20_000,
    seed: int = 0,
) -> Subject:
    """Reads the rows to be shown.

    Args:
      study: A study, or None with `labels`.
      of: "rna" (the study's expression), an embedding file of tiles or of texts, or an
        AnnData of RNA.
      by: A target, or TARGET@OTHER=CLASS to show the samples of that class only.
      labels: Tables of labels, for RNA without a study.
      most: Maximum number of rows; a random sample of more.
      seed: Of that sample.

    Raises:
      ModalityError: There is no such file or target.
    """
    if most < 1 or seed < 0:
        raise ModalityError(
            f"expected --most of at least 1 and --seed of at least 0, got {most}, {seed}"
        )
    what = kind_of(of)
    if study is None:
        if what != "rna" or of == RNA or not labels:
            raise ModalityError(
                "without a study, expected --of FILE.h5ad of `pathjax data tcga-rna` and "
                "--labels with tables of labels"
            )
        return _of_cohort(from_tables(Path(of), labels), "rna", by, most, seed)
    if labels:
        raise ModalityError("--labels would not be used: a study has its own targets")
    opened = Study(study)
    target = opened.targets.get(by)
    if target is not None and target.level == "tile":
        if what != "slide":
            raise ModalityError(
                f"{by} is a target of tiles: expected --of an embedding file of tiles"
            )
        return _of_tiles(opened, Path(of), by, most, seed)
    cohort = from_study(opened, **({} if of == RNA else {what: Path(of)}))
    return _of_cohort(cohort, what, by, most, seed)


def kind_of(of: str) -> str:
    """What `--of` names: "rna", "slide" or "text".

    Raises:
      ModalityError: No such file, or one of another kind.
    """
    path = Path(of)
    if of == RNA or (path.suffix == ".h5ad" and path.is_file()):
        return "rna"
    if not path.is_file():
        raise ModalityError(
            f"--of {of}: expected rna, or a file: embeddings of tiles (`pathjax embed`), "
            "of reports (`pathjax text embed`), or RNA (.h5ad)"
        )
    with reading(path, ModalityError), h5py.File(path, "r") as file:
        return "text" if "sample_id" in file else "slide"


def _sampled(count: int, most: int, seed: int):
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _of_cohort(cohort: Cohort, what: str, by: str, most: int, seed: int) -> Subject:
    if what not in cohort.modalities:
        raise ModalityError(f"{cohort.name} has no expression to show")
    question = cohort.question(by)
    if question.kind not in ("class", "number"):
        raise ModalityError(f"--by {by}: expected a target with classes or numbers")
    rows = cohort.modalities[what].rows
    if question.where:
        column, value = question.where
        rows = rows[(cohort.samples[column].iloc[rows].astype(object) == value)]
    rows = rows[_sampled(len(rows), most, seed)]
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
    rows = _sampled(len(study.tiles), most, seed)
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


def make_picture(
    subject: Subject, by: str, *, method: str = "tsne", seed: int = 0
) -> Picture:
    """Projects the rows and measures the purity of neighbourhoods.

    Args:
      subject: The rows.
      by: The target's name, for the title.
      method: "tsne" or "umap".
      seed: Of the projection.

    Raises:
      ModalityError: Too few rows.
      RuntimeError: The library is not installed.
    """
    x = reduced(subject.features, standardise=subject.what == "rna")
    places = project(x, method, seed)
    known = subject.known
    number = subject.labels[known]
    if not subject.numbers:
        number = np.unique(number.astype(str), return_inverse=True)[1]
    measured: list[Purity | None] = [None, None]
    if known.sum() > 2 if subject.numbers else len(np.unique(number)) > 1:
        patient = subject.patient[known]
        measured = [purity(rows[known], number, patient) for rows in (x, places)]
    made = "; synthetic" if subject.synthetic else ""
    title = f"{subject.what} of {subject.cohort}, by {by} ({len(x)} rows{made})"
    library = LIBRARY[method]
    versions = {
        "pathjax": pathjax.__version__,
        library: importlib.metadata.version(library),
    }
    about = {
        "of": subject.what,
        "by": by,
        "cohort": subject.cohort,
        "synthetic": subject.synthetic,
        "seed": seed,
        "features": subject.features.shape[1],
        "components": x.shape[1],
        "versions": versions,
    }
    return Picture(subject, title, method, places, *measured, about)


def describe(picture: Picture) -> str:
    """The purity of the picture, in words; "" where there is none."""
    if picture.embedding is None:
        return ""
    own, plane = picture.embedding, picture.plane
    numbers = picture.subject.numbers
    what = "r with the neighbours' mean" if numbers else "k-NN purity"
    others = ", of other patients" if own.other_patients else ""
    return (
        f"{what} ({own.k} nearest{others}): {own.value:.2f} in the embedding, "
        f"{plane.value:.2f} here; chance {own.chance:.2f}"
    )


def write(picture: Picture, path: Path) -> list[Path]:
    """Writes the picture, its data and its record; returns the three paths."""
    subject = picture.subject
    image, table, record = (Path(path), *map(Path(path).with_suffix, (".csv", ".json")))
    _draw(picture, image)
    unknown = "" if subject.numbers else UNKNOWN
    rows = zip(picture.places, subject.labels, subject.known, subject.ids, strict=True)
    lines = (
        [f"{x:.4f}", f"{y:.4f}", label if known else unknown, row]
        for (x, y), label, known, row in rows
    )
    write_csv(table, ("x", "y", "label", "id"), lines)
    measured = {"embedding": picture.embedding, "plane": picture.plane}
    content = {
        "title": picture.title,
        "method": picture.method,
        "rows": len(subject.ids),
        "labelled": int(subject.known.sum()),
        **{key: dataclasses.asdict(p) for key, p in measured.items() if p is not None},
        **picture.about,
    }
    write_json(record, content)
    return [image, table, record]


def _draw(picture: Picture, path: Path) -> None:
    figure = Figure(figsize=(7.2, 5.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    labels, known = picture.subject.labels, picture.subject.known
    size = float(np.clip(6000 / len(known), 3, 30))

    def dots(rows, **look):
        return axes.scatter(*picture.places[rows].T, **{"s": size, **look})

    dots(~known, s=size / 2, color="lightgrey", marker=".", zorder=1)
    if picture.subject.numbers:
        shown = dots(known, c=labels[known], cmap="cividis")
        figure.colorbar(shown, ax=axes, shrink=0.7)
    else:
        for number, name in enumerate(sorted(set(labels[known]))):
            colour, marker = style(number)
            own = labels == name
            label = plain(f"{name} (n = {int(own.sum())})")
            dots(own, color=colour, marker=marker, linewidths=0, alpha=0.8, label=label,
                 zorder=2)  # fmt: skip
        if not known.all():
            label = f"{UNKNOWN} (n = {(~known).sum()})"
            axes.scatter([], [], color="lightgrey", label=label)
        scale = max(1.0, 4 / size**0.5)
        figure.legend(loc="outside right upper", fontsize=8, markerscale=scale)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(plain(f"{NAMES[picture.method]}: {picture.title}"), fontsize=10)
    axes.set_xlabel(plain("\n".join(textwrap.wrap(describe(picture), 110))), fontsize=8)
    save(figure, path)
