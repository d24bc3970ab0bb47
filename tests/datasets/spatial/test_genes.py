"""Samples joined gene by gene: ids, species, what was measured, and the scale."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from pathjax.data.check import expression_problems
from pathjax.data.measured import measured
from pathjax.data.study import StudyError
from pathjax.datasets.spatial.genes import SEEN_ONLY, join, species_of, stable_id
from pathjax.datasets.spatial.tenx import gene_table

TP53, EGFR, MYC = "ENSG00000141510", "ENSG00000146648", "ENSG00000136997"


def sample(counts, names, symbols=None, **uns):
    counts = np.atleast_2d(np.asarray(counts, np.float32))
    return anndata.AnnData(
        scipy.sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"AAAC-{i}" for i in range(len(counts))]),
        var=gene_table(names, symbols or names),
        uns=uns,
    )


def counts_of(expression):
    frame = pd.DataFrame(expression.layers["counts"].toarray(), expression.obs_names)
    return frame.set_axis(expression.var_names, axis=1)


def test_ids_lose_their_version():
    assert stable_id(f"{TP53}.18") == TP53 == stable_id(f"{TP53}.18_PAR_Y")
    assert stable_id("ENSGR0000182378.9") == "ENSG00000182378"
    assert stable_id("ENSMUSG00000051951.6") == "ENSMUSG00000051951"
    assert stable_id("TP53") == "" == stable_id("NegControlProbe_00042")


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_files_with_versions_and_files_of_symbols_join():
    with_ids = sample([[1, 2, 3]], [f"{TP53}.18", EGFR, MYC],
                      symbols=["TP53", "EGFR", "MYC"])  # fmt: skip
    symbols = sample([[5, 6, 7], [0, 1, 0]], ["EGFR", "TP53", "TP53"])
    made, notes = join({"a": with_ids, "b": symbols})
    assert list(made.var_names) == ["TP53", "EGFR"]
    assert list(made.var["ensembl"]) == [TP53, EGFR]
    assert list(made.obs_names) == ["a_AAAC-0", "b_AAAC-0", "b_AAAC-1"]
    # Repeated symbols without ids are one gene, whose counts are added.
    np.testing.assert_array_equal(counts_of(made), [[1, 2], [13, 5], [1, 0]])
    total = np.array([[3], [18], [1]])
    expected = np.log1p(counts_of(made).to_numpy() / total * 1e4)
    np.testing.assert_allclose(made.X.toarray(), expected, rtol=1e-5)
    ((what, reason),) = notes
    assert what == "1 of 3 genes" and "b has the fewest (2)" in reason
    assert not made.varm and made.uns["pathjax"]["x"] == "log1p(counts per 10,000)"


def test_genes_that_share_a_symbol_stay_apart():
    both = sample([[1, 2]], ["ENSG00000000001", "ENSG00000000002"],
                  symbols=["TWIN", "TWIN"])  # fmt: skip
    made, _ = join({"a": both})
    assert list(made.var_names) == ["ENSG00000000001", "ENSG00000000002"]
    made, notes = join({"a": both, "b": sample([[3, 4]], ["TWIN", "TP53"])}, "outer")
    assert list(made.var_names) == ["ENSG00000000001", "ENSG00000000002", "TP53"]
    assert "1 genes of b" in notes[0] and "several Ensembl ids" in notes[0][1]


def test_outer_keeps_all_genes_and_says_which_were_measured():
    visium = sample([[1, 2, 3], [4, 0, 6]], ["TP53", "EGFR", "MYC"])
    xenium = sample([[9, 8]], ["MYC", "KRT5"])
    more = sample([[7, 7, 7]], ["EGFR", "MYC", "TP53"])
    made, notes = join({"v": visium, "x": xenium, "w": more}, "outer")
    assert notes == [] and expression_problems_of(made) == []
    assert list(made.var_names) == ["TP53", "EGFR", "MYC", "KRT5"]
    # Samples of the same genes are one panel: two columns, not three.
    assert list(made.varm["measured"]) == ["v", "x"]
    assert list(made.obs["panel"]) == ["v", "v", "x", "v"]
    known = measured(made, made.obs_names, made.var_names)
    np.testing.assert_array_equal(known[2], [False, False, True, True])
    np.testing.assert_array_equal(known[[0, 1, 3]], [[True] * 3 + [False]] * 3)


def expression_problems_of(made):
    return expression_problems(made, pd.DataFrame({"sample_id": made.obs_names}))


def test_a_file_that_lists_seen_genes_only_measured_them_all():
    first = sample([[1, 2]], ["TP53", "EGFR"], **{SEEN_ONLY: True})
    second = sample([[3, 4]], ["EGFR", "MYC"], **{SEEN_ONLY: True})
    made, notes = join({"a": first, "b": second})
    assert list(made.var_names) == ["TP53", "EGFR", "MYC"] and notes == []
    np.testing.assert_array_equal(counts_of(made), [[1, 2, 0], [0, 3, 4]])


def test_a_panel_and_a_transcriptome_on_one_scale():
    visium = sample([[10, 30, 960], [0, 0, 5]], ["TP53", "EGFR", "MYC"])
    panel = sample([[1, 3]], ["TP53", "EGFR"])
    made, notes = join({"v": visium, "p": panel}, "outer", "log1p_cp10k_shared")
    # A spot with none of the shared genes has no value on that scale.
    assert list(made.obs_names) == ["v_AAAC-0", "p_AAAC-0"]
    assert notes[0][0] == "expression of 1 spots"
    x = np.expm1(made.X.toarray())
    np.testing.assert_allclose(x[:, :2], [[2500, 7500]] * 2, rtol=1e-4)
    assert x[0, 2] == pytest.approx(240_000, rel=1e-4)
    assert expression_problems_of(made) == []


def test_species_are_kept_apart():
    human, mouse = sample([[1]], [TP53]), sample([[1]], ["ENSMUSG00000059552"])
    with pytest.raises(StudyError, match=r"2 species \(human: h; mouse: m\)"):
        join({"h": human, "m": mouse}, "outer")
    with pytest.raises(StudyError, match="m is Human by its metadata and mouse"):
        join({"m": mouse}, organisms={"m": "Human"})
    mixed = sample([[1, 1, 1]], [TP53, EGFR, "ENSMUSG00000059552"])
    with pytest.raises(StudyError, match="two species, 2 human and 1 mouse"):
        join({"x": mixed})
    symbols = ["TP53", "EGFR", "MYC", "KRAS", "ERBB2", "ESR1", "PGR", "CD3E", "CD8A",
               "C1orf112", "ACTB"]  # fmt: skip
    by_case = sample([[1] * 11], [name.capitalize() for name in symbols])
    assert species_of(by_case.var, "x") == "mouse"
    assert species_of(gene_table(symbols, symbols), "x") == "human"
    assert species_of(gene_table(*[["TP53", "Actb"]] * 2), "x") is None
    with pytest.raises(StudyError, match="build a study for each"):
        join({"h": sample([[1] * 11], symbols), "m": by_case})


def test_what_cannot_be_joined():
    a, b = sample([[1]], ["TP53"]), sample([[1]], [EGFR])
    with pytest.raises(StudyError, match=r"no gene is in all samples \(a 1, b 1 genes"):
        join({"a": a, "b": b})
    with pytest.raises(StudyError, match="expected inner or outer, got 'left'"):
        join({"a": a}, "left")
    with pytest.raises(StudyError, match="unknown normalisation 'log1p_cpm'; did you"):
        join({"a": a}, normalise="log1p_cpm")
    with pytest.raises(StudyError, match="no gene was measured in all samples"):
        join({"a": a, "b": b}, "outer", "log1p_cp10k_shared")
