"""Tasks of kind robustness on a made study whose embeddings are known."""

import dataclasses

import numpy as np
import pytest
from sited_study import sited_study as study

from pathjax.evals import EvalError
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.robustness import best_k, common_k
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.stats.interval import left_out
from pathjax.stats.metrics import find_metric

__all__ = ["study"]
INDEX = Task(
    *("index", "made", "status", "robustness", "cohort", None, "*"),
    metric="robustness_index@3",
)
SITE = Task(
    *("site", "made", "site", "classification", "cohort", "one", "two"),
    metric="site_accuracy",
)


def embeddings(study, biology=0.0, site=0.0):
    """Of tiles; they know status and site with these strengths."""
    rng = np.random.default_rng(0)
    status = study.samples.set_index("sample_id")["status"][study.tiles["sample_id"]]
    x = rng.normal(0, 0.3, (len(status), 6))
    x[:, 0] += np.where(status.to_numpy() == "wild", biology, -biology)
    x[:, 1] += np.where(study.tiles["site"].to_numpy() == "X", site, -site)
    return x.astype(np.float32)


@pytest.mark.parametrize(("biology", "site", "wanted"), [(5, 0, 1.0), (0, 5, 0.0)])
def test_the_index_of_samples(study, biology, site, wanted):
    outcome = run_task(INDEX, study, embeddings(study, biology, site))
    assert outcome.value == wanted
    assert outcome.chance == 0.5
    assert outcome.metric == "robustness_index@3"
    assert outcome.protocol == "robustness-index/1 (k=3)"
    assert outcome.n == outcome.n_patients == 20
    assert outcome.hyper["unlabelled"] == {"test": 1}
    assert outcome.hyper["without_site"] == {"test": 1}
    assert outcome.columns == ("mutant, wild at X, Y",)


def test_every_patient_can_be_left_out(study):
    outcome = run_task(INDEX, study, embeddings(study, 0.2, 0.2))
    unit = np.unique(outcome.patient, return_inverse=True)[1]
    terms = find_metric(outcome.metric).terms(
        outcome.truth, outcome.prediction, unit, outcome.stratum, outcome.combine
    )
    scores = left_out(terms, 20)
    assert scores[0] == pytest.approx(outcome.value)
    assert len(set(scores)) > 5
    assert np.isfinite(scores).all()


def test_rows_of_several_pairs_point_at_their_own(study):
    task = dataclasses.replace(INDEX, site="batch")
    outcome = run_task(task, study, embeddings(study, 0.3))
    assert len(outcome.columns) == len(outcome.hyper["pairs"]) == 3
    near = outcome.prediction
    own = np.broadcast_to(outcome.stratum[:, None], near.shape)
    assert (outcome.stratum[near] == own)[near >= 0].all()
    so = sum(pair["value"] * pair["rows"] for pair in outcome.hyper["pairs"])
    assert outcome.value == pytest.approx(so / outcome.n, abs=0.1)


@pytest.mark.slow
def test_clusters_and_drops_are_tasks_too(study):
    known = embeddings(study, 5, 0)
    task = dataclasses.replace(INDEX, metric="clustering_score")
    outcome = run_task(task, study, known, trials=2, starts=2, choice_starts=2, most=4)
    assert outcome.protocol.startswith("clustering-score/1 (")
    assert outcome.value > 0.9
    assert outcome.prediction.shape == (20, 2)
    task = dataclasses.replace(INDEX, metric="performance_drop")
    outcome = run_task(task, study, known, repetitions=2, l2=(1.0,))
    assert outcome.prediction.shape == (20, 2, 2)
    assert outcome.combine == "mean"


def test_the_best_k_predicts_the_class(study):
    probe = PROTOCOLS["robustness-index/1"].probe
    assert best_k(INDEX, study, embeddings(study, 5), probe) == 1
    assert common_k([1, 11, 31]) == 11
    assert common_k([11, 21]) == 11


def test_the_site_is_a_class_that_any_study_has(study):
    outcome = run_task(SITE, study, embeddings(study, 0, 5), seeds=1)
    assert outcome.value == 1
    assert outcome.columns == ("X", "Y")
    assert outcome.hyper["of_unseen_sites"] == {"fit": 1, "test": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fit": "one"}, "takes no fit and select fold"),
        ({"test": "three"}, "fold 'three' is not in split cohort"),
        ({"site": "hospital"}, "no column 'hospital' in the samples"),
        ({"target": "site"}, "as a class only"),
        ({"metric": "auroc"}, "metric auroc needs scores, kind robustness has"),
        ({"site": "status"}, "confounded"),
        ({"split": "sites", "test": "X"}, "at least two sites, got 1 \\(X\\)"),
        ({"metric": "robustness_index@40"}, "k = 40 is more than the 19 neighbours"),
        ({"blocks_um": 5.0}, "blocks_um is for rows of one patient"),
    ],
)
def test_what_cannot_be_asked_is_refused(study, change, message):
    task = dataclasses.replace(INDEX, **change)
    with pytest.raises(EvalError, match=message):
        run_task(task, study, embeddings(study))


def test_folds_that_share_no_site_cannot_be_asked_for_it(study):
    task = dataclasses.replace(SITE, split="sites", fit="X", test="Y")
    with pytest.raises(EvalError, match="split sites holds sites apart"):
        run_task(task, study, embeddings(study))
