"""Measured beside predicted: r as NumPy has it, within a slide, by sample."""

import anndata
import numpy as np
import pandas as pd
import pytest
from partial import withhold

from pathjax.data.study import StudyError
from pathjax.predict.measured import (
    COLUMNS,
    Paired,
    by_sample,
    compare,
    extremes,
    pair,
    pearson,
)
from pathjax.predict.tiles import Input


def test_pearson_is_numpy_s():
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 2, (30, 3)), rng.normal(0, 1, (30, 3))
    b[:, 2] = 4.0
    got = pearson(a, b)
    for column in range(2):
        expected = np.corrcoef(a[:, column], b[:, column])[0, 1]
        assert got[column] == pytest.approx(expected)
    assert np.isnan(got[2])


def given(study, runs):
    """An input of stretches of (sample, slide, tiles)."""
    runs = pd.DataFrame(runs, columns=["sample_id", "slide_id", "tiles"])
    return Input(None, runs, None, study)


def test_samples_are_means_of_their_tiles(tmp_path):
    paired = Paired(
        np.array(["all"] * 2), np.array([-1, -1]), np.array([0, 1, -1, 0]), ["a", "b"]
    )
    path = tmp_path / "predicted.h5ad"
    anndata.AnnData(np.array([[1.0], [5], [99], [3]], np.float32)).write_h5ad(path)
    np.testing.assert_array_equal(by_sample(path, [0], paired), [[2.0], [5.0]])
    assert not paired.spots


def test_spots_go_by_slide_and_patients_together(tiny_study):
    runs = [("P01", "s", 1), ("X", "s", 1), ("P00", "t", 1)]
    spots = pair(given(tiny_study, runs))
    assert spots.spots and spots.samples == ["P01", "P00"]
    assert spots.group.tolist() == ["s", "t"] and spots.tile.tolist() == [0, 2]
    many = pair(given(tiny_study, [*runs[:2], ("P00", "t", 2)]))
    assert many.of.tolist() == [0, -1, 1, 1]
    assert not many.spots and set(many.group) == {"all"}
    with pytest.raises(StudyError, match="to compare with"):
        pair(given(tiny_study, runs[1:2]))


def test_the_best_and_the_worst_of_a_slide():
    r = [0.3, -0.2, np.nan, 0.9, 0.1]
    rows = [(f"G{i}", "s", 9, one, 1.0, 1.0, 1.0) for i, one in enumerate(r)]
    rows.append(("G9", "t", 9, 1.0, 1.0, 1.0, 1.0))
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert extremes(table, "s") == (["G3", "G0"], ["G1", "G4"])


def test_a_gene_is_compared_where_it_was_measured(tiny_study, tmp_path, monkeypatch):
    whole = tiny_study.expression()
    genes, ids = list(whole.var_names[:3]), list(whole.obs_names)
    partial = withhold(whole, ids[6:], genes[1:])
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: partial)
    values = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    path = tmp_path / "predicted.h5ad"
    anndata.AnnData(values, var=pd.DataFrame(index=genes)).write_h5ad(path)
    group = np.repeat(["s", "t"], 6).astype(object)
    paired = Paired(group, np.arange(12), np.arange(12), ids)
    table = compare(path, tiny_study, paired, genes)
    found = list(zip(table["gene"], table["slide"], table["n"], strict=True))
    assert found == [*((gene, "s", 6) for gene in genes), (genes[0], "t", 6)]
    expected = pearson(whole[ids[:6], genes].X, values[:6])
    np.testing.assert_allclose(table["r"][:3], expected, rtol=1e-5)
