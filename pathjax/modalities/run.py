"""All cells of a cohort: every target by every modality and combination of them.

    Cohort, questions, Options -> run -> OUT/results.json
                                         OUT/cells/*.json, *.npz   one of each cell

Modalities are compared on the samples that have all of them. Each is also scored on all
samples that have it, where there are more. Both use the same folds of patients, so that
no patient is tested by a probe that was trained on it. A finished cell of the same data
and options is not computed again.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool

import pathjax
from pathjax.data.folds import patient_folds
from pathjax.data.study import StudyError, listing
from pathjax.files import atomic_path, command_line, read_json, write_json
from pathjax.modalities.cell import PROBE, predict, score
from pathjax.modalities.cohort import (
    EXPRESSION,
    SURVIVAL,
    TYPE,
    Cohort,
    ModalityError,
    Question,
)
from pathjax.modalities.features import Preparation
from pathjax.report.style import slug
from pathjax.stats.metric import StatisticsError

PROTOCOL = "modalities/1"
COMMON, ALL = "common", "all"


@dataclasses.dataclass(frozen=True)
class Options:
    """What can be chosen; recorded in the results.

    Attributes:
      folds: Number of folds of patients.
      seed: Of the folds.
      least: Minimum number of patients of a class; smaller classes are left out.
      combinations: Whether to score modalities together too.
      prepare: Sizes of the features' preparation.
      target_genes: Number of genes predicted where expression is the target.
    """

    folds: int = 5
    seed: int = 0
    least: int = 10
    combinations: bool = True
    prepare: Preparation = dataclasses.field(default_factory=Preparation)
    target_genes: int = 100

    def __post_init__(self):
        problems = [
            f"{flag}: expected at least {low}, got {value}"
            for flag, value, low in (
                ("--folds", self.folds, 2),
                ("--seed", self.seed, 0),
                ("--min-patients", self.least, 1),
                ("--genes", self.prepare.genes, 1),
                ("--components", self.prepare.components, 0),
            )
            if value < low
        ]
        if problems:
            raise ModalityError("; ".join(problems))


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question's samples with their answers and folds.

    Attributes:
      question: The target.
      rows: `[n]` row numbers of the cohort's samples.
      truth: Class numbers `[n]`, or values `[n, G]`.
      classes: Their names.
      fold: `[n]`.
      left_out: Class to its number of patients, of classes with too few.
    """

    question: Question
    rows: np.ndarray
    truth: np.ndarray
    classes: tuple[str, ...]
    fold: np.ndarray
    left_out: dict[str, int]

    def people(self, cohort: Cohort) -> np.ndarray:
        """`[n]`, the number of each row's patient among those of the rows."""
        return np.unique(cohort.patients[self.rows], return_inverse=True)[1]


def ask(cohort: Cohort, question: Question, options: Options) -> Asked:
    """Answers and folds of a question.

    Raises:
      ModalityError: Fewer than two classes, or too few patients for the folds.
    """
    rows = np.flatnonzero(cohort.answered(question))
    patient = cohort.patients[rows]
    classes, left_out = (), {}
    if question.kind == "class":
        names = cohort.samples[question.target].iloc[rows].astype(str).to_numpy()
        table = pd.DataFrame({"patient": patient, "name": names}).drop_duplicates()
        count = table["name"].value_counts()
        left_out = {k: int(n) for k, n in count.items() if n < options.least}
        kept = ~np.isin(names, list(left_out))
        rows, patient, names = rows[kept], patient[kept], names[kept]
        order = cohort.targets[question.target].classes or sorted(set(names))
        classes = tuple(one for one in order if one in set(names))
        if len(classes) < 2:
            raise ModalityError(
                f"{question.name}: {len(classes)} class has {options.least} patients "
                f"or more (too few: {left_out or 'none'}): expected two"
            )
        truth = np.array([classes.index(one) for one in names], np.int32)
        label = names
    elif question.kind == SURVIVAL:
        every = cohort.followup(question.target)
        truth = every[rows]
        label = np.where(truth[:, 1] > 0, "event", "censored")
        none = cohort.about(question) & (every[:, 0] <= 0)
        left_out = {"follow-up of 0 months or less": int(none.sum())}
        if len(np.unique(label)) < 2:
            raise ModalityError(
                f"{question.name}: all {len(rows)} samples are {label[0]}: expected events"
                if len(rows)
                else f"{question.name}: no sample has a follow-up"
            )
    elif question.kind == "number":
        values = pd.to_numeric(cohort.samples[question.target].iloc[rows])
        truth = values.to_numpy(np.float32)[:, None]
        # Thirds of the values, so that folds have the same range.
        label = pd.qcut(truth[:, 0], 3, labels=False, duplicates="drop").astype(str)
    else:
        truth = cohort.modalities["rna"].at(rows)
        label = np.full(len(rows), "")
    people = pd.DataFrame({"patient_id": patient, "label": label})
    people = people.drop_duplicates("patient_id", ignore_index=True)
    try:
        folds = patient_folds(
            people, options.folds, labels=["label"], seed=options.seed
        )
    except StudyError as error:
        raise ModalityError(f"{question.name}: {error}") from error
    names = [folds.fold[one] for one in patient]
    fold = np.unique(names, return_inverse=True)[1].astype(np.int32)
    return Asked(question, rows, truth, classes, fold, left_out)


