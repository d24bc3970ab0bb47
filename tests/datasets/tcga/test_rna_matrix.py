"""Xena matrices and PORPOISE tables: layout, columns, damage, the nine real tables."""

import gzip
import io
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from tiny_rna import barcodes, matrix_text, porpoise_text, star_text, tpm

from pathjax.datasets.tcga import tables
from pathjax.datasets.tcga.genes import read_gene_map
from pathjax.datasets.tcga.rna_matrix import read_matrix
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
    np.testing.assert_allclose(table.rna.X, np.log2(TPM + 1), atol=5.1e-5)
    assert (table.rna.X[TPM == 0] == 0).all()
    assert list(table.rna.var_names) == [one.split(".")[0] for one in IDS]
    assert list(table.rna.obs["sample"]) == barcodes(7)
    assert table.units == "log2-tpm-0.001" and set(table.rna.obs["project"]) == {""}


@pytest.mark.parametrize(
    "name", ["TCGA-LUAD.star_tpm.tsv.gz", "TCGA.LUAD.sampleMap%2FHiSeqV2"]
)
def test_the_file_name_gives_the_project(tmp_path, name):
    table = read_matrix(write(tmp_path / name, TEXT))
    assert set(table.rna.obs["project"]) == {"TCGA-LUAD"}


def test_columns_that_are_not_samples_are_skipped(tmp_path):
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
    np.testing.assert_allclose(table.rna.X, np.log2(TPM[kept] + 1), atol=5.1e-5)
    assert list(table.rna.obs["sample"][:3]) == [
        columns[0],
        columns[2],
        columns[4][:16],
    ]
    assert list(table.rna.obs["aliquot"]) == ["", "", columns[4], "", ""]


def test_header_as_r_writes_it_and_windows_line_ends(tmp_path):
    expected = read_matrix(write(tmp_path / "m.tsv", TEXT)).rna.X
    for text in (
        TEXT.removeprefix("sample\t"),
        TEXT.replace("\n", "\r\n"),
        TEXT + "\n\n",
        TEXT.replace("sample", '"sample"').replace(
            "TCGA-05-4000-01", '"TCGA-05-4000-01"'
        ),
    ):
        found = read_matrix(write(tmp_path / "m.tsv", text)).rna.X
        np.testing.assert_array_equal(found, expected)


def test_a_gene_map_gives_symbols_and_types(tmp_path):
    mapped = read_gene_map(write(tmp_path / "star.tsv", star_text(0)))
    ids = ["ENSG00000141510.11", "ENSG00000228630.1", *IDS[2:]]
    text = matrix_text(np.log2(TPM + 0.001), ids, barcodes(7))
    path = write(tmp_path / "m.tsv", text)
    table = read_matrix(path, gene_map=mapped)
    assert list(table.rna.var_names) == ["TP53"]
    # The sum that shows TPM is over all rows, not those that are kept.
    assert table.units == "log2-tpm-0.001" and table.genes["not_protein_coding"] == 59
    every = read_matrix(path, gene_map=mapped, keep_all=True)
    assert list(every.rna.var_names[:3]) == ["TP53", "HOTAIR", IDS[2].split(".")[0]]


BAD_MATRICES = {
    "empty": ("", "neither a tab-separated"),
    "header only": (TEXT.split("\n")[0], "got no rows"),
    "commas": (TEXT.replace("\t", ","), "neither a tab-separated"),
    "cut in a line": (TEXT[:-30], "cannot be read .*Expected 8 columns, got 5"),
    "ragged": (TEXT.replace("\t-9.9658", "", 2), "cannot be read"),
    "word": (TEXT.replace("-9.9658", "zero", 1), r"m\.tsv cannot be read .*zero"),
    "infinite": (TEXT.replace("-9.9658", "inf", 1), "has an infinite value"),
    "transposed": (
        matrix_text(np.log2(TPM.T + 0.001), barcodes(7), IDS),
        "samples as rows; transpose it",
    ),
    "others' samples": (TEXT.replace("TCGA-", "GTEX-"), "no column that is a TCGA"),
    "quote": (TEXT.replace("\t-9.9658", '\t"-9.9658', 1), r"m\.tsv cannot be read"),
}


@pytest.mark.parametrize("fault", BAD_MATRICES)
def test_damaged_matrices_are_refused(tmp_path, fault):
    text, reason = BAD_MATRICES[fault]
    with pytest.raises(TcgaError, match=reason):
        read_matrix(write(tmp_path / "m.tsv", text))


SCORED = [f"G{i}" for i in range(40)]
SCORES = np.round(np.random.default_rng(0).normal(size=(25, 40)), 4)
CASES = [f"TCGA-05-{4000 + i}" for i in range(25)]
# Rows 23 and 24 are second slides of the first two cases.
SCORES[23:], CASES[23:] = SCORES[:2], CASES[:2]
TABLE = porpoise_text(SCORES, SCORED, CASES)


