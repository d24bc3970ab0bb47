"""Loops, scipy and scikit-learn are the oracles."""

import numpy as np
import pytest
import scipy.stats
from extras import extra
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pathjax.registry import RegistryError
from pathjax.stats.correlation import PEARSON, per_gene_pearson
from pathjax.stats.metric import Metric, StatisticsError
from pathjax.stats.metrics import (
    AUROC,
    BALANCED_ACCURACY,
    METRICS,
    balanced_accuracy,
    find_metric,
    mean_pearson,
    metric_label,
    recall_at,
)

sklearns = extra("sklearn.metrics")

accuracy_terms = BALANCED_ACCURACY.terms
pearson_terms = PEARSON.terms


def recall_terms(hits, unit):
    return recall_at(10).terms(np.ones(len(hits)), hits, unit)


def drawn(units, replicates, seed):
    """How often each unit counts, when as many are drawn with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=replicates)


def labels(seed, rows=60, classes=4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    guess = np.where(rng.random(rows) < 0.6, truth, rng.integers(0, classes, rows))
    return truth, guess


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 50))
def test_balanced_accuracy_is_scikit_learns_macro_recall(seed, rows):
    truth, guess = labels(seed, rows)
    wanted = sklearns.recall_score(
        truth, guess, labels=np.unique(truth), average="macro", zero_division=0
    )
    assert balanced_accuracy(truth, guess) == pytest.approx(wanted)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(3, 40),
    shift=st.sampled_from([0.0, 1e3, -1e4]),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
)
def test_pearson_is_scipys_whatever_the_units(seed, rows, shift, scale):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(rows, 3))
    guess = truth + rng.normal(size=(rows, 3))
    assume(min(truth.std(axis=0).min(), guess.std(axis=0).min()) > 0.1)
    r = per_gene_pearson(truth * scale + shift * scale, (guess + shift) * scale)
    for gene in range(3):
        wanted = scipy.stats.pearsonr(truth[:, gene], guess[:, gene])[0]
        assert r[gene] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_what_varies_little_beside_its_size_is_not_constant(kind):
    truth = (1e6 + np.random.default_rng(0).random((50, 1))).astype(kind)
    assert mean_pearson(truth, truth) == pytest.approx(1)
    nearly = np.full((50, 1), 0.1, kind)
    nearly[::2] = np.nextafter(kind(0.1), kind(1))  # as sums in another order are
    with pytest.raises(StatisticsError, match="are constant"):
        mean_pearson(nearly, truth)


def test_constant_truth_is_left_out_and_constant_prediction_counts_as_zero():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 3))
    guess = truth.copy()
    truth[:, 0] = 0.1  # 0.1 is no float: its mean differs from it in the last bit
    guess[:, 1] = -7.7
    r = per_gene_pearson(truth, guess)
    assert np.isnan(r[0]) and r[1] == 0 and r[2] == pytest.approx(1)
    assert mean_pearson(truth, guess) == pytest.approx(0.5)
    with pytest.raises(
        StatisticsError, match="all 1 columns of the truth are constant"
    ):
        mean_pearson(truth[:, :1], guess[:, :1])


@pytest.mark.parametrize("metric", ["balanced_accuracy", "pearson", "recall"])
def test_draws_equal_resampling_rows_by_hand(metric):
    rng = np.random.default_rng(3)
    unit = rng.integers(0, 9, 80)
    draws = drawn(9, 40, seed=5)
    truth, guess = labels(1, rows=80)
    values = rng.normal(size=(80, 5))
    noisy = values + rng.normal(size=(80, 5))
    values[:, 4] = 3.0
    hits = rng.random((80, 2)) < 0.3
    terms = {
        "balanced_accuracy": lambda: accuracy_terms(truth, guess, unit),
        "pearson": lambda: pearson_terms(values, noisy, unit),
        "recall": lambda: recall_terms(hits, unit),
    }[metric]()
    found = terms.evaluate(draws)
    for one, draw in zip(found, draws, strict=True):
        rows = np.repeat(np.arange(80), draw[unit])
        wanted = {
            "balanced_accuracy": lambda r: balanced_accuracy(truth[r], guess[r]),
            "pearson": lambda r: np.mean(
                [scipy.stats.pearsonr(values[r, g], noisy[r, g])[0] for g in range(4)]
            ),
            "recall": lambda r: hits[r].mean(),
        }[metric](rows)
        assert one == pytest.approx(wanted, abs=1e-9)


def test_a_gene_that_a_replicate_makes_constant_is_left_out_there():
    truth = np.array([[0.0, 1.0], [0.0, 2.0], [5.0, 3.0]])
    guess = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 4.0]])
    terms = pearson_terms(truth, guess, np.arange(3))
    found = terms.evaluate(np.array([[2, 1, 0], [3, 0, 0]]))
    assert found[0] == pytest.approx(1.0)  # gene 0 is constant in rows 0, 0, 1
    assert np.isnan(found[1])  # one row three times: nothing varies


def test_a_class_that_a_replicate_does_not_draw_is_left_out_there():
    terms = accuracy_terms(np.array([0, 0, 1]), np.array([0, 1, 1]), np.arange(3))
    np.testing.assert_allclose(
        terms.evaluate(np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]])), [0.75, 2 / 3, 1.0]
    )


def test_chance():
    truth = np.array([0, 2, 2, 5])
    wanted = {"balanced_accuracy": 1 / 3, "accuracy": 0.5, "auroc": 0.5,
              "auprc": 1 / 3, "pearson": 0, "spearman": 0}  # fmt: skip
    for name, chance in wanted.items():
        assert METRICS[name].chance_level(truth) == pytest.approx(chance)
    # Classes of equal size, guessed uniformly: precision and recall are 1 / classes.
    assert METRICS["f1_macro"].chance_level(np.arange(4)) == pytest.approx(0.25)
    assert recall_at(10).chance_level(np.zeros(40)) == 0.25
    assert recall_at(10).chance_level(np.zeros(4)) == 1


def test_shapes_and_values_are_checked():
    with pytest.raises(StatisticsError, match="expected at least one row"):
        accuracy_terms(np.array([0, 1]), np.array([0]))
    with pytest.raises(StatisticsError, match="expected at least one row"):
        pearson_terms(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(StatisticsError, match="not finite"):
        pearson_terms(np.array([[np.inf], [1.0]]), np.zeros((2, 1)))
    with pytest.raises(StatisticsError, match="not finite"):
        pearson_terms(np.zeros((2, 1)), np.array([[np.nan], [1.0]]))
    with pytest.raises(StatisticsError, match="one of .* got both"):
        pearson_terms(np.zeros((2, 1)), np.zeros((2, 1)), combine="both")


@pytest.mark.parametrize("name", ["pearson", "spearman", "auroc"])
def test_a_fold_of_one_patient_counts_as_often_as_the_patient(name):
    """Patients whose scores are the best, chance and the worst, in folds of their own."""
    truth = np.tile([0.0, 1.0, 0.0, 1.0], 3)
    guess = np.array([0.0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0])
    patient = np.repeat([0, 1, 2], 4)
    if name == "auroc":
        truth, guess = truth.astype(int), np.stack([1 - guess, guess], axis=1)
    else:
        truth, guess = truth[:, None], guess[:, None]
    terms = METRICS[name].terms(truth, guess, patient, patient, "mean")
    best, chance = (1, 0.5) if name == "auroc" else (1, 0)
    found = terms.evaluate(np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]]))
    wanted = [chance, (2 * best + chance) / 3, 2 * chance - best]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_several_runs_score_their_mean_in_every_replicate():
    truth, _ = labels(1, rows=60)
    guesses = np.stack([labels(seed, rows=60)[1] for seed in (2, 3, 4)], axis=1)
    unit, draws = np.arange(60) % 11, drawn(11, 20, seed=0)
    each = [accuracy_terms(truth, one, unit).evaluate(draws) for one in guesses.T]
    found = accuracy_terms(truth, guesses, unit).evaluate(draws)
    np.testing.assert_allclose(found, np.mean(each, axis=0))
    with pytest.raises(StatisticsError, match="expected at least one row"):
        accuracy_terms(truth, guesses[:5], unit)


@pytest.mark.parametrize("digits", [1, 8])  # many ties, none
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["auroc", "auprc", "f1_macro", "accuracy"])
def test_class_metrics_are_scikit_learns_under_weights(name, classes, digits):
    rng = np.random.default_rng(classes)
    truth = np.append(np.arange(classes), rng.integers(0, classes, 80 - classes))
    score = (rng.random((80, classes)) + 0.5 * np.eye(classes)[truth]).round(digits)
    if classes == 2:
        score[:, 0] = -score[:, 1]
    unit, draws = np.arange(80) % 11, drawn(11, 30, seed=1)
    guess = score if METRICS[name].needs == "scores" else score.argmax(axis=1)
    values = METRICS[name].terms(truth, guess, unit).evaluate(draws)
    for value, draw in zip(values, draws, strict=True):
        weight = draw[unit]
        kept = {"sample_weight": weight}
        if name in ("auprc", "auroc"):
            area = {
                "auprc": sklearns.average_precision_score,
                "auroc": sklearns.roc_auc_score,
            }[name]
            each = [area(truth == one, score[:, one], **kept) for one in range(classes)]
            wanted = np.mean(each)
        elif name == "accuracy":
            wanted = sklearns.accuracy_score(truth, guess, **kept)
        else:
            rows = np.repeat(np.arange(80), weight)
            wanted = sklearns.f1_score(truth[rows], guess[rows], average="macro")
        assert value == pytest.approx(wanted, abs=1e-9)


def test_a_class_that_is_not_drawn_is_left_out_of_the_area():
    truth = np.array([0, 0, 1, 1, 2, 2])
    score = np.eye(3)[[0, 0, 1, 0, 2, 2]]
    draws = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    first, second = AUROC.terms(truth, score, np.arange(6)).evaluate(draws)
    # Of the first two classes: 3 of 4 pairs each, ties half.
    assert first == pytest.approx((0.75 + 0.75) / 2) and np.isnan(second)


def test_a_function_of_weights_is_a_metric():
    """One's own metric: its replicates, runs and strata are those of rows."""

    def error(truth, prediction, weight):
        return np.average(truth != prediction, weights=weight)

    mine = Metric("error", "error rate", "classes", error, 0.5, higher_is_better=False)
    truth, guess = labels(3)
    runs = np.stack([guess, labels(4)[1]], axis=1)
    unit, draws = np.arange(60) % 7, drawn(7, 20, seed=0)
    accuracy = METRICS["accuracy"]
    for prediction in (guess, runs):
        np.testing.assert_allclose(
            mine.terms(truth, prediction, unit).evaluate(draws),
            1 - accuracy.terms(truth, prediction, unit).evaluate(draws),
        )
    stratum = np.repeat([0, 1], [20, 40])
    halves = [np.mean(truth[stratum == s] != guess[stratum == s]) for s in (0, 1)]
    assert mine.value(truth, guess, stratum, "mean") == pytest.approx(np.mean(halves))
    with pytest.raises(ValueError, match="expected needs to be one of classes"):
        Metric("x", "x", "ranks", error)
    with pytest.raises(ValueError, match="metric x: expected scale .* got 'percent'"):
        Metric("x", "x", "classes", error, scale="percent")


