"""Raw counts, other scales and spreadsheet dates are found in a study's expression."""

import re
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from pathjax.data.check import check_study, expression_problems
from pathjax.data.expression import UNIT
from pathjax.data.expression_check import (
    apparent_scale,
    plausibility_problems,
    scale_fault,
    spreadsheet_names,
)
from pathjax.data.normalisation import UNITS, normalised
from pathjax.data.study import Study

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.gamma(0.5, 20, (12, 300))).astype(np.float64)
SHARE = COUNTS / COUNTS.sum(axis=1, keepdims=True)
CP10K, TPM = SHARE * 1e4, SHARE * 1e6
SCORES = (np.log1p(CP10K) - np.log1p(CP10K).mean(axis=0)) / (
    np.log1p(CP10K).std(axis=0) + 1e-9
)
SCALES = {
    "raw counts": (COUNTS, "all values are whole"),
    "negative": (SCORES, "negative values"),
    "linear": (CP10K, "look like counts per 10,000"),
    "TPM": (TPM, "look like TPM"),
    "log of TPM": (np.log1p(TPM), "look like log1p of TPM"),
    "log2 of TPM": (np.log2(TPM + 1), r"look like log2\(x\+1\) of TPM"),
    "log twice": (np.log1p(np.log1p(CP10K)), "taken twice: .*log1p of log1p"),
    "log2 of counts": (np.log2(COUNTS + 1), "a sample sums to"),
}


def adata(values, scale=None, sparse=False, names=None, **layers):
    names = names or [f"G{i}" for i in range(values.shape[1])]
    values = np.asarray(values, np.float32)
    return anndata.AnnData(
        scipy.sparse.csr_matrix(values) if sparse else values,
        var=pd.DataFrame(index=names),
        layers=layers,
        uns={} if scale is None else {"pathjax": {"x": scale}},
    )


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", SCALES)
def test_other_scales_than_the_one_named(name, sparse):
    values, reason = SCALES[name]
    [problem] = plausibility_problems(adata(values, sparse=sparse))
    assert "expected log1p(counts per 10,000) in X" in problem
    assert re.search(reason, problem)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.log1p(CP10K), None),
        (np.log1p(CP10K)[:, :40], UNIT),  # some genes only
        (np.log2(TPM + 1), "log2(TPM+1)"),
        (np.log2(COUNTS * 7.3 + 1), "log2(norm_count+1)"),
        (SCORES, "z-scores, as read"),
        (COUNTS, "counts"),  # named by the user
        (np.zeros((3, 4)), None),
    ],
)
def test_plausible_expression(values, scale):
    assert plausibility_problems(adata(values, scale)) == []


def test_scales_of_tcga():
    assert "whole" in scale_fault(COUNTS, "log2(TPM+1)")
    assert "no value is negative" in scale_fault(TPM, "z-scores, as read")
    assert "not 1,000,000" in scale_fault(np.log2(TPM * 3 + 1), "log2(TPM+1)")
    assert (
        apparent_scale(np.log10(TPM + 1)) == "log10(x+1) of TPM or counts per million"
    )
    assert apparent_scale(np.log1p(CP10K)[:, :40]) is None


def test_counts_have_to_be_counts():
    good = np.log1p(CP10K)
    assert plausibility_problems(adata(good, counts=COUNTS)) == []
    for counts in (CP10K, -COUNTS):
        [problem] = plausibility_problems(adata(good, counts=counts))
        assert "negative or not whole" in problem


DATES = ["1-Mar", "01-Mar", "Sep-01", "1. Mrz", "2023-03-01", "2023-03-01 00:00:00"]
DATES += ["43891", "43891.0", "1/3/2023", "01.12.2020", "9-sep", "1-DEC-20", "2.31E+13"]
GENES = [
    "MARCH1",
    "MARC1",
    "SEPT9",
    "DEC1",
    "HLA-A",
    "TP53",
    "NKX2-1",
    "MT-CO1",
    "H1-2",
]
GENES += ["1060", "C1orf112", "RP11-34P13.7", "ENSG00000141510.18", "7SK", "AC09.1"]
GENES += ["2310009E13Rik", "Sept2", "Mar1", "Dec2", "5-HT1A", "A1BG-AS1", "U3"]


@pytest.mark.parametrize("name", DATES)
def test_names_that_a_spreadsheet_changed(name):
    assert spreadsheet_names([*GENES, name]) == [name]


def test_other_names():
    assert spreadsheet_names(GENES) == []
    assert spreadsheet_names(["43891", "672", "7157"]) == []  # Entrez ids


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: setattr(x, "X", x.layers["counts"].copy()), "all values are whole"),
        (lambda x: setattr(x, "var_names", ["1-Mar", *x.var_names[1:]]), "1 gene name"),
    ],
)
def test_a_study_is_refused_by_writer_and_check(tiny_study, tmp_path, change, reason):
    expression = tiny_study.expression()
    change(expression)
    assert reason in expression_problems(expression, tiny_study.samples)[0]
    shutil.copytree(tiny_study.root, tmp_path / "study")
    expression.write_h5ad(tmp_path / "study" / "expression.h5ad")
    problems = check_study(Study(tmp_path / "study")).problems
    assert any(reason in one for one in problems)


def normalised_study(name, change=lambda x, counts: None):
    random = np.random.default_rng(0)
    counts = random.poisson(3.0, (40, 30)).astype(np.float32)
    x = normalised(scipy.sparse.csr_matrix(counts), name).toarray()
    change(x, counts)
    return anndata.AnnData(
        x,
        obs=pd.DataFrame(index=[f"s{i}" for i in range(40)]),
        layers={"counts": counts},
        uns={"pathjax": {"x": UNITS[name]}},
    )


@pytest.mark.parametrize("name", UNITS)
def test_a_named_normalisation_passes(name):
    assert plausibility_problems(normalised_study(name)) == []


@pytest.mark.parametrize("name", UNITS)
def test_x_of_other_counts_is_found(name):
    def exchange(x, counts):
        x[[0, 1]] = x[[1, 0]]

    (problem,) = plausibility_problems(normalised_study(name, exchange))
    assert 'of layers["counts"] in 2 of 40' in problem and "first 's0'" in problem


@pytest.mark.parametrize(
    ("said", "is_", "message"),
    [
        ("log1p", "log1p_cp10k", "not whole"),
        ("log1p_cp10k_shared", "none", "all values are whole"),
        ("none", "log1p", "not whole"),
        ("log1p", "none", "all values are whole"),
    ],
)
def test_another_normalisation_than_the_stated_one_is_found(said, is_, message):
    made = normalised_study(is_)
    made.uns["pathjax"]["x"] = UNITS[said]
    assert message in plausibility_problems(made)[0]
