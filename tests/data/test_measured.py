"""Genes that were not measured are no zeros: statistics, z-scores, what is refused."""

import re

import anndata
import numpy as np
import pandas as pd
import pytest
from partial import withhold

from pathjax.data.expression import fit_panel, most_variable, select
from pathjax.data.measured import (
    describe_panels,
    is_partial,
    measured,
    measured_problems,
    patterns,
    state,
)
from pathjax.data.samples import gather
from pathjax.data.study import StudyError

GENES = ["A", "B", "C", "D"]
IDS = [f"s{i:02d}" for i in range(24)]
PANEL = IDS[12:]  # samples without B and D


@pytest.fixture
def expression():
    random = np.random.default_rng(1)
    values = random.normal(5, [1, 3, 2, 4], (24, 4)).astype(np.float32)
    whole = anndata.AnnData(
        values, obs=pd.DataFrame(index=IDS), var=pd.DataFrame(index=GENES)
    )
    return withhold(whole, PANEL, ["B", "D"])


def test_what_was_measured_survives_a_file(expression, tmp_path):
    expression.write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert is_partial(back) and not is_partial(back, ["A", "C"])
    known = measured(back, ["s12", "s00"], ["B", "A"])
    np.testing.assert_array_equal(known, [[False, True], [True, True]])
    assert measured(back, IDS, ["C", "A"]) is None
    assert measured_problems(back) == []


def test_panels_are_described(expression):
    said = "  measured: 2 genes in 12 samples, 4 genes in 12 samples"
    assert list(describe_panels(expression)) == [said]
    assert not list(describe_panels(expression[IDS[:12]]))


def test_a_study_measured_whole_stores_nothing(expression):
    whole = anndata.AnnData(np.ones((2, 1), np.float32))
    known = pd.DataFrame({"one": [True]}, index=whole.var_names)
    state(whole, known, ["one", "one"])
    assert not whole.varm and not len(whole.obs.columns) and not is_partial(whole)


def test_genes_are_grouped_by_the_rows_that_have_them():
    known = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 1, 1]], bool)
    found = [(rows.tolist(), genes.tolist()) for rows, genes in patterns(known)]
    assert found == [
        ([True, True, True], [0, 2]),
        ([False, True, False], [1]),
        ([False, True, True], [3]),
    ]


def test_statistics_are_over_the_samples_that_have_a_gene(expression):
    panel = fit_panel(expression, IDS[4:20], ["D", "A", "B"])
    values = expression.to_df().loc[IDS[4:20]]
    values.loc[values.index.isin(PANEL), ["B", "D"]] = np.nan
    np.testing.assert_allclose(panel.mean, values[["D", "A", "B"]].mean(), rtol=1e-6)
    std = values[["D", "A", "B"]].std(ddof=0)
    np.testing.assert_allclose(panel.std, std, rtol=1e-5)
    scores, known = panel.scores(expression, IDS)
    assert not scores[~known].any() and (~known).sum() == 24
    np.testing.assert_allclose(scores[4:12, 0].mean(), 0, atol=1e-6)


def test_variable_genes_are_chosen_where_they_were_measured(expression):
    # Zeros beside values near 5 would make B and D the most variable.
    expression.X[:12, 1] = 5 + np.linspace(-0.1, 0.1, 12)
    assert most_variable(expression, IDS, 3) == ("D", "C", "A")
    # Ten samples have B and D; nine are too few.
    with pytest.raises(StudyError, match="only 2 of 4 vary"):
        most_variable(expression, IDS[3:], 3)


def test_values_that_were_not_measured_are_refused_or_marked(expression):
    with pytest.raises(StudyError, match="2 of 4 genes were not .* 'B' in 's12'"):
        select(expression, IDS, GENES)
    assert np.isfinite(select(expression, IDS, ["A", "C"])).all()
    marked = select(expression, IDS, GENES, unmeasured=np.nan)
    np.testing.assert_array_equal(np.isnan(marked), ~measured(expression, IDS, GENES))
    with pytest.raises(StudyError, match=r"constant over .* or not measured.*'B'"):
        fit_panel(expression, PANEL, ["A", "B"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.X.__setitem__((20, 3), 1), "1 values other than 0 .* panel panel"),
        (lambda x: x.obs.pop("panel"), "needs the panel"),
        (lambda x: x.varm["measured"].pop("panel"), "no column"),
        (
            lambda x: x.varm.update(measured=x.varm["measured"].assign(whole=1)),
            "booleans",
        ),
        (
            lambda x: x.varm.update(measured=x.varm["measured"].assign(whole=False)),
            "2 genes were measured in no sample",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_named(expression, spoil, message):
    spoil(expression)
    (problem, *_) = measured_problems(expression)
    assert re.search(message, problem)


def test_a_fold_says_which_genes_its_samples_have(tiny_study, monkeypatch):
    whole = tiny_study.expression()
    genes, absent = list(whole.var_names[:4]), list(whole.var_names[1:4])
    partial = withhold(whole, ["P01", "P08"], absent)
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: partial)
    train = list(tiny_study.samples["sample_id"][:8])
    panel = fit_panel(partial, train, genes)
    found = gather(tiny_study, "main", "train", panel=panel, counts=True)
    assert (~found.measured).sum() == 3 and not found.measured[1, 1:].any()
    assert not found.expression[~found.measured].any()
    assert not found.counts[~found.measured].any()
    complete = fit_panel(partial, train, [genes[0], "G009"])
    assert gather(tiny_study, "main", "train", panel=complete).measured is None
    none = fit_panel(partial, train, absent)
    with pytest.raises(StudyError, match=r"none of the 3 .* 1 of 8 .*'P01'.*unpaired"):
        gather(tiny_study, "main", "train", panel=none)
    left = gather(tiny_study, "main", "train", panel=none, drop_unpaired=True)
    assert len(left) == 7 and left.measured.all()
