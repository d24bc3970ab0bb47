"""A cohort: samples, their features by modality, and the targets to predict.

Rows of a modality need not be those of another: a sample may have a slide and no RNA.
`sources.py` reads it; nothing is fitted here.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from pathjax.data.followup import followup_of
from pathjax.data.study import Target
from pathjax.registry import did_you_mean

EXPRESSION, SURVIVAL = "expression", "survival"
TYPE = "cancer_type"
QUESTION = re.compile(r"([^@=]+)(?:@([^@=]+)=(.+))?")


class ModalityError(ValueError):
    """Samples, modalities or targets that cannot be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Modality:
    """Features of the samples that have them.

    Attributes:
      name: "slide", "rna", "text", "clinical" or "type".
      rows: `[n]` row numbers of the cohort's samples, ascending.
      values: `[n, E]` float32, finite.
      columns: Names of the features where they have some (genes), else empty.
      about: Its origin, in words.
    """

    name: str
    rows: Int[np.ndarray, "n"]
    values: Float[np.ndarray, "n E"]
    columns: tuple[str, ...] = ()
    about: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of rows and values."""
        whole = hashlib.sha256(np.ascontiguousarray(self.rows, "<i8").tobytes())
        whole.update(np.ascontiguousarray(self.values, "<f4").tobytes())
        return whole.hexdigest()

    def at(self, rows: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m E"]:
        """Values of samples by row number; all have to be present."""
        place = np.searchsorted(self.rows, rows)
        if not np.array_equal(self.rows[np.minimum(place, len(self) - 1)], rows):
            raise ModalityError(f"modality {self.name} lacks some of the rows")
        return self.values[place]

    def present(self, samples: int) -> Bool[np.ndarray, "N"]:
        """Which of the cohort's samples have it."""
        return np.isin(np.arange(samples), self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class Question:
    """A target, predicted for all samples or those of one class of another target.

    Attributes:
      name: As written: TARGET, or TARGET@OTHER=CLASS.
      target: Its name, or "expression".
      kind: "class", "number", "survival" or "expression".
      where: (target, class) that the samples have to be of, or None.
    """

    name: str
    target: str
    kind: str
    where: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Samples with labels and modalities.

    Attributes:
      name: Of the study or of the file.
      samples: A row each: `sample_id`, `patient_id`, and a column per target.
      targets: By name, of samples.
      modalities: By name.
      synthetic: True when made by a program.
      provenance: What it was read from, JSON values.
      notes: What was given and is not used.
    """

    name: str
    samples: pd.DataFrame
    targets: Mapping[str, Target]
    modalities: Mapping[str, Modality]
    synthetic: bool = False
    provenance: Mapping[str, object] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        problems = []
        if self.samples["sample_id"].duplicated().any():
            problems.append("sample ids occur twice")
        if not self.modalities:
            problems.append("there is no modality: give --slide, --text or RNA")
        for one in self.modalities.values():
            bad = one.rows[~np.isfinite(one.values).all(axis=1)]
            if not len(one):
                problems.append(f"modality {one.name} has none of the samples")
            elif len(bad):
                ids = self.samples["sample_id"].iloc[bad[:3]].tolist()
                problems.append(
                    f"modality {one.name}: {len(bad)} samples have values that are not "
                    f"finite, first {ids}"
                )
        if problems:
            raise ModalityError(f"{self.name}: " + "; ".join(problems))

    @property
    def patients(self) -> Shaped[np.ndarray, "N"]:
        return self.samples["patient_id"].astype(str).to_numpy(dtype=np.str_)

    def question(self, text: str) -> Question:
        """Reads TARGET or TARGET@OTHER=CLASS.

        Raises:
          ModalityError: There is no such target or class.
        """
        match = QUESTION.fullmatch(text)
        name, other, value = match.groups() if match else (text, None, None)
        known = [*self.targets, EXPRESSION]
        if name not in known:
            raise ModalityError(
                f"{self.name} has no target {name!r} of samples; "
                f"{did_you_mean(name, known)}"
            )
        kind = EXPRESSION if name == EXPRESSION else self.targets[name].kind
        if kind == EXPRESSION and "rna" not in self.modalities:
            raise ModalityError(f"target {text!r}: {self.name} has no expression")
        if other is None:
            return Question(text, name, kind)
        if other not in self.targets or self.targets[other].kind != "class":
            raise ModalityError(f"{text!r}: {other!r} is not a target with classes")
        classes = set(self.samples[other].dropna().astype(str))
        if value not in classes:
            raise ModalityError(
                f"{text!r}: no sample has {other}={value}; "
                f"{did_you_mean(value, classes)}"
            )
        return Question(text, name, kind, (other, value))

    def answered(self, question: Question) -> Bool[np.ndarray, "N"]:
        """The samples that a question is about and that have an answer."""
        if question.kind == EXPRESSION:
            answer = self.modalities["rna"].present(len(self.samples))
        else:
            answer = self.samples[question.target].notna().to_numpy().copy()
        if question.kind == SURVIVAL:
            months, events = self.followup(question.target).T
            answer &= (months > 0) & np.isfinite(events)
        return answer & self.about(question)

    def about(self, question: Question) -> Bool[np.ndarray, "N"]:
        """The samples that a question is about, whether or not they have an answer."""
        if question.where is None:
            return np.ones(len(self.samples), bool)
        column, value = question.where
        return (self.samples[column].astype(object) == value).to_numpy()

    def followup(self, target: str) -> Float[np.ndarray, "N 2"]:
        """Months and events of the samples, NaN where unknown.

        Raises:
          ModalityError: Their codes or units are others.
        """
        try:
            return followup_of(self.samples, target).to_numpy()
        except ValueError as error:
            raise ModalityError(f"{self.name}: {error}") from error

    def matching(self, text: str) -> list[str]:
        """A question, or with `*` those of all targets that match, in their order."""
        name, at, where = text.partition("@")
        if "*" not in name:
            return [text]
        found = [one + at + where for one in self.targets if fnmatchcase(one, name)]
        if not found:
            raise ModalityError(f"{self.name} has no target {name!r}")
        return found

    def with_baselines(self) -> "Cohort":
        """With what a clinician knows as modalities: `clinical`, and `type` if several.

        Age and stage, or where few samples have both the one that more have; the cancer
        type, one column each. Samples without them lack the modality.
        """
        table, added, notes = self.samples, {}, list(self.notes)
        numbers = [name for name in ("age", "stage") if name in self.targets]
        known = table[numbers].notna()
        if known.all(axis=1).sum() < known.any(axis=1).sum() / 2:
            most = known.sum().idxmax()
            notes.append(
                f"clinical is {most} alone: {int(known.all(axis=1).sum())} samples have "
                f"{' and '.join(numbers)}"
            )
            numbers = [most]
        rows = np.flatnonzero(known[numbers].all(axis=1)) if numbers else ()
        if len(rows):
            values = table[numbers].iloc[rows].astype(np.float32).to_numpy()
            added["clinical"] = Modality(
                "clinical", rows, values, tuple(numbers), " and ".join(numbers)
            )
        kinds = table[TYPE].dropna().unique() if TYPE in self.targets else ()
        if len(kinds) > 1:
            names = tuple(sorted(map(str, kinds)))
            rows = np.flatnonzero(table[TYPE].notna())
            own = table[TYPE].iloc[rows].astype(object).to_numpy()
            one_hot = (own[:, None] == names).astype(np.float32)
            added["type"] = Modality("type", rows, one_hot, names, "cancer type")
        if not added:
            raise ModalityError(
                f"{self.name} has neither age, stage nor several cancer types: leave out "
                "--baselines, or give labels that have them"
            )
        modalities = {**self.modalities, **added}
        return dataclasses.replace(self, modalities=modalities, notes=tuple(notes))

    def having(self, names: Sequence[str]) -> Bool[np.ndarray, "N"]:
        """The samples that have all of the modalities."""
        n = len(self.samples)
        return np.all(
            [np.ones(n, bool), *(self.modalities[k].present(n) for k in names)], axis=0
        )
