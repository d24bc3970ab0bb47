"""Survival tasks end to end on a real study with made-up embeddings."""

import dataclasses

import numpy as np
import pytest

from pathjax.data.followup import DAYS_A_MONTH
from pathjax.data.study import Study
from pathjax.evals import EvalError
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.run import run_task
from pathjax.evals.survival import COLUMNS, patients_followup
from pathjax.evals.tasks import Task
from pathjax.stats.survival import C_INDEX, GRID

TASK = Task("survival", "made", "os", "survival", "cohort", "fit", "test")
QUICK = {"seeds": 2, "folds": 3, "penalty": (10.0, 0.1)}
PATIENTS = 30


def followed(study, change=lambda samples: None, classes=None):
    """The study with follow-up: the higher a patient's number, the sooner the event."""
    samples = study.samples.copy()
    number = samples["patient_id"].str[1:].astype(int).to_numpy()
    samples["os"] = 62.0 - 2 * number
    samples["os_event"] = (number % 3 > 0).astype(float)
    samples["type"] = np.where(number % 2 > 0, "odd", "even")
    change(samples)
    made = Study(study.root)
    made.__dict__["samples"] = samples
    targets = dict(study.targets) | {
        name: dataclasses.replace(study.targets["purity"], name=name, **more)
        for name, more in {
            "os": {"kind": "survival"},
            "type": {"kind": "class", "classes": ("even", "odd")},
        }.items()
    }
    made.__dict__["targets"] = targets
    return made


@pytest.mark.slow
def test_patients_are_the_rows_and_the_mean_of_their_tiles_the_features(
    study, features
):
    made = followed(study)
    outcome = run_task(TASK, made, features, **QUICK)
    assert outcome.n == outcome.n_patients == 10  # of 40 samples
    assert outcome.columns == COLUMNS and outcome.prediction.shape == (
        10,
        1 + len(GRID),
    )
    assert outcome.hyper["events"] == 7 == outcome.hyper["fold_events"]["test"]
    assert outcome.value == C_INDEX.value(outcome.truth, outcome.prediction) > 0.8
    assert outcome.chance == 0.5 and outcome.metric == "c_index"
    assert outcome.protocol.startswith("cox/1 (")
    curves = outcome.prediction[:, 1:]
    assert (np.diff(curves, axis=1) <= 0).all() and curves.min() >= 0


@pytest.mark.slow
def test_cross_validation_pairs_patients_of_one_fold_and_class(study, features):
    made = followed(study)
    crossed = dataclasses.replace(TASK, fit=None, test="*")
    outcome = run_task(crossed, made, features, **QUICK)
    assert outcome.n == PATIENTS and len(np.unique(outcome.stratum)) == 3
    inside = run_task(crossed, made, features, within="type", **QUICK)
    assert len(np.unique(inside.stratum)) == 6
    assert PROTOCOLS["cox-within/1"].within == "cancer_type"
    for one in (outcome, inside):
        wanted = C_INDEX.value(one.truth, one.prediction, one.stratum)
        assert one.value == wanted != C_INDEX.value(one.truth, one.prediction)
    brier = dataclasses.replace(crossed, metric="brier_integrated")
    scored = run_task(brier, made, features, **QUICK)
    assert 0 < scored.value < scored.chance < 0.5


def test_rows_without_follow_up_or_time_are_left_out_and_counted(study, features):
    def change(samples):
        samples.loc[samples["patient_id"] == "P25", "os"] = np.nan
        samples.loc[samples["patient_id"] == "P26", "os_event"] = None
        samples.loc[samples["patient_id"] == "P28", "os"] = 0.0
        samples.loc[samples["sample_id"] == "P29a0", "os"] = np.nan  # others say it

    outcome = run_task(TASK, followed(study, change), features, **QUICK)
    assert outcome.n == 7 and "P29" in outcome.patient
    assert outcome.hyper["unlabelled"]["test"] == 2
    assert outcome.hyper["without_time"]["test"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update(s["os_event"] + 1),
            "expected events 1 and censored 0, got 1, 2",
        ),
        (lambda s: s.update(s["os"] * DAYS_A_MONTH), "expected months, got up to 1887"),
        (lambda s: s.update(s["os_event"] * 0), "all 24 patients are censored"),
    ],
)
def test_bad_columns_are_refused(study, features, change, message):
    with pytest.raises(EvalError, match=f"task survival: .*{message}"):
        run_task(TASK, followed(study, change), features, **QUICK)


def test_folds_without_an_event_and_samples_that_disagree_are_refused(study, features):
    def no_event(fold):
        ids = study.split("cohort").folds[fold]

        def change(samples):
            samples.loc[samples["patient_id"].isin(ids), "os_event"] = 0.0

        return change

    for fold in ("fit", "test"):
        with pytest.raises(EvalError, match=f"the {fold} fold has no event among"):
            run_task(TASK, followed(study, no_event(fold)), features, **QUICK)
    crossed = dataclasses.replace(TASK, fit=None, test="*")
    outcome = run_task(crossed, followed(study, no_event("test")), features, **QUICK)
    assert outcome.hyper["rounds"]["test"]["fold_events"]["test"] == 0

    def disagree(samples):
        samples.loc[samples["sample_id"] == "P21b1", "os"] = 3.0

    with pytest.raises(EvalError, match="samples of 1 patients have different os"):
        run_task(TASK, followed(study, disagree), features, **QUICK)
    assert len(patients_followup(followed(study), "os")) == PATIENTS


def test_a_split_of_slides_would_test_patients_that_were_learned_from(study, features):
    slides = dataclasses.replace(TASK, split="sections")
    with pytest.raises(EvalError, match="patients are in fit and test"):
        run_task(slides, followed(study), features, **QUICK)


def test_a_select_fold_chooses_the_strength(study, features):
    outcome = run_task(
        dataclasses.replace(TASK, select="select"), followed(study), features, **QUICK
    )
    assert outcome.hyper["chosen_by"] == "fold select"
    assert "task survival: regression expects" in str(
        pytest.raises(
            EvalError,
            dataclasses.replace(TASK, kind="regression").validate,
            followed(study),
        ).value
    )


@pytest.mark.slow
def test_a_hazard_over_bags_of_tiles_has_a_curve_and_several_metrics(study, features):
    """By cross-validation inside the fit fold, with Uno's C and Brier's of one fit."""
    more = ("c_index_uno", "brier_integrated")
    task = dataclasses.replace(TASK, protocol="bag-hazard/1", more_metrics=more)
    made = followed(study)
    outcome = run_task(task, made, features, seeds=2, epochs=2)
    assert outcome.prediction.shape == (10, 2, 1 + len(GRID))  # runs are averaged
    runs = np.moveaxis(outcome.prediction, 1, 0)
    values = [C_INDEX.value(outcome.truth, run) for run in runs]
    assert outcome.value == pytest.approx(np.mean(values))
    assert (np.diff(runs[..., 1:], axis=-1) <= 1e-9).all() and runs.max() <= 1
    assert outcome.hyper["tiles_in_a_bag"] == 8  # of a patient's two slides
    assert outcome.hyper["chosen_by"].endswith("of the fit fold by patient: epoch")
    assert len(outcome.hyper["intervals_end"]) == 4
    uno, brier = outcome.more_metrics
    assert uno["chance"] == 0.5 and 0 < brier["value"] < 0.5
