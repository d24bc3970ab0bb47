"""One cell: what is there is got, what is not is not, and patients stay apart."""

import dataclasses

import numpy as np
import pytest
from extras import extra

from pathjax.evals.protocols import PROTOCOLS
from pathjax.modalities.cell import predict, score
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.features import Preparation, prepare
from pathjax.stats.metrics import balanced_accuracy

linear_model = extra("sklearn.linear_model")

SIZES = Preparation(genes=50, components=32)


def cell(cohort, names, target, fold=None):
    n = len(cohort.samples)
    patient = np.unique(cohort.patients, return_inverse=True)[1]
    fold = np.arange(n) % 3 if fold is None else fold
    values = [(name, cohort.modalities[name].values) for name in names]
    column = cohort.samples[target]
    if target == "size":
        kind, truth = "number", column.to_numpy(np.float32)[:, None]
    else:
        kind, truth = "class", np.unique(column, return_inverse=True)[1]
    got = predict(
        kind,
        values,
        truth.astype(np.float32 if kind == "number" else int),
        patient,
        fold,
        preparation=SIZES,
    )
    return got, score(kind, got, patient)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "target", "metric", "low", "high"),
    [
        (("rna",), "kind", "auroc", 0.95, 1.0),
        (("rna",), "other", "auroc", 0.2, 0.75),
        (("text",), "other", "balanced_accuracy", 0.9, 1.0),
        (("rna", "text"), "other", "auroc", 0.9, 1.0),
        (("rna",), "size", "pearson", 0.7, 1.0),
        (("text",), "size", "pearson", -0.5, 0.4),
    ],
)
def test_each_modality_tells_what_is_in_it(cohort, names, target, metric, low, high):
    _, scores = cell(cohort, names, target)
    got = scores[metric]
    assert low <= got["value"] <= high
    assert got["low"] <= got["value"] <= got["high"]
    assert got["chance"] == (0.0 if metric == "pearson" else 0.5)


def test_predictions_are_those_of_a_probe_fitted_on_the_other_folds(
    cohort, monkeypatch
):
    linear = PROTOCOLS["linear/1"]
    exact = dataclasses.replace(linear.probe, tolerance=1e-5)
    exact = {"linear/1": dataclasses.replace(linear, probe=exact)}
    monkeypatch.setattr("pathjax.modalities.cell.PROTOCOLS", exact)
    got, scores = cell(cohort, ("rna",), "kind")
    values = [("rna", cohort.modalities["rna"].values)]
    truth = np.unique(cohort.samples["kind"], return_inverse=True)[1]
    for number, info in enumerate(got.info):
        train = got.fold != number
        x = prepare(values, train, SIZES)
        # Ours standardises by the training rows, and weighs the mean loss.
        x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
        theirs = linear_model.LogisticRegression(
            C=1 / (info["strength"] * train.sum()),
            class_weight="balanced",
            max_iter=1000,
            tol=1e-8,
        ).fit(x[train], truth[train])
        np.testing.assert_allclose(
            got.score[~train], theirs.predict_proba(x[~train]), atol=5e-4
        )
    expected = balanced_accuracy(truth, got.score.argmax(axis=1))
    assert scores["balanced_accuracy"]["value"] == pytest.approx(expected)


def test_expression_asks_each_fold_for_its_own_genes(cohort):
    patient = np.arange(60)
    rna = cohort.modalities["rna"].values
    values = [("text", np.hstack([rna, rna**2]).astype(np.float32))]
    got = predict(
        "expression", values, rna, patient, patient % 3, preparation=SIZES, genes=4
    )
    asked = ~np.isnan(got.truth)
    assert (asked.sum(axis=1) == 4).all()
    # The truth is among the features; ten components of 24 columns hold most of it.
    assert score("expression", got, patient)["pearson"]["value"] > 0.5


def test_modalities_that_no_sample_has_together_are_refused():
    none, values = np.zeros(0, int), [("rna", np.zeros((0, 3), np.float32))]
    with pytest.raises(ModalityError, match="no sample .* has all of them: leave one"):
        predict("class", values, none, none, none, preparation=SIZES)


def test_a_patient_in_two_folds_is_refused(cohort):
    patient = np.arange(60) // 2
    with pytest.raises(ModalityError, match="30 patients are in two folds"):
        predict(
            "class",
            [("rna", cohort.modalities["rna"].values)],
            patient % 2,
            patient,
            np.arange(60) % 3,
            preparation=SIZES,
        )


def test_a_fold_without_two_classes_to_learn_from_is_named(cohort):
    fold = np.arange(60) % 2
    with pytest.raises(ModalityError, match="fold 0: the training rows are of one"):
        cell(cohort, ("rna",), "kind", fold=fold)