def test_one_row_per_case(tmp_path):
    table = read_matrix(write(tmp_path / "tcga_luad_all.csv", TABLE))
    assert table.units == "z-score"
    np.testing.assert_array_equal(table.rna.X, SCORES[:23].astype(np.float32))
    assert list(table.rna.obs["sample"]) == [f"{case}-01" for case in CASES[:23]]
    assert set(table.rna.obs["site"]) == {"05"}  # the column says 5
    assert set(table.rna.obs["project"]) == {"TCGA-LUAD"} and table.skipped == []


def test_a_case_whose_rows_differ_is_skipped(tmp_path):
    values = SCORES.copy()
    values[23, 5] += 0.01
    text = porpoise_text(values, SCORED, CASES)
    table = read_matrix(write(tmp_path / "t.csv", text))
    assert table.skipped == [(CASES[0], "t.csv: its 2 rows differ in 1 genes")]
    assert CASES[0] not in set(table.rna.obs["case_id"]) and len(table.rna.X) == 22


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("TCGA-05-4003,TCGA", "case3,TCGA", "expected a TCGA barcode"),
        ("TCGA-05-4003,TCGA-05-4003", "TCGA-05-4003,TCGA-05-4999", "slides of others"),
        ("TCGA-05-4003-01Z-00-DX4", "TCGA-05-4003", "slides of the sample types none"),
        (
            "TCGA-05-4001-01Z-00-DX7",
            "TCGA-05-4001-06Z-00-DX7",
            "slides of the sample types 01, 06",
        ),
    ],
)
def test_an_invalid_case_is_skipped(tmp_path, old, new, reason):
    assert old in TABLE
    table = read_matrix(write(tmp_path / "t.csv", TABLE.replace(old, new)))
    [(_, why)] = table.skipped
    assert reason in why and len(table.rna.X) == 22


BAD_TABLES = {
    "no key": (TABLE.replace("case_id", "case"), "lacks case_id"),
    "no genes": (TABLE.replace("_rnaseq", ""), "neither a tab-separated matrix"),
    "no rows": (TABLE.split("\n")[0], "lacks rows"),
    "short row": (TABLE[:-60], "cannot be read .*columns"),
    "word": (
        TABLE.replace("5,", "x,", 3).replace(",5,", ",5,no,", 1),
        "cannot be read",
    ),
    "no case": (TABLE.replace("TCGA-", "x-"), "no case that can be used"),
    "twice": (TABLE.replace("G1_rnaseq", "G0_rnaseq"), "1 genes occur more than once"),
    "shifted": (porpoise_text(SCORES + 3, SCORED, CASES), "cannot determine"),
}


@pytest.mark.parametrize("fault", BAD_TABLES)
def test_damaged_tables_are_refused(tmp_path, fault):
    text, reason = BAD_TABLES[fault]
    with pytest.raises(TcgaError, match=reason):
        read_matrix(write(tmp_path / "t.csv", text))


# Counted with pandas on the published files: cases, genes.
REAL = {
    "blca": (371, 1554),
    "brca": (952, 1558),
    "coadread": (340, 1550),
    "gbmlgg": (567, 1544),
    "kirc": (345, 1556),
    "kirp": (252, 1557),
    "luad": (444, 1555),
    "lusc": (450, 1556),
    "stad": (349, 1558),
}


@pytest.mark.parametrize("cohort", REAL)
def test_real_cohorts(real_data, cohort):
    path = real_data / "tcga_bulk" / f"tcga_{cohort}_all_clean.csv.zip"
    table = read_matrix(path)
    assert table.rna.X.shape == REAL[cohort] and table.skipped == []
    assert table.units == "z-score" and np.isfinite(table.rna.X).all()
    with zipfile.ZipFile(path) as archive:
        data = archive.read(archive.namelist()[0])
    genes = ["TP53", "EGFR", "ERBB2"]
    expected = pd.read_csv(
        io.BytesIO(data), usecols=["case_id", *(f"{one}_rnaseq" for one in genes)]
    ).drop_duplicates()
    assert list(table.rna.obs["case_id"]) == list(expected["case_id"])
    np.testing.assert_allclose(
        table.rna.X[:, table.rna.var_names.get_indexer(genes)],
        expected[[f"{one}_rnaseq" for one in genes]],
        rtol=1e-6,
    )
    assert all(re.fullmatch(r"[A-Z0-9]{2}", site) for site in table.rna.obs["site"])
    assert set(table.rna.obs["project"]) == {f"TCGA-{cohort.upper()}"}
