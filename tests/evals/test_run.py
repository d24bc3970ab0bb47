"""Tasks end to end on a real study with made-up embeddings."""

import dataclasses

import numpy as np
import pytest
from eval_study import rows_of
from extras import extra
from scipy.stats import pearsonr, spearmanr

from pathjax.data.expression import select
from pathjax.evals import EvalError
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.stats.metrics import balanced_accuracy, mean_pearson

linear_model = extra("sklearn.linear_model")
metrics = extra("sklearn.metrics")
preprocessing = extra("sklearn.preprocessing")

STATUS = Task("status", "made", "status", "classification", "cohort", "fit", "test")
GENES = Task("genes", "made", None, "expression", "cohort", "fit", "test", genes=6)
QUICK = {"seeds": 2, "folds": 3}


def test_classification_equals_scikit_learn_at_the_chosen_strength(study, features):
    task = dataclasses.replace(STATUS, select="select")
    outcome = run_task(task, study, features, tolerance=1e-6, **QUICK)
    fit, test = (
        rows_of(study, "sample", "cohort", one, features) for one in ("fit", "test")
    )
    status = study.samples["status"]
    fit = fit.keep(status.iloc[fit.index].notna().to_numpy())
    test = test.keep(status.iloc[test.index].notna().to_numpy())
    scaler = preprocessing.StandardScaler().fit(fit.features.astype(np.float64))
    model = linear_model.LogisticRegression(
        C=1 / (outcome.hyper["strength"] * len(fit)),
        class_weight="balanced",
        tol=1e-9,
        max_iter=5000,
    ).fit(scaler.transform(fit.features), status.iloc[fit.index].astype(str))
    guess = model.predict(scaler.transform(test.features))
    classes = np.array(outcome.columns)
    np.testing.assert_array_equal(classes[outcome.prediction], guess)
    np.testing.assert_array_equal(
        classes[outcome.truth], status.iloc[test.index].astype(str)
    )
    assert outcome.value == balanced_accuracy(outcome.truth, outcome.prediction)
    assert outcome.value > 0.9 and outcome.chance == 0.5
    assert outcome.hyper["chosen_by"] == "fold select"
    assert outcome.hyper["converged"]
    assert [one["probe_seed"] for one in outcome.per_fold] == [0, 1]
    assert outcome.n == len(test) and outcome.n_patients == 10


def test_expression_equals_scikit_learn_at_the_chosen_strength(study, features):
    outcome = run_task(GENES, study, features, **QUICK)
    expression = study.expression()
    fit, test = (
        rows_of(study, "sample", "cohort", one, features) for one in ("fit", "test")
    )
    fit = fit.keep(np.isin(fit.sample, expression.obs_names))
    y = select(expression, list(fit.sample), outcome.columns).astype(np.float64)
    truth = select(expression, list(test.sample), outcome.columns)
    np.testing.assert_array_equal(outcome.truth, truth)
    scaler = preprocessing.StandardScaler().fit(fit.features.astype(np.float64))
    model = linear_model.Ridge(alpha=outcome.hyper["strength"] * len(fit), solver="svd")
    model.fit(scaler.transform(fit.features.astype(np.float64)), y)
    wanted = model.predict(scaler.transform(test.features.astype(np.float64)))
    np.testing.assert_allclose(outcome.prediction, wanted, atol=1e-3)
    value, constant = mean_pearson(truth, wanted), outcome.hyper["constant_genes"]
    assert outcome.value == pytest.approx(value, abs=1e-4) and outcome.value > 0.5
    assert constant == outcome.hyper["constant_genes"] == 0
    assert outcome.hyper["chosen_by"] == "3 folds"
    assert outcome.hyper["groups"] == "patient"