def test_metrics_are_found_by_name():
    assert find_metric("recall@7").name == "recall@7"
    assert (
        find_metric("auroc") is AUROC and metric_label("other tool's") == "other tool's"
    )
    with pytest.raises(RegistryError, match="did you mean 'auroc'"):
        find_metric("aurok")
    for name in ("auroc", "auprc"):
        metric = METRICS[name]
        with pytest.raises(
            StatisticsError, match=f"{metric.label} is not defined on the 4 test rows"
        ):
            metric.value(np.zeros(4, int), np.ones((4, 2)))


def test_nan_is_blamed_on_the_truth_only_where_it_is_constant():
    def nothing(truth, prediction, weight):
        return float("nan")

    mine = Metric("mine", "mine", "classes", nothing)
    truth = np.repeat([0, 1], 4)
    with pytest.raises(StatisticsError, match="8 test rows: score returned NaN"):
        mine.value(truth, truth)
    with pytest.raises(StatisticsError, match="8 test rows: the truth does not vary"):
        mine.value(np.zeros(8, int), truth)
    # Constant in each stratum that is scored by itself, but not over all of them.
    with pytest.raises(StatisticsError, match="the truth does not vary"):
        mine.value(truth, truth, truth, "mean")
    with pytest.raises(StatisticsError, match="score returned NaN"):
        mine.value(truth, truth, truth, "within")


