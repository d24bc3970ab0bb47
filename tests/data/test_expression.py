"""The gene panel: fitted on train alone, matched by name, refused by difference."""

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.data.expression import (
    GenePanel,
    fit_panel,
    most_variable,
    require_same_genes,
    select,
)
from pathjax.data.study import StudyError

GENES = ["A", "B", "C", "D"]
IDS = [f"s{i}" for i in range(6)]


def make(values=None, **layers):
    random = np.random.default_rng(1)
    values = random.normal(0, [1, 3, 2, 0], (6, 4)) if values is None else values
    return anndata.AnnData(
        np.asarray(values, np.float32),
        obs=pd.DataFrame(index=IDS),
        var=pd.DataFrame(index=GENES),
        layers=layers,
    )


def test_most_variable_by_rank_on_train_only():
    expression = make()
    expression.X[5] = [1000, 0, 0, 1000]  # the test sample would change the choice
    assert most_variable(expression, IDS[:5], 2) == ("B", "C")
    with pytest.raises(StudyError, match="only 3 of 4 vary"):
        most_variable(expression, IDS[:5], 4)


def test_panel_statistics_are_those_of_train():
    expression = make()
    panel = fit_panel(expression, IDS[:4], ["C", "A"])
    train = expression[IDS[:4], ["C", "A"]].X.astype(np.float64)
    np.testing.assert_allclose(panel.mean, train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(panel.std, train.std(0), rtol=1e-6)
    z = panel.normalise(select(expression, IDS[:4], panel.genes))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-5)
    expression.X[4:] += 100
    again = fit_panel(expression, IDS[:4], ["C", "A"])
    np.testing.assert_array_equal(again.mean, panel.mean)


def test_panel_survives_json():
    panel = fit_panel(make(), IDS, 2)
    back = GenePanel.from_json(panel.to_json())
    assert back.genes == panel.genes and back.samples == 6
    np.testing.assert_array_equal(back.mean, panel.mean)
    np.testing.assert_array_equal(back.std, panel.std)


def test_select_keeps_the_order_asked_for():
    expression = make()
    got = select(expression, ["s3", "s1"], ["D", "A"])
    np.testing.assert_array_equal(got, expression.X[[3, 1]][:, [3, 0]])


def test_bad_input_is_named():
    expression = make()
    with pytest.raises(StudyError, match=r"lacks 1 of 2 genes, first \['Z'\]"):
        select(expression, IDS, ["A", "Z"])
    with pytest.raises(StudyError, match=r"have no expression, first \['patient9'\]"):
        select(expression, ["patient9"], ["A"])
    with pytest.raises(StudyError, match="no layer 'counts'"):
        select(expression, IDS, ["A"], layer="counts")
    expression.X[2, 1] = np.nan
    with pytest.raises(StudyError, match="first sample 's2', gene 'B'"):
        select(expression, IDS, GENES)
    with pytest.raises(StudyError, match="constant over the training"):
        fit_panel(make(), IDS, ["A", "D"])
    with pytest.raises(StudyError, match=r"more than once, first \['A'\]"):
        fit_panel(make(), IDS, ["A", "B", "A"])


def test_a_differing_gene_list_is_refused_with_what_differs():
    require_same_genes(["A", "B"], ["A", "B"], "run")
    with pytest.raises(StudyError, match=r"1 missing, first \['B'\]; 1 too many"):
        require_same_genes(["A", "B"], ["A", "C"], "run")
    with pytest.raises(StudyError, match="order differs from place 1 on"):
        require_same_genes(["A", "B", "C"], ["A", "C", "B"], "run")


def test_a_panel_keeps_its_unit_and_ids_and_undoes_its_scores():
    expression = make()
    expression.var["ensembl"] = ["ENSG1", "ENSG2", "", "ENSG4"]
    assert fit_panel(make(), IDS, ["A"]).unit == "log1p(counts per 10,000)"
    expression.uns["pathjax"] = {"x": "log2(TPM + 1)"}
    panel = fit_panel(expression, IDS, ["C", "A"])
    again = GenePanel.from_json(panel.to_json())
    assert again.unit == "log2(TPM + 1)" and again.ids == {"ensembl": ("", "ENSG1")}
    values = select(expression, IDS, ["C", "A"])
    np.testing.assert_allclose(again.restore(again.normalise(values)), values, 1e-5)