def test_tiles_numbers_and_neighbours(study, features):
    tissue = Task(
        "tissue", "made", "tissue", "classification", "cohort", "fit", "test",
        level="tile", protocol="knn/1",
    )  # fmt: skip
    outcome = run_task(tissue, study, features, **QUICK)
    assert outcome.value > 0.7 and outcome.n == 80
    purity = Task("purity", "made", "purity", "regression", "cohort", "fit", "test")
    for protocol in ("ridge/1", "knn/1"):
        task = dataclasses.replace(purity, protocol=protocol)
        outcome = run_task(task, study, features, **QUICK)
        assert outcome.prediction.shape == (40, 1)
        # Purity of the test patients lies outside what the fit fold holds.
        assert -1 <= outcome.value <= 1


def test_shuffled_embeddings_score_at_chance(study, features):
    shuffled = np.random.default_rng(0).permutation(features)
    values = [
        one["value"]
        for one in run_task(STATUS, study, shuffled, seeds=2, folds=3).per_fold
    ]
    assert abs(np.mean(values) - 0.5) < 0.25


def test_sections_of_one_patient_are_recorded_as_shared(study, features):
    task = dataclasses.replace(STATUS, split="sections")
    outcome = run_task(task, study, features, **QUICK)
    assert outcome.shared_patients[:2] == ("P00", "P01")
    plain = run_task(STATUS, study, features, **QUICK)
    assert plain.shared_patients == ()


class Tampered:
    """The study with one thing changed."""

    def __init__(self, study, **changes):
        self._study, self._changes = study, changes

    def __len__(self):
        return len(self._study)

    def __getattr__(self, name):
        return self._changes.get(name, getattr(self._study, name))


def test_undeclared_patients_on_both_sides_are_refused(study, features):
    split = study.split("sections")
    hidden = dataclasses.replace(split, shared_patients=())
    task = dataclasses.replace(STATUS, split="sections")
    with pytest.raises(EvalError, match="30 patients are in fit and test"):
        run_task(task, Tampered(study, split=lambda _: hidden), features)


def test_one_row_on_both_sides_is_refused_even_when_declared(study, features):
    task = dataclasses.replace(STATUS, split="sections")
    everything = np.arange(len(study.tiles))
    leaky = Tampered(study, fold_tiles=lambda split, fold: everything)
    with pytest.raises(EvalError, match="120 samples are in fit and test"):
        run_task(task, leaky, features)


def test_one_fit_patient_needs_a_select_fold(study, features):
    task = dataclasses.replace(
        GENES, split="lone", fit="one", test="test", genes=("G0", "G1")
    )
    with pytest.raises(EvalError, match="Name a select fold"):
        run_task(task, study, features, **QUICK)
    outcome = run_task(
        dataclasses.replace(task, select="two"), study, features, **QUICK
    )
    assert outcome.hyper["n_fit_patients"] == 1


def test_one_fit_patient_of_a_slide_split_is_chosen_by_slide(study, features):
    split = study.split("sections")
    few = dataclasses.replace(
        split,
        folds={"fit": ("P07a", "P07b"), "test": ("P08a", "P09a")},
        shared_patients=(),
    )
    tiles = lambda _, fold: np.flatnonzero(
        study.tiles["slide_id"].isin(few.folds[fold])
    )
    task = dataclasses.replace(GENES, split="sections", genes=("G0", "G1"))
    part = Tampered(study, split=lambda _: few, fold_tiles=tiles)
    outcome = run_task(task, part, features, **QUICK)
    assert outcome.hyper["groups"] == "slide"
    assert outcome.hyper["chosen_by"] == "2 folds"


def test_fewer_patients_than_folds_gives_a_fold_each(study, features):
    task = dataclasses.replace(GENES, split="lone", fit="two", genes=("G0", "G1"))
    outcome = run_task(task, study, features, seeds=1, folds=5)
    assert outcome.hyper["chosen_by"] == "2 folds"