FAULTS = """
import dataclasses
from pathjax.stats.metric import Metric, SumMetric

def made(score, **more):
    return Metric("mine", "mine", "classes", score, **more)

RAISES = made(lambda truth, prediction, weight: {}["key"])
TWO = made(lambda truth, prediction: 0.5)
ARRAY = made(lambda truth, prediction, weight: weight)
NOTHING = made(lambda truth, prediction, weight: None)
FLAT = made(lambda truth, prediction, weight: 0.5, vectorised=True)
CHANCE = made(lambda truth, prediction, weight: 0.5, chance=lambda truth: truth)
SUMS = SumMetric("mine", "mine", "classes", lambda sums: sums[:, 0], sums=lambda truth: 1)
GOOD = made(lambda truth, prediction, weight: (truth == prediction).mean())
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RAISES", "KeyError: 'key'"),
        ("TWO", r"TypeError: .*takes 2 positional arguments but 3 were given"),
        ("ARRAY", r"TypeError: score returned an array of shape \(4,\), expected one"),
        ("NOTHING", "TypeError: score returned None, expected one number"),
        ("FLAT", r"TypeError: score returned 0.5, expected numbers of shape \(1,\)"),
        (
            "CHANCE",
            r"TypeError: chance returned an array of shape \(4,\), expected one",
        ),
        ("SUMS", "TypeError: .*takes 1 positional argument but 2 were given"),
    ],
)
def test_faults_of_ones_own_metric_name_it_and_the_task(
    name, message, tmp_path, monkeypatch
):
    (tmp_path / "faulty_metrics.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path)
    truth = np.array([0, 0, 1, 1])
    path = f"faulty_metrics:{name}"
    metric = find_metric(path, "tissue")
    expected = f"metric {path} failed on task tissue: {message}"
    with pytest.raises(StatisticsError, match=expected) as caught:
        metric.value(truth, truth)
        metric.chance_level(truth)
    assert caught.value.__cause__ is not None and len(str(caught.value)) < 600
    good = find_metric("faulty_metrics:GOOD", "tissue")
    assert good.value(truth, truth) == 1 and good.chance_level(truth) == 0
