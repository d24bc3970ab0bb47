"""Heads against NumPy: z-scores are undone, rates become counts per 10,000."""

import numpy as np
import pytest

from pathjax.data.expression import GenePanel
from pathjax.predict import PredictError
from pathjax.predict.heads import BLOCK, Regression, in_blocks, panel_of

FEATURES = np.random.default_rng(0).normal(0, 1, (5, 24)).astype(np.float32)


def dense(model):
    """LayerNorm (Flax's epsilon, 1e-6) and the linear, in float64."""
    head = model.params["head"]
    x = FEATURES.astype(np.float64)
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    x = x * head["norm"]["scale"] + head["norm"]["bias"]
    return x @ head["out"]["kernel"] + head["out"]["bias"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("regression", {"loss": "mse"}),
        ("regression", {"loss": "pearson"}),
        ("joint", {"queue": 9, "reconstruction": 1.0, "variance_power": 1.0}),
    ],
)
def test_scores_become_expression_in_the_panel_s_unit(make_model, name, options):
    model = make_model(name, **options)
    panel = GenePanel.from_json(model.meta["panel"])
    head = Regression(model)
    expected = dense(model) * panel.std + panel.mean
    np.testing.assert_allclose(head(FEATURES, [4, 0]), expected[:, [4, 0]], rtol=1e-4)
    assert head.unit == "log1p(counts per 10,000)"
    assert "8 training samples" in head.means


def test_rates_become_expected_counts(make_model):
    model = make_model(loss="negative_binomial")
    head = Regression(model)
    rate = 15 * np.tanh(dense(model) / 15)
    expected = np.log1p(1e4 * np.exp(rate))
    np.testing.assert_allclose(head(FEATURES, list(range(6))), expected, rtol=1e-4)
    assert head.unit == "log1p(expected counts per 10,000)"


def test_blocks_are_joined_in_order():
    values = np.arange(BLOCK + 3, dtype=np.float32)[:, None]
    got = in_blocks(lambda b: {"twice": 2 * b["x"]}, len(values), x=values)
    np.testing.assert_array_equal(got["twice"], 2 * values)


def test_a_model_that_never_saw_expression_is_refused(make_model):
    model = make_model()
    model.meta.update({"objective": {"name": "dino"}, "panel": None})
    with pytest.raises(PredictError, match="trained by dino without gene expression"):
        panel_of(model)
