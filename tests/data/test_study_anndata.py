import pytest

from pathjax.data.study import StudyError


def test_a_study_without_places(tiny_study):
    adata = tiny_study.to_anndata()
    samples = tiny_study.samples.set_index("sample_id").loc[adata.obs_names]
    assert list(adata.obs["patient_id"]) == list(samples["patient_id"])
    assert "spatial" not in adata.obsm and "spatial" not in adata.uns


def test_a_study_without_expression(broken_copy):
    del broken_copy.meta["files"]["expression.h5ad"]
    with pytest.raises(StudyError, match=r"no expression.h5ad"):
        broken_copy.to_anndata()
