"""Gene ids: versions, copies on Y, shared symbols, the coding filter, gene maps."""

import numpy as np
import pytest
from tiny_rna import GENES, star_text

from pathjax.datasets.tcga.genes import read_gene_map, reconcile, repeats, stable_id
from pathjax.datasets.tcga.tables import TcgaError

IDS, SYMBOLS, TYPES = (list(column) for column in zip(*GENES, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENSG00000141510.18", ("ENSG00000141510", False)),
        ("ENSG00000141510", ("ENSG00000141510", False)),
        ("ENSG00000182378.15_PAR_Y", ("ENSG00000182378", True)),
        ("ENSGR0000182378.9", ("ENSG00000182378", True)),  # GENCODE before 25
        ("TP53", ("", False)),
        ("ENSMUSG00000059552", ("", False)),
    ],
)
def test_stable_id(text, expected):
    assert stable_id(text) == expected


def test_names_are_symbols_where_one_gene_has_it():
    genes = reconcile(IDS, SYMBOLS, TYPES)
    assert list(genes.var.index) == [
        "TP53",
        "PLCXD1",
        "ENSG00000002586",
        "ENSG00000002587",
        "GAPDH",
    ]
    assert list(genes.var["symbol"][2:4]) == ["TWIN", "TWIN"]
    assert genes.var["ensembl"]["TP53"] == "ENSG00000141510"
    assert genes.report == {
        "rows": 7,
        "added_par_y": 1,
        "not_protein_coding": 1,
        "kept": 5,
    }


def test_copies_on_y_are_added():
    values = np.array([[1, 2, 3, 4, 5, 6, 10], [0, 0, 0, 0, 9, 1, 0]])
    coding = reconcile(IDS, SYMBOLS, TYPES).gather(values)
    np.testing.assert_array_equal(coding, [[1, 12, 3, 4, 6], [0, 0, 0, 0, 1]])
    every = reconcile(IDS, SYMBOLS, TYPES, keep_all=True).gather(values)
    np.testing.assert_array_equal(every, [[1, 12, 3, 4, 5, 6], [0, 0, 0, 0, 9, 1]])


def test_a_symbol_shared_with_a_dropped_gene_is_kept():
    genes = reconcile(["ENSG00000000001", "ENSG00000000002"], ["A", "A"],
                      ["protein_coding", "lncRNA"])  # fmt: skip
    assert list(genes.var.index) == ["A"]


def test_rows_of_one_symbol_are_added_where_there_are_no_ids():
    genes = reconcile(["A", "B", "A", "?", "__no_feature", "N_unmapped", ""])
    assert list(genes.var.index) == ["A", "B"]
    np.testing.assert_array_equal(genes.gather(np.arange(1, 8)), [4, 2])
    assert genes.report["added_repeated"] == 1 and genes.report["no_gene"] == 4


def test_rows_that_repeat_a_gene():
    ids = ["A", "B", "A", "A", "B", "ENSG00000182378.15", "ENSG00000182378.15_PAR_Y"]
    ids += ["A", "?", "?"]
    values = np.array(
        [[1.0, 2, 5, 1, 2, 7, 7, 5, 0, 0], [3, np.nan, 5, 3, np.nan, *[4] * 5]]
    )
    values[1, 7] = 5
    # On Y the copy of another chromosome, which `reconcile` adds.
    assert repeats(ids, values) == ([3, 4, 7], ["A"])


def test_no_gene_left():
    with pytest.raises(TcgaError, match="none of 2 rows is a gene"):
        reconcile(["?", ""])
    with pytest.raises(TcgaError, match="none of 1 rows"):
        reconcile(["ENSG00000000002"], ["A"], ["lncRNA"])


def test_gene_maps(tmp_path):
    star = tmp_path / "a.tsv"
    star.write_text(star_text(0))
    by_star = read_gene_map(star)
    assert by_star["ENSG00000141510"] == ("TP53", "protein_coding")
    probes = tmp_path / "probemap"
    probes.write_text("#id\tgene\tchrom\nENSG00000141510.9\tTP53\tchr17\n")
    assert read_gene_map(probes) == {"ENSG00000141510": ("TP53", "")}
    genes = reconcile(IDS, gene_map=by_star)
    assert list(genes.var.index) == list(reconcile(IDS, SYMBOLS, TYPES).var.index)
    without = reconcile(IDS)
    assert list(without.var.index) == list(without.var["ensembl"])
    assert len(without.var) == 6  # no type is known, so nothing is filtered


@pytest.mark.parametrize(
    ("text", "reason"),
    [("gene\tx\n", "got gene, x"), ("id\tgene\nA\tB\n", "no Ensembl")],
)
def test_invalid_gene_maps(tmp_path, text, reason):
    path = tmp_path / "map.tsv"
    path.write_text(text)
    with pytest.raises(TcgaError, match=reason):
        read_gene_map(path)
