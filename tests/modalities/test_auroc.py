"""Areas against scikit-learn's, with weights and ties."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pathjax.modalities.auroc import auroc, macro_auroc


@pytest.mark.parametrize("digits", [1, 8])  # many ties, none
def test_areas_are_scikit_learns(digits):
    random = np.random.default_rng(0)
    score = random.normal(size=80).round(digits)
    positive = random.random(80) < 0.3
    weight = random.integers(0, 4, (70, 80))
    wanted = [roc_auc_score(positive, score, sample_weight=one) for one in weight]
    np.testing.assert_allclose(auroc(score, positive, weight), wanted, rtol=1e-12)


def test_the_macro_mean_is_scikit_learns():
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 90)
    score = random.random((90, 3))
    score /= score.sum(axis=1, keepdims=True)
    wanted = roc_auc_score(truth, score, multi_class="ovr", average="macro")
    once = np.ones((1, 90))
    np.testing.assert_allclose(macro_auroc(score, truth, once), [wanted], rtol=1e-12)


def test_a_class_that_is_not_drawn_is_left_out():
    truth = np.array([0, 0, 1, 1, 2, 2])
    score = np.eye(3)[[0, 0, 1, 0, 2, 2]]
    weight = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    first, second = macro_auroc(score, truth, weight)
    # Of the first two classes: 3 of 4 pairs each, ties half.
    assert first == pytest.approx((0.75 + 0.75) / 2)
    assert np.isnan(second)