def asked_of(
    cohort: Cohort, texts: Sequence[str], options: Options
) -> tuple[list[Question], list[str]]:
    """The questions, and why some of those that a `*` stands for are not asked.

    Raises:
      ModalityError: One that is named cannot be asked, or none is left.
    """
    questions, left_out = [], []
    for text in texts:
        names = cohort.matching(text)
        for name in names:
            question = cohort.question(name)
            try:
                if "*" in text:
                    ask(cohort, question, options)
            except ModalityError as error:
                left_out.append(str(error))
                continue
            questions.append(question)
    if not questions:
        raise ModalityError(f"nothing to predict: {listing(left_out)}")
    return questions, left_out


def tells(cohort: Cohort, modality: str, one: Asked) -> bool:
    """Whether a modality is asked: not if the answer is a part of it, or follows.

    RNA does not predict expression, nor age and stage themselves, nor a type among
    samples of one, or what it decides, such as `kidney` (KIRC, KIRP, KICH).
    """
    if modality == "rna":
        return one.question.kind != EXPRESSION
    if modality == "clinical":
        return one.question.target not in cohort.modalities[modality].columns
    if modality != "type":
        return True
    kinds = cohort.samples[TYPE].iloc[one.rows]
    known = kinds.notna().to_numpy()
    count = kinds.nunique()
    decided = one.question.kind == "class" and (
        len(set(zip(kinds[known], one.truth[known], strict=True))) == count
    )
    return count > 1 and not decided


def within(
    cohort: Cohort, one: Asked, inside: Bool[np.ndarray, "n"], least: int
) -> Asked:
    """A question of some of its samples, and of the classes with enough patients there."""
    rows, truth, fold = one.rows[inside], one.truth[inside], one.fold[inside]
    part = dataclasses.replace(one, rows=rows, truth=truth, fold=fold)
    if one.question.kind != "class":
        return part
    people = np.unique(np.stack([truth, part.people(cohort)], axis=1), axis=0)
    count = np.bincount(people[:, 0], minlength=len(one.classes))
    kept = np.flatnonzero(count >= least)
    few = {one.classes[k]: int(count[k]) for k in np.flatnonzero(count < least)}
    known = np.isin(truth, kept)
    return dataclasses.replace(
        part,
        rows=rows[known],
        truth=np.searchsorted(kept, truth[known]).astype(np.int32),
        classes=tuple(one.classes[k] for k in kept),
        fold=fold[known],
        left_out=one.left_out | few,
    )


def combinations_of(names: Sequence[str], together: bool) -> list[tuple[str, ...]]:
    """The modalities one by one, then in twos, and so on."""
    sizes = range(1, len(names) + 1) if together else [1]
    return [one for size in sizes for one in itertools.combinations(names, size)]


