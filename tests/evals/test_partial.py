"""Expression that was not measured in all rows: fitted and scored where it was."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from partial import withhold

from pathjax.evals import EvalError
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task

TASK = Task(
    *("genes", "made", None, "expression", "cohort", "fit", "test"),
    genes=("G0", "G3", "G9"),
    protocol="hest-paper/1",
)
OPTIONS = {"values": "log"}


@pytest.fixture
def partial(study, monkeypatch):
    """G3 and G9 were not measured in the samples of slides that end in b."""
    whole = study.expression()

    def withheld(genes=("G3", "G9"), suffixes=("b0", "b1")):
        samples = [one for one in whole.obs_names if one.endswith(suffixes)]
        made = withhold(whole, samples, genes)
        monkeypatch.setattr(type(study), "expression", lambda self: made)

    return withheld


def test_a_gene_is_fitted_and_scored_where_it_was_measured(study, features, partial):
    partial()
    found = run_task(TASK, study, features, **OPTIONS)
    half = np.array([not one[3:].startswith("b") for one in found.unit])
    assert 0 < half.sum() < len(half)
    absent = np.isnan(found.truth)
    assert not absent[:, 0].any()
    np.testing.assert_array_equal(absent[:, 1], ~half)
    r = [
        scipy.stats.pearsonr(found.truth[own, g], found.prediction[own, g])[0]
        for g, own in enumerate([np.ones_like(half), half, half])
    ]
    assert found.value == pytest.approx(np.mean(r), abs=1e-6)
    groups = found.hyper["by_measured_rows"]
    assert [one["genes"] for one in groups] == [1, 2]
    assert groups[1]["rows"] < groups[0]["rows"] == found.hyper["n_fit"]


def test_values_that_were_not_measured_do_not_matter(study, features, partial):
    """The same fit as on a study that has these samples and genes alone."""
    partial(genes=("G0", "G3", "G9"))
    expected = study.expression()
    found = run_task(
        dataclasses.replace(TASK, genes=("G0", "G3", "G9", "G1")),
        *(study, features),
        **OPTIONS,
    )
    kept = expected[expected.obs["panel"] == "whole"].copy()
    del kept.varm["measured"]
    type(study).expression = lambda self: kept  # undone by the fixture's monkeypatch
    alone = run_task(TASK, study, features, **OPTIONS)
    rows = np.isin(found.unit, alone.unit)
    np.testing.assert_allclose(
        found.prediction[rows][:, :3], alone.prediction, rtol=1e-4, atol=1e-5
    )


def test_too_few_rows_are_named(study, features, partial):
    whole = study.expression()
    test = study.samples["sample_id"].iloc[study.fold_samples("cohort", "test")]
    keep = tuple(test[:3])
    samples = [one for one in whole.obs_names if one in set(test) - set(keep)]
    partial(genes=["G3"], suffixes=tuple(samples))
    found = run_task(TASK, study, features, **OPTIONS)
    assert found.hyper["measured_in_few_test_rows"] == ["G3"]
    assert found.hyper["constant_genes"] == 0
    assert np.isnan(found.truth[:, 1]).all() and np.isfinite(found.value)
    only = dataclasses.replace(TASK, genes=("G3",))
    with pytest.raises(EvalError, match="all 1 genes .* fewer than 10 test rows"):
        run_task(only, study, features, **OPTIONS)
    fit = study.samples["sample_id"].iloc[study.fold_samples("cohort", "fit")]
    partial(genes=["G3"], suffixes=tuple(fit[2:]))
    with pytest.raises(EvalError, match="1 genes, first G3, measured in .* too few"):
        run_task(TASK, study, features, **OPTIONS)