def test_a_number_is_named_where_it_is_constant_and_scored_where_it_is_not(
    study, features
):
    purity = Task("purity", "made", "purity", "regression", "cohort", "fit", "test")
    number = study.samples["patient_id"].str[1:].astype(int)
    near = 1e6 + np.random.default_rng(0).random(len(number)) + number / 30
    for values, message in (
        (number.where(number < 20, 7.0), r"purity is constant over the 40 test rows"),
        (near, None),
        (near + 1e9, None),
    ):
        tampered = Tampered(study, samples=study.samples.assign(purity=values))
        if message:
            with pytest.raises(EvalError, match=f"task purity: {message}"):
                run_task(purity, tampered, features, **QUICK)
        else:
            outcome = run_task(purity, tampered, features, **QUICK)
            wanted = pearsonr(outcome.truth[:, 0], outcome.prediction[:, 0])[0]
            assert outcome.value == pytest.approx(wanted)
    flat = dataclasses.replace(GENES, genes=("G4",))
    with pytest.raises(EvalError, match="all 1 genes are constant over the 40 test"):
        run_task(flat, study, features, **QUICK)


def test_retrieval_both_ways(study, features):
    task = Task("find", "made", None, "retrieval", "cohort", None, "test")
    rng = np.random.default_rng(0)
    samples = rows_of(study, "sample", "cohort", "test", features)
    partner = np.full((len(study.samples), 16), np.nan)
    partner[samples.index] = samples.features + rng.normal(0, 0.01, (40, 16))
    outcome = run_task(task, study, features, partner=partner, k=5)
    assert outcome.metric == "recall@5" and outcome.value > 0.9
    assert outcome.chance == pytest.approx(5 / 40)
    assert outcome.prediction.shape == (40, 2)
    inside = run_task(task, study, features, partner=partner, k=1, per_slide=True)
    assert inside.chance == pytest.approx(0.5)
    with pytest.raises(EvalError, match="only contrastive models"):
        run_task(task, study, features)
    with pytest.raises(EvalError, match="for each of the 120 samples"):
        run_task(task, study, features, partner=partner[:5])


def test_bad_features_are_refused(study, features):
    with pytest.raises(EvalError, match="one row for each of the 240 tiles"):
        run_task(STATUS, study, features[:10])
    broken = features.copy()
    first = study.fold_tiles("cohort", "fit")[3]
    broken[first] = np.nan
    with pytest.raises(EvalError, match="first sample P00a1"):
        run_task(STATUS, study, broken)
    with pytest.raises(EvalError, match="no option"):
        run_task(STATUS, study, features, folders=3)


@pytest.mark.parametrize("protocol", ["linear/1", "eva-linear/1", "knn/1"])
@pytest.mark.parametrize("metric", ["auroc", "auprc", "f1_macro"])
def test_a_task_names_its_metric(study, features, protocol, metric):
    """The value is scikit-learn's of what was saved; of runs it is their mean."""
    task = dataclasses.replace(
        STATUS, protocol=protocol, metric=metric, select="select"
    )
    options = {"steps": 60} if protocol == "eva-linear/1" else {}
    outcome = run_task(task, study, features, seeds=2, **options)
    assert outcome.metric == metric and outcome.n == len(outcome.truth)
    runs = outcome.prediction
    runs = np.moveaxis(runs, 1, 0) if protocol == "eva-linear/1" else [runs]
    truth = outcome.truth
    wanted = {
        "auroc": lambda p: metrics.roc_auc_score(truth, p[:, 1]),
        "auprc": lambda p: np.mean(
            [metrics.average_precision_score(truth == c, p[:, c]) for c in (0, 1)]
        ),
        "f1_macro": lambda p: metrics.f1_score(truth, p, average="macro"),
    }[metric]
    assert outcome.value == pytest.approx(np.mean([wanted(run) for run in runs]))
    if metric == "auroc":
        np.testing.assert_allclose(np.sum(runs, axis=-1), 1, atol=1e-5)
        assert outcome.chance == 0.5


