"""Every protocol on a task: scikit-learn where it has one, and what the record says."""

import dataclasses

import numpy as np
import pytest
from eval_study import rows_of
from extras import extra

from pathjax.data.expression import select
from pathjax.evals import EvalError
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.metrics import mean_pearson

decomposition = extra("sklearn.decomposition")
linear_model = extra("sklearn.linear_model")
pipeline = extra("sklearn.pipeline")
preprocessing = extra("sklearn.preprocessing")

STATUS = Task("status", "made", "status", "classification", "cohort", "fit", "test")
GENES = Task("genes", "made", None, "expression", "cohort", "fit", "test", genes=6)


def labelled(study, features, *roles, level="sample", target="status"):
    table = study.samples if level == "sample" else study.tiles
    for role in roles:
        rows = rows_of(study, level, "cohort", role, features)
        known = table[target].iloc[rows.index].notna().to_numpy()
        rows = rows.keep(known)
        yield rows.features, table[target].iloc[rows.index].astype(str).to_numpy()


def test_uni_learns_from_fit_and_select_as_scikit_learn_does(study, features):
    task = dataclasses.replace(STATUS, select="select", protocol="uni-logreg/1")
    outcome = run_task(task, study, features, squared=True)
    (x1, y1), (x2, y2), (query, truth) = labelled(
        study, features, "fit", "select", "test"
    )
    x, y = np.concatenate([x1, x2]), np.concatenate([y1, y2])
    model = linear_model.LogisticRegression(
        C=x.shape[1] * 2 / 100, tol=1e-8, max_iter=5000
    )
    guess = model.fit(x.astype(np.float64), y).predict(query)
    classes = np.array(outcome.columns)
    np.testing.assert_array_equal(classes[outcome.prediction], guess)
    np.testing.assert_array_equal(classes[outcome.truth], truth)
    assert outcome.hyper["n_fit"] == len(y1) and outcome.hyper["strength"] is None


def test_uni_refuses_a_class_that_is_in_the_test_fold_only(study, features):
    task = Task(
        "t", "made", "tissue", "classification", "lone", "one", "test",
        level="tile", protocol="uni-logreg/1",
    )  # fmt: skip
    with pytest.raises(EvalError, match="1 of 3 classes are in the test fold only"):
        run_task(task, study, features, allow_unseen=True)


def with_counts(study):
    """The study with the exponent of its expression as raw counts."""
    whole = study.expression()
    whole.layers["counts"] = np.round(np.exp(whole.X)).astype(np.float32)

    class WithCounts:
        def __getattr__(self, name):
            return (lambda: whole) if name == "expression" else getattr(study, name)

        def __len__(self):
            return len(study)

    return WithCounts()


@pytest.mark.parametrize("name", ["hest-ridge/1", "hest-paper/1"])
def test_hest_is_scaler_components_and_ridge_on_log_counts(study, features, name):
    study, task = with_counts(study), dataclasses.replace(GENES, protocol=name)
    outcome = run_task(task, study, features)
    expression = study.expression()
    fit, test = (
        rows_of(study, "sample", "cohort", one, features) for one in ("fit", "test")
    )
    fit = fit.keep(np.isin(fit.sample, expression.obs_names))
    y, truth = (
        np.log1p(select(expression, list(part.sample), outcome.columns, "counts"))
        for part in (fit, test)
    )
    np.testing.assert_array_equal(outcome.truth, truth)
    steps = [decomposition.PCA(16, svd_solver="full")] if name == "hest-ridge/1" else []
    ridge = linear_model.Ridge(alpha=100 / (16 * 6), fit_intercept=False)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), *steps, ridge)
    wanted = model.fit(fit.features.astype(np.float64), y).predict(test.features)
    np.testing.assert_allclose(outcome.prediction, wanted, atol=1e-3)
    assert outcome.value == pytest.approx(mean_pearson(truth, wanted), abs=1e-4)


def test_hest_chooses_alpha_inside_the_fit_fold(study, features):
    study = with_counts(study)
    task = dataclasses.replace(GENES, protocol="hest-cv-alpha/1")
    outcome = run_task(task, study, features)
    hyper = outcome.hyper
    grid = PROTOCOLS["hest-cv-alpha/1"].probe.alphas
    assert hyper["chosen_by"] == "5 folds" and hyper["groups"] == "patient"
    assert hyper["strength"] == grid[int(np.argmin(hyper["held_out_loss"]))]
    fixed = run_task(task, study, features, alphas=(hyper["strength"],))
    np.testing.assert_allclose(outcome.prediction, fixed.prediction, atol=1e-4)
    chosen = run_task(dataclasses.replace(task, select="select"), study, features)
    assert chosen.hyper["chosen_by"] == "fold select"


def test_counts_are_wanted_where_there_are_none(study, features):
    task = dataclasses.replace(GENES, protocol="hest-ridge/1")
    with pytest.raises(ValueError, match="no layer 'counts'"):
        run_task(task, study, features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("select", "words"),
    [("select", "fold select"), (None, "one of 5 folds of the fit")],
)
def test_abmil_scores_samples_by_their_tiles(study, features, select, words):
    task = dataclasses.replace(STATUS, select=select, protocol="eva-abmil/1")
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    outcome = run_task(task, study, scaled, seeds=2)
    assert outcome.hyper["chosen_by"].startswith(words)
    assert outcome.hyper["tiles_in_a_bag"] == 2 and len(outcome.per_fold) == 2
    assert outcome.value > 0.8
    again = run_task(task, study, scaled, seeds=2)
    np.testing.assert_array_equal(outcome.prediction, again.prediction)


def test_abmil_is_of_samples(study):
    task = Task(
        "t", "made", "tissue", "classification", "cohort", "fit", "test",
        level="tile", protocol="eva-abmil/1",
    )  # fmt: skip
    assert task.problems(study) == [
        "protocol eva-abmil/1 is for samples, the level is tile"
    ]


def test_r_within_classes_is_of_what_is_left_when_their_means_are_off(study, features):
    within = Task("w", "made", None, "expression", "cohort", "fit", "test", genes=6)
    plain = run_task(within, study, features)
    inside = run_task(within, study, features, within="status")
    np.testing.assert_allclose(inside.prediction, plain.prediction)
    status = study.samples.set_index("sample_id")["status"]
    status = status.astype(object).fillna("").astype(str)
    kind = np.unique(status[inside.unit], return_inverse=True)[1]
    assert len(set(zip(kind.tolist(), inside.stratum.tolist(), strict=True))) == 3
    r = per_gene_pearson(plain.truth, plain.prediction, kind)
    assert inside.value == pytest.approx(np.nanmean(r)) != plain.value
    problem = dataclasses.replace(within, protocol="tcga-expression/1").problems(study)
    assert "scores within cancer_type, which is no target" in problem[0]