def run(
    cohort: Cohort,
    questions: Sequence[Question],
    out: Path,
    options: Options,
    *,
    progress: Callable[..., None] = lambda done, note="", total=0: None,
) -> dict[str, Any]:
    """Computes unfinished cells and writes OUT/results.json.

    Args:
      cohort, questions: The samples, and the targets to predict.
      out: Folder; finished cells of the same data and options are kept.
      options: What can be chosen.
      progress: Called with (cells done, a note, total=cells in all).

    Returns:
      The content of results.json.

    Raises:
      ModalityError: A target cannot be predicted.
    """
    names = tuple(cohort.modalities)
    asked = [ask(cohort, one, options) for one in questions]
    digests = {name: one.digest for name, one in cohort.modalities.items()}
    combined = combinations_of(names, options.combinations)
    jobs, left_out = [], {}
    for one, own in itertools.product(asked, combined):
        known = [name for name in names if tells(cohort, name, one)]
        if not set(own) <= set(known):
            continue
        common, having = (
            within(cohort, one, cohort.having(some)[one.rows], options.least)
            for some in (known, own)
        )
        found = [(common, COMMON, known)]
        if len(having.rows) > len(common.rows):
            found.append((having, ALL, own))
        for part, rows, some in found:
            if one.question.kind != "class" or len(part.classes) > 1:
                jobs.append((part, own, rows))
            else:
                left_out[
                    f"{one.question.name} on samples with {', '.join(some)}: fewer than "
                    f"two classes have {options.least} patients"
                ] = None
    if not jobs:
        why = list(left_out) or ["each modality is what is asked for, or decides it"]
        raise ModalityError(f"nothing to predict: {listing(why)}")
    cells = []
    for one, own, rows in jobs:
        note = f"{one.question.name}: {' + '.join(own)}"
        progress(len(cells), note, total=len(jobs))
        cells.append(_cell(cohort, one, own, rows, out, options, digests))
    result = {
        "protocol": PROTOCOL,
        "cohort": cohort.name,
        "synthetic": cohort.synthetic,
        "provenance": dict(cohort.provenance),
        "samples": len(cohort.samples),
        "patients": len(set(cohort.patients)),
        "modalities": {
            name: {
                "samples": len(one),
                "features": one.values.shape[1],
                "from": one.about,
            }
            for name, one in cohort.modalities.items()
        },
        "options": dataclasses.asdict(options),
        "probe": {kind: PROBE[kind] for kind in ("class", "number", SURVIVAL)},
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
        "command": command_line(),
        "left_out": list(left_out),
        "cells": cells,
    }
    write_json(out / "results.json", result)
    progress(len(cells), "", total=len(jobs))
    return result


def _cell(cohort, one: Asked, combined, rows, out, options, digests):
    """One cell's record: read if finished, else computed and written."""
    which, patient = one.rows, one.people(cohort)
    record = {
        "target": one.question.name,
        "kind": one.question.kind,
        "modalities": list(combined),
        "rows": rows,
        "n": len(which),
        "patients": int(patient.max()) + 1 if len(which) else 0,
        "classes": {
            name: int((one.truth == place).sum())
            for place, name in enumerate(one.classes)
        },
        "left_out": one.left_out,
    }
    whole = hashlib.sha256(
        json.dumps(
            [record, dataclasses.asdict(options), [digests[n] for n in combined]]
        ).encode()
    )
    for part in (which, one.truth, one.fold):
        whole.update(np.ascontiguousarray(part).tobytes())
    identity = whole.hexdigest()
    name = slug("-".join([one.question.name, *combined, rows]))
    path = out / "cells" / f"{name}-{identity[:12]}.json"
    if path.is_file():
        saved = read_json(path, {"identity": str, "cell": dict})
        if saved["identity"] == identity:
            return saved["cell"]
    try:
        predicted = predict(
            one.question.kind,
            [(n, cohort.modalities[n].at(which)) for n in combined],
            one.truth,
            patient,
            one.fold,
            preparation=options.prepare,
            genes=options.target_genes,
        )
        scores = score(one.question.kind, predicted, patient)
    except (ModalityError, StatisticsError) as error:
        raise ModalityError(
            f"{one.question.name} by {' + '.join(combined)} ({len(which)} samples, "
            f"{rows}): {error}"
        ) from error
    record |= {"scores": scores, "folds": predicted.info}
    record["predictions"] = path.with_suffix(".npz").name
    # The predictions, for other scores.
    with atomic_path(path.with_suffix(".npz")) as partial, open(partial, "wb") as file:
        np.savez_compressed(
            file,
            sample_id=cohort.samples["sample_id"].iloc[which].to_numpy(dtype=np.str_),
            **{key: getattr(predicted, key) for key in ("truth", "score", "fold")},
        )
    write_json(path, {"identity": identity, "cell": record})
    return record
