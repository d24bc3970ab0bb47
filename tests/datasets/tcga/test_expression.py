"""Expression of patients: which rows enter, and how."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from pathjax.datasets.tcga.expression import of_patients

ALIQUOTS = {"P2": ("d",), "P1": ("c", "a", "b")}


def rna(sparse=False):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    counts = (values * 10).astype(np.int32)
    kind = scipy.sparse.csr_matrix if sparse else np.asarray
    return anndata.AnnData(
        X=kind(values),
        obs=pd.DataFrame({"sample_type": ["01", "01", "01", "06"]}, index=list("abcd")),
        var=pd.DataFrame(index=["G1", "G2", "G3"]),
        layers={"counts": kind(counts)},
        uns={"pathjax": {"x": "log2(TPM+1)"}},
    )


def dense(values):
    return values.toarray() if scipy.sparse.issparse(values) else np.asarray(values)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_first_aliquot(sparse):
    found = of_patients(rna(sparse), ALIQUOTS)
    assert list(found.obs_names) == ["P2", "P1"]
    np.testing.assert_array_equal(dense(found.X), [[9, 10, 11], [6, 7, 8]])
    np.testing.assert_array_equal(dense(found.layers["counts"])[1], [60, 70, 80])
    assert list(found.obs["aliquots"]) == ["d", "c"]
    assert list(found.obs["sample_type"]) == ["06", "01"]
    assert found.uns["pathjax"] == {"x": "log2(TPM+1)", "aliquots": "first"}


@pytest.mark.parametrize("sparse", [False, True])
def test_the_mean_of_aliquots(sparse):
    found = of_patients(rna(sparse), ALIQUOTS, "mean")
    np.testing.assert_array_equal(dense(found.X), [[9, 10, 11], [3, 4, 5]])
    counts = dense(found.layers["counts"])
    np.testing.assert_array_equal(counts, [[90, 100, 110], [90, 120, 150]])
    assert list(found.obs["aliquots"]) == ["d", "c, a, b"]


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="expected one of first, mean"):
        of_patients(rna(), ALIQUOTS, "median")
