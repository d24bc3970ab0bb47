"""One cell: how well some modalities predict one target, by cross-validation over patients.

    features, labels, folds -> a probe per fold (linear/1 or ridge/1) -> Predictions
    Predictions -> score -> value, interval over patients, chance

Probes, grids and the choice of regularisation are those of `pathjax evaluate`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from pathjax.evals import EvalError
from pathjax.evals.folds import fold_weights
from pathjax.evals.protocols import PROTOCOLS
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.features import Preparation, most_variable, prepare
from pathjax.stats.interval import score_interval
from pathjax.stats.metrics import METRICS
from pathjax.stats.survival import GRID

METRICS_OF_KIND = {
    "class": ("balanced_accuracy", "auroc", "auprc"),
    "number": ("pearson",),
    "expression": ("pearson",),
    "survival": ("c_index", "c_index_uno", "auc_time", "brier_integrated"),
}
PROBE = {
    "class": "linear/1",
    "number": "ridge/1",
    "expression": "ridge/1",
    "survival": "cox/1",
}


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Each row predicted once, by a probe that has not seen its patient.

    Attributes:
      truth: Class numbers `[n]`, months and events `[n, 2]`, or values `[n, G]` with NaN
        for genes a fold left out.
      score: Class probabilities `[n, C]`, risk and survival curve, or values `[n, G]`.
      fold: `[n]` the fold that a row was tested in.
      info: Regularisation, rows and features of each fold.
    """

    truth: Num[np.ndarray, "n *G"]
    score: Float[np.ndarray, "n _"]
    fold: Int[np.ndarray, "n"]
    info: list[dict[str, Any]]


def predict(
    kind: str,
    values: Sequence[tuple[str, Float[np.ndarray, "n _"]]],
    truth: Num[np.ndarray, "n *G"],
    patient: Int[np.ndarray, "n"],
    fold: Int[np.ndarray, "n"],
    *,
    preparation: Preparation,
    genes: int = 100,
) -> Predictions:
    """Cross-validates one cell.

    Args:
      kind: "class", "number", "expression" or "survival".
      values: Name and features of each modality.
      truth: Class numbers `[n]`; values `[n, 1]`; months and events; expression `[n, G]`, of which each
        fold predicts the genes most variable over its training rows.
      patient: Number of each row's patient.
      fold: Of each row; a patient is in one fold.
      preparation: Sizes.
      genes: For expression, their number.

    Raises:
      ModalityError: There is no row, a patient is in two folds, or a fold cannot be
        learned from.
    """
    if not len(fold):
        raise ModalityError("no sample with an answer has all of them: leave one out")
    _require_disjoint(patient, fold)
    classes = int(truth.max()) + 1 if kind == "class" else 0
    survival = kind == "survival"
    wide = classes or (1 + len(GRID) if survival else truth.shape[1])
    score = np.full((len(fold), wide), np.nan, np.float32)
    asked = np.zeros((len(fold), wide), bool)
    infos = []
    for one in np.unique(fold):
        test = fold == one
        train = ~test
        columns = np.arange(wide)
        if kind == "expression":
            columns = most_variable(truth[train], genes)
        x = prepare(values, train, preparation)
        y = truth if classes or survival else truth[:, columns]
        try:
            predicted, info = _probe(kind, x, y, patient, train, test, classes)
        except EvalError as error:
            raise ModalityError(f"fold {one}: {error}") from error
        at = np.ix_(np.flatnonzero(test), columns)
        score[at], asked[at] = predicted, True
        infos.append(info | {"fold": int(one), "features": int(x.shape[1])})
    if not (classes or survival):
        used = asked.any(axis=0)
        truth = np.where(asked, truth, np.nan)[:, used]
        score = np.where(asked, score, 0.0)[:, used]
    return Predictions(truth, score, fold, infos)


def _require_disjoint(patient, fold) -> None:
    pairs = np.unique(np.stack([patient, fold], axis=1), axis=0)
    names, count = np.unique(pairs[:, 0], return_counts=True)
    if (count > 1).any():
        raise ModalityError(
            f"{int((count > 1).sum())} patients are in two folds, first number "
            f"{int(names[count > 1][0])}: training patients would be tested on"
        )


def _probe(kind, x, y, patient, train, test, classes):
    """Predictions of the test rows, and the fold's record."""
    probe = PROTOCOLS[PROBE[kind]].probe
    rows = np.flatnonzero(train)
    if classes and len(np.unique(y[rows])) < 2:
        raise EvalError("the training rows are of one class")
    survival = kind == "survival"
    if survival and not y[rows, 1].any():
        raise EvalError("the training rows have no event")
    weights = fold_weights(
        np.unique(patient[rows], return_inverse=True)[1],
        np.zeros(len(rows), bool),
        y[rows, 1].astype(int) if survival else y[rows] if classes else None,
        seeds=1,
        folds=probe.folds,
        seed=probe.resample_seed,
    )
    sweep = probe.fit_arrays(
        x[rows],
        y[rows].astype(np.int32) if classes else y[rows],
        weights,
        x[test],
        classes=classes,
        fit_values=y[rows],
    )
    return sweep.prediction[0], {
        "train": len(rows),
        "test": int(test.sum()),
        "strength": float(probe.grid[int(sweep.choice[0])]),
    }


def score(
    kind: str, predictions: Predictions, patient: Int[np.ndarray, "n"]
) -> dict[str, dict[str, float]]:
    """Each metric with its 95 % interval over patients, and its chance level.

    r is taken within folds, whose predictions have different offsets.

    Raises:
      StatisticsError: A score is not defined, as of a truth that does not vary.
    """
    unit = np.unique(patient, return_inverse=True)[1]
    truth, scores = predictions.truth, {}
    for name in METRICS_OF_KIND[kind]:
        metric, guess = METRICS[name], predictions.score
        if metric.needs == "classes":
            guess = guess.argmax(axis=1)
        # Classes are scored over all folds together.
        within = metric.needs in ("values", "survival")
        stratum = predictions.fold if within else None
        low, high = score_interval(metric, truth, [guess], unit, stratum=stratum)
        scores[name] = {
            "value": metric.value(truth, guess, stratum),
            "low": low,
            "high": high,
            "chance": metric.chance_level(truth),
        }
    return scores
