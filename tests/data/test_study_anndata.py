import pytest
from partial import withhold

from pathjax.data.measured import measured
from pathjax.data.study import Study, StudyError


def test_a_study_without_places(tiny_study):
    adata = tiny_study.to_anndata()
    samples = tiny_study.samples.set_index("sample_id").loc[adata.obs_names]
    assert list(adata.obs["patient_id"]) == list(samples["patient_id"])
    assert "spatial" not in adata.obsm and "spatial" not in adata.uns


def test_what_was_not_measured_stays_known(tiny_study, monkeypatch):
    expression = tiny_study.expression()
    ids, genes = list(expression.obs_names), list(expression.var_names)
    made = withhold(expression, ids[:2], genes[:3])
    monkeypatch.setattr(Study, "expression", lambda self: made.copy())
    known = measured(tiny_study.to_anndata(), ids, genes)
    assert not known[:2, :3].any() and known.sum() == known.size - 6


def test_a_study_without_expression(broken_copy):
    del broken_copy.meta["files"]["expression.h5ad"]
    with pytest.raises(StudyError, match=r"no expression.h5ad"):
        broken_copy.to_anndata()
