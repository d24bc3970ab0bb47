"""Many targets of two classes at once: which of them does a modality tell?

    Cohort, questions, Options -> screen -> OUT/screen.csv, screen.json
                                            OUT/screen-MODALITY.npz    predictions

All targets have the same folds of patients, whatever their classes, so that a fold is
prepared once and its targets are one compiled program (probes/logistic_wide.py), each
fitted as `linear/1` fits it. p is the share of permuted labels, fitted in the same way,
that are told as well; q is Benjamini and Hochberg's, over the targets of a modality.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float, Int

import pathjax
from pathjax.data.folds import patient_folds
from pathjax.data.study import StudyError, listing
from pathjax.evals.folds import FoldWeights, fold_weights
from pathjax.evals.protocols import PROTOCOLS
from pathjax.files import atomic_path, command_line, write_json
from pathjax.modalities.cell import Predictions, score
from pathjax.modalities.cohort import Cohort, ModalityError, Question
from pathjax.modalities.features import prepare
from pathjax.modalities.run import Options, ask, tells
from pathjax.stats.permutation import q_values

PROTOCOL = "modalities-screen/1"
NULLS = 500  # permuted labels at least; as many times all targets as that takes


def screen(
    cohort: Cohort,
    questions: Sequence[Question],
    out: Path,
    options: Options,
    *,
    progress: Callable[..., None] = lambda done, note="", total=0: None,
) -> dict[str, Any]:
    """Predicts all targets by each modality alone and writes the files of `out`.

    Args:
      cohort: One sample of each patient.
      questions: Targets of two classes.
      out, options, progress: As of `run`.

    Returns:
      The content of screen.json.

    Raises:
      ModalityError: A target has not two classes, or a patient several samples.
    """
    if len(set(cohort.patients)) < len(cohort.samples):
        raise ModalityError(
            f"{cohort.name}: --screen permutes the labels of patients: expected one "
            "sample of each. Leave out --screen"
        )
    labels = np.full((len(questions), len(cohort.samples)), -1, np.int32)
    asked = [ask(cohort, question, options) for question in questions]
    for own, one in zip(labels, asked, strict=True):
        if len(one.classes) != 2:
            raise ModalityError(
                f"{one.question.name}: --screen expected a target of two classes, got "
                f"{one.question.kind} {listing(one.classes)}: name others by --targets"
            )
        own[one.rows] = one.truth
    records, nulls, left_out = [], {}, []
    for name, modality in cohort.modalities.items():
        own = labels[:, modality.rows]
        enough = np.min([(own == one).sum(axis=1) for one in (0, 1)], axis=0)
        able = np.array([tells(cohort, name, one) for one in asked])
        few = [
            questions[at].name for at in np.flatnonzero(able & (enough < options.least))
        ]
        if few:
            left_out.append(
                f"targets not asked of {name}, with which a class has fewer than "
                f"{options.least} patients: {listing(few)}"
            )
        kept = np.flatnonzero(able & (enough >= options.least))
        if not len(kept):
            continue
        found = _screened(
            name, modality.values, own[kept], cohort.patients[modality.rows], options,
            progress,
        )  # fmt: skip
        p = shares_above(found.z, found.null)
        nulls[name] = found.about()
        for place, q in enumerate(q_values(p)):
            known = own[kept[place]] >= 0
            truth = own[kept[place]][known]
            chance = np.stack([1 - found.score[place], found.score[place]], axis=1)
            told = Predictions(truth, chance[known], found.fold[known], [])
            names = asked[kept[place]].classes
            counts = {one: int((truth == at).sum()) for at, one in enumerate(names)}
            records.append(
                {
                    "target": questions[kept[place]].name,
                    "modality": name,
                    "n": len(truth),
                    "classes": counts,
                    "scores": score("class", told, np.arange(len(truth))),
                    "z": float(found.z[place]),
                    "p": float(p[place]),
                    "q": float(q),
                }
            )
        ids = cohort.samples["sample_id"].iloc[modality.rows].to_numpy(dtype=np.str_)
        path = out / f"screen-{name}.npz"
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(
                file, sample_id=ids, truth=own[kept], score=found.score,
                fold=found.fold, z=found.z, null=found.null,
            )  # fmt: skip
    if not records:
        raise ModalityError(
            f"no modality has {options.least} patients of both classes of a target"
        )
    result = {
        "protocol": PROTOCOL,
        "cohort": cohort.name,
        "synthetic": cohort.synthetic,
        "provenance": dict(cohort.provenance),
        "options": dataclasses.asdict(options),
        "versions": {"pathjax": pathjax.__version__, "jax": jax.__version__},
        "command": command_line(),
        "permuted": nulls,
        "left_out": left_out,
        "targets": records,
    }
    write_json(out / "screen.json", result)
    with atomic_path(out / "screen.csv") as partial:
        table_of(records).to_csv(partial, index=False, float_format="%.4g")
    return result


def table_of(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row for each target and modality, the smallest q first."""
    rows = []
    for one in records:
        row = {key: one[key] for key in ("target", "modality", "n")}
        row["smaller_class"] = min(one["classes"], key=one["classes"].get)
        row["of_it"] = min(one["classes"].values())
        for metric, own in one["scores"].items():
            row[metric] = own["value"]
            row |= {f"{metric}_{end}": own[end] for end in ("low", "high", "chance")}
        rows.append(row | {key: one[key] for key in ("z", "p", "q")})
    return pd.DataFrame(rows).sort_values(["q", "z"], ascending=[True, False])


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a modality says of G targets.

    Attributes:
      score: Probability of class 1 `[G, n]`.
      fold: In which a row was tested `[n]`.
      z, null: `rank_z` of the targets `[G]` and of permuted labels.
    """

    score: Float[np.ndarray, "G n"]
    fold: Int[np.ndarray, "n"]
    z: Float[np.ndarray, "G"]
    null: Float[np.ndarray, "B"]

    def about(self) -> dict[str, Any]:
        """What the record says of permuted labels: z would have mean 0 and spread 1 if
        the fits of the folds did not depend on each other.
        """
        mean, spread = float(self.null.mean()), float(self.null.std())
        return {"labels": len(self.null), "z_mean": mean, "z_spread": spread}


def _screened(name, values, labels, patients, options, progress) -> _Found:
    """Predicts targets `[G, n]`, and permuted ones beside them."""
    people = pd.DataFrame({"patient_id": patients})
    try:
        folds = patient_folds(people, options.folds, seed=options.seed).fold
    except StudyError as error:
        raise ModalityError(f"--screen by {name}: {error}") from error
    fold = np.unique([folds[one] for one in patients], return_inverse=True)[1]
    rng = np.random.default_rng(options.seed)
    copies = [shuffled(fold, rng) for _ in range(-(-NULLS // len(labels)))]
    every = np.concatenate([labels, *(labels[:, order] for order in copies)])
    probe = PROTOCOLS["linear/1"].probe
    result = np.zeros(every.shape, np.float32)
    for one in range(options.folds):
        note = f"{len(labels)} targets by {name}"
        progress(one, note, total=options.folds)
        train = fold != one
        inside = np.flatnonzero(train)
        inner = fold_weights(
            np.arange(len(inside)), np.zeros(len(inside), bool),
            seeds=1, folds=probe.folds, seed=probe.resample_seed,
        )  # fmt: skip
        each = np.zeros((2, *inner.train.shape[:2], len(fold)), np.float32)
        each[..., inside] = inner.train, inner.val
        weights = FoldWeights(*each, final=inner.final, folds=inner.folds)
        x = prepare([(name, values)], train, options.prepare)
        # No label of the test fold is given to the fits.
        given = np.where(train[None], every, -1)
        result[:, ~train] = probe.fit_labels(x, given, weights)[0][:, ~train]
    progress(options.folds, "", total=options.folds)
    z = rank_z(result, every, fold)
    return _Found(result[: len(labels)], fold, z[: len(labels)], z[len(labels) :])


def shares_above(
    z: Float[np.ndarray, "G"], null: Float[np.ndarray, "B"]
) -> Float[np.ndarray, "G"]:
    """p of each: (1 + permuted ones that are as large) / (1 + permuted ones)."""
    below = np.sort(null).searchsorted(z)
    return (1 + len(null) - below) / (1 + len(null))


def shuffled(
    fold: Int[np.ndarray, "n"], rng: np.random.Generator
) -> Int[np.ndarray, "n"]:
    """Rows in a random order inside each fold: folds keep their classes."""
    order = np.arange(len(fold))
    for one in np.unique(fold):
        own = np.flatnonzero(fold == one)
        order[own] = rng.permutation(own)
    return order


def rank_z(
    score: Float[np.ndarray, "G n"],
    label: Int[np.ndarray, "G n"],
    fold: Int[np.ndarray, "n"],
) -> Float[np.ndarray, "G"]:
    """Sum over folds of the rank sums of class 1, less what chance gives, in its errors.

    Wilcoxon's statistic of strata (van Elteren 1960), folds weighing by their pairs.

    Args:
      score, label: Of class 1; labels of -1 are not known and do not count.
      fold: Ranks are within folds, whose fits differ.
    """
    away, variance = np.zeros(len(score)), np.zeros(len(score))
    for one in np.unique(fold):
        own, y = score[:, fold == one], label[:, fold == one]
        # Unknown ones last, where they do not move the others.
        ranks = scipy.stats.rankdata(np.where(y >= 0, own, np.inf), axis=1)
        many, others = (y == 1).sum(axis=1), (y == 0).sum(axis=1)
        sums = np.where(y == 1, ranks, 0).sum(axis=1)
        away += sums - many * (many + others + 1) / 2
        variance += many * others * (many + others + 1) / 12
    return away / np.sqrt(np.maximum(variance, 1e-9))
