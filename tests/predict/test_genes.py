"""Genes are asked for by name, refused with the nearest, and told how good they are."""

import numpy as np
import pytest

from pathjax.data.expression import GenePanel
from pathjax.predict import PredictError
from pathjax.predict.genes import (
    GOOD,
    POOR,
    UNKNOWN,
    Validation,
    chosen,
    gene_table,
    read_validation,
)

ONES = np.ones(3, np.float32)
PANEL = GenePanel(
    ("ERBB2", "ESR1", "ENSG3"),
    2 * ONES,
    ONES,
    9,
    ids={"ensembl": ("ENSG1", "", "ENSG3"), "symbol": ("ERBB2", "ESR1", "PGR")},
)


def test_by_name_by_file_and_by_other_names(tmp_path):
    assert chosen(PANEL, None) == [0, 1, 2]
    assert chosen(PANEL, "ESR1, ERBB2,ESR1") == [1, 0]
    assert chosen(PANEL, "PGR,ENSG1") == [2, 0]
    (tmp_path / "genes.txt").write_text("ENSG3\n\nERBB2\n")
    assert chosen(PANEL, str(tmp_path / "genes.txt")) == [2, 0]


def test_unknown_genes_are_refused_all_at_once_with_the_nearest():
    with pytest.raises(PredictError) as error:
        chosen(PANEL, "ERBB3,ESR1,esr2")
    assert "2 of 3 genes" in str(error.value)
    assert "ERBB3 (did you mean 'ERBB2'" in str(error.value)
    assert "esr2 (did you mean 'ESR1'" in str(error.value)
    with pytest.raises(PredictError, match="names no gene"):
        chosen(PANEL, " , ")


def test_the_table_says_how_far_each_gene_can_be_trusted(tmp_path):
    path = tmp_path / "genes.csv"
    path.write_text(
        "gene,slide,n,r\nERBB2,a,10,0.5\nERBB2,b,20,0.3\nESR1,a,10,0.1\nENSG3,a,10,\n"
    )
    known = read_validation(path)
    assert known.r == {"ERBB2": pytest.approx(0.4), "ESR1": 0.1}
    assert known.n == {"ERBB2": 30, "ESR1": 10}
    table = gene_table(PANEL, [2, 1, 0], known)
    assert table["trust"].tolist() == [UNKNOWN, POOR, GOOD]
    assert table["symbol"].tolist() == ["PGR", "ESR1", "ERBB2"]
    assert table["ensembl"].tolist() == ["ENSG3", "", "ENSG1"]
    assert table["train_mean"].tolist() == [2, 2, 2]
    unknown = gene_table(PANEL, [0], Validation())
    assert unknown["trust"].tolist() == [UNKNOWN]


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "genes.csv"
    path.write_text("gene,r\nA,0.5\n")
    with pytest.raises(PredictError, match="expected columns gene, n and r"):
        read_validation(path)
    path.write_text("gene,n,r\nA,3,high\n")
    with pytest.raises(PredictError, match="numbers in n and r"):
        read_validation(path)