def test_expression_by_rank_and_recall_at_a_named_k(study, features):
    outcome = run_task(
        dataclasses.replace(GENES, metric="spearman"), study, features, **QUICK
    )
    each = [
        spearmanr(t, p)[0]
        for t, p in zip(outcome.truth.T, outcome.prediction.T, strict=True)
    ]
    assert outcome.value == pytest.approx(np.mean(each))
    find = Task(
        "f", "made", None, "retrieval", "cohort", None, "test", metric="recall@5"
    )
    partner = np.random.default_rng(0).normal(size=(len(study.samples), 16))
    assert run_task(find, study, features, partner=partner).metric == "recall@5"


@pytest.mark.parametrize("protocol", ["linear/1", "eva-linear/1"])
def test_several_metrics_are_of_one_fit(study, features, protocol, monkeypatch):
    """Each equals a task of its own; the probe is fitted once."""
    quick = QUICK if protocol == "linear/1" else {"seeds": 2, "steps": 60}
    more = ("auroc", "auprc", "accuracy")
    task = dataclasses.replace(
        STATUS, level="sample", select="select", protocol=protocol, more_metrics=more
    )
    probe, fits = type(task.find_protocol().probe), []
    fit = probe.fit
    monkeypatch.setattr(probe, "fit", lambda *of: (fits.append(1), fit(*of))[1])
    outcome = run_task(task, study, features, **quick)
    assert len(fits) == 1
    alone = dataclasses.replace(task, more_metrics=())
    first = run_task(alone, study, features, **quick)
    assert (outcome.metric, outcome.value) == ("balanced_accuracy", first.value)
    assert [one["metric"] for one in outcome.more_metrics] == list(more)
    for record in outcome.more_metrics:
        own = dataclasses.replace(alone, metric=record["metric"])
        single = run_task(own, study, features, **quick)
        assert (record["value"], record["chance"]) == (single.value, single.chance)
        assert record["values"] == [seed["value"] for seed in single.per_fold]
    score = outcome.prediction[..., 1].reshape(outcome.n, -1)
    areas = [metrics.roc_auc_score(outcome.truth, run) for run in score.T]
    assert outcome.more_metrics[0]["value"] == pytest.approx(np.mean(areas))


def test_values_have_several_metrics_too(study, features):
    task = dataclasses.replace(GENES, more_metrics=("spearman",))
    outcome = run_task(task, study, features, **QUICK)
    (record,) = outcome.more_metrics
    each = zip(outcome.truth.T, outcome.prediction.T, strict=True)
    rho = np.mean([spearmanr(*pair).statistic for pair in each])
    assert record["value"] == pytest.approx(rho, abs=1e-6)


def test_correlation_by_name_per_slide_and_pooled(study, features):
    """One fit of each fold: SciPy's r of each slide, averaged, and of all rows."""
    more = ("pearson_per_slide", "spearman_pooled")
    task = dataclasses.replace(
        GENES, split="sections", fit=None, test="*", more_metrics=more
    )
    outcome = run_task(task, study, features, **QUICK)
    rho = [
        spearmanr(*pair).statistic
        for pair in zip(outcome.truth.T, outcome.prediction.T, strict=True)
    ]
    each = []
    for slide in np.unique(outcome.slide):  # of two rows: r is 1 or -1
        rows = outcome.slide == slide
        gaps = (
            np.diff(part[rows], axis=0) for part in (outcome.truth, outcome.prediction)
        )
        each.append(np.prod(np.sign(list(gaps)), axis=0))
    per_slide, pooled = (record["value"] for record in outcome.more_metrics)
    assert len(each) > 20
    assert per_slide == pytest.approx(np.concatenate(each).mean(), abs=1e-6)
    assert pooled == pytest.approx(np.nanmean(rho), abs=1e-6)
    alone = dataclasses.replace(task, metric="pearson_per_slide", more_metrics=())
    assert run_task(alone, study, features, **QUICK).value == per_slide
