"""Matrices of genes by samples: layout, columns, damage."""

import gzip

import numpy as np
import pytest
from tiny_rna import barcodes, matrix_text, star_text, tpm

from pathjax.datasets.tcga import tables
from pathjax.datasets.tcga.genes import read_gene_map
from pathjax.datasets.tcga.rna_xena import read_matrix
from pathjax.datasets.tcga.tables import TcgaError

TPM = tpm(7, 60)
IDS = [f"ENSG{i:011d}.4" for i in range(60)]
TEXT = matrix_text(np.log2(TPM + 0.001), IDS, barcodes(7))


def write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("block", [300, 1 << 20])  # some lines, all
def test_toil(tmp_path, block, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_BYTES", block)
    table = read_matrix(write(tmp_path / "tcga_RSEM_gene_tpm.gz", TEXT))
    np.testing.assert_allclose(table.x, np.log2(TPM + 1), atol=5.1e-5)
    assert (table.x[TPM == 0] == 0).all()
    assert list(table.var.index) == [one.split(".")[0] for one in IDS]
    assert list(table.obs["sample"]) == barcodes(7)
    assert table.units == "log2-tpm-0.001" and set(table.obs["project"]) == {""}


@pytest.mark.parametrize(
    "name", ["TCGA-LUAD.star_tpm.tsv.gz", "TCGA.LUAD.sampleMap%2FHiSeqV2"]
)
def test_project_is_in_the_name(tmp_path, name):
    table = read_matrix(write(tmp_path / name, TEXT))
    assert set(table.obs["project"]) == {"TCGA-LUAD"}


def test_columns_that_are_no_samples_are_left_out(tmp_path):
    columns = barcodes(7)
    columns[1] = "GTEX-S4Q7-0003-SM-3NM8M"
    columns[3] = "TCGA-05-4003"
    columns[4] = "TCGA-05-4004-01A-01R-1107-07"
    text = matrix_text(np.log2(TPM + 0.001), IDS, columns)
    table = read_matrix(write(tmp_path / "m.tsv", text))
    assert table.skipped == [
        (columns[1], "m.tsv: no TCGA barcode"),
        (columns[3], "m.tsv: no sample type in its barcode"),
    ]
    kept = [0, 2, 4, 5, 6]
    np.testing.assert_allclose(table.x, np.log2(TPM[kept] + 1), atol=5.1e-5)
    assert list(table.obs["sample"][:3]) == [columns[0], columns[2], columns[4][:16]]
    assert list(table.obs["aliquot"]) == ["", "", columns[4], "", ""]


def test_header_as_r_writes_it_and_windows_line_ends(tmp_path):
    expected = read_matrix(write(tmp_path / "m.tsv", TEXT)).x
    for text in (
        TEXT.removeprefix("sample\t"),
        TEXT.replace("\n", "\r\n"),
        TEXT + "\n\n",
        TEXT.replace("sample", '"sample"').replace(
            "TCGA-05-4000-01", '"TCGA-05-4000-01"'
        ),
    ):
        found = read_matrix(write(tmp_path / "m.tsv", text)).x
        np.testing.assert_array_equal(found, expected)


def test_gene_map_gives_symbols_and_the_coding_filter(tmp_path):
    mapped = read_gene_map(write(tmp_path / "star.tsv", star_text(0)))
    ids = ["ENSG00000141510.11", "ENSG00000228630.1", *IDS[2:]]
    text = matrix_text(np.log2(TPM + 0.001), ids, barcodes(7))
    path = write(tmp_path / "m.tsv", text)
    table = read_matrix(path, gene_map=mapped)
    assert list(table.var.index) == ["TP53"]
    # The sum that shows TPM is over all rows, not those that are kept.
    assert table.units == "log2-tpm-0.001" and table.genes["not_protein_coding"] == 59
    every = read_matrix(path, gene_map=mapped, keep_all=True)
    assert list(every.var.index[:3]) == ["TP53", "HOTAIR", IDS[2].split(".")[0]]


BAD = {
    "empty": ("", "1 columns and no rows"),
    "header only": (TEXT.split("\n")[0], "8 columns and no rows"),
    "commas": (TEXT.replace("\t", ","), "1 columns"),
    "cut in a line": (
        TEXT[:-30],
        "is damaged: .*Expected 8 columns, got 5",
    ),
    "ragged": (TEXT.replace("\t-9.9658", "", 2), "is damaged"),
    "word": (TEXT.replace("-9.9658", "zero", 1), r"m\.tsv is damaged: .*zero"),
    "infinite": (TEXT.replace("-9.9658", "inf", 1), "has an infinite value"),
    "turned": (
        matrix_text(np.log2(TPM.T + 0.001), barcodes(7), IDS),
        "samples as rows; transpose it",
    ),
    "others' samples": (TEXT.replace("TCGA-", "GTEX-"), "no column that is a TCGA"),
    "quote": (TEXT.replace("\t-9.9658", '\t"-9.9658', 1), r"m\.tsv is damaged"),
}


@pytest.mark.parametrize("fault", BAD)
def test_damaged_matrices_are_refused(tmp_path, fault):
    text, reason = BAD[fault]
    with pytest.raises(TcgaError, match=reason):
        read_matrix(write(tmp_path / "m.tsv", text))
