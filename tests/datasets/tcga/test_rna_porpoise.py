"""Tables of z-scores per slide become a row per case; the nine real ones too."""

import io
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from tiny_rna import porpoise_text

from pathjax.datasets.tcga.rna_porpoise import has_expression, read_cases
from pathjax.datasets.tcga.tables import TcgaError

GENES = [f"G{i}" for i in range(40)]
VALUES = np.round(np.random.default_rng(0).normal(size=(25, 40)), 4)
CASES = [f"TCGA-05-{4000 + i}" for i in range(25)]
# Rows 23 and 24 are second slides of the first two cases.
VALUES[23:], CASES[23:] = VALUES[:2], CASES[:2]
TEXT = porpoise_text(VALUES, GENES, CASES)


def write(path, text):
    path.write_text(text)
    return path


def test_one_row_per_case(tmp_path):
    table = read_cases(write(tmp_path / "tcga_luad_all.csv", TEXT))
    assert table.units == "z-score" and table.x_units == "z-scores, as read"
    np.testing.assert_array_equal(table.x, VALUES[:23].astype(np.float32))
    assert list(table.obs["sample"]) == [f"{case}-01" for case in CASES[:23]]
    assert set(table.obs["site"]) == {"05"}  # the column says 5
    assert set(table.obs["project"]) == {"TCGA-LUAD"} and table.skipped == []


def test_a_case_whose_rows_differ_is_left_out(tmp_path):
    values = VALUES.copy()
    values[23, 5] += 0.01
    text = porpoise_text(values, GENES, CASES)
    table = read_cases(write(tmp_path / "t.csv", text))
    assert table.skipped == [(CASES[0], "t.csv: its 2 rows differ in 1 genes")]
    assert CASES[0] not in set(table.obs["case_id"]) and len(table.x) == 22


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
def test_a_bad_case_costs_itself(tmp_path, old, new, reason):
    assert old in TEXT
    table = read_cases(write(tmp_path / "t.csv", TEXT.replace(old, new)))
    [(_, why)] = table.skipped
    assert reason in why and len(table.x) == 22


BAD = {
    "no key": (TEXT.replace("case_id", "case"), "lacks case_id"),
    "no genes": (TEXT.replace("_rnaseq", ""), "lacks rows or <GENE>_rnaseq"),
    "no rows": (TEXT.split("\n")[0], "lacks rows"),
    "short row": (TEXT[:-60], "is damaged: .*columns"),
    "word": (TEXT.replace("5,", "x,", 3).replace(",5,", ",5,no,", 1), "is damaged"),
    "no case": (TEXT.replace("TCGA-", "x-"), "no case that can be used"),
    "twice": (TEXT.replace("G1_rnaseq", "G0_rnaseq"), "1 genes occur more than once"),
    "shifted": (porpoise_text(VALUES + 3, GENES, CASES), "cannot be told"),
}


@pytest.mark.parametrize("fault", BAD)
def test_damaged_tables_are_refused(tmp_path, fault):
    text, reason = BAD[fault]
    with pytest.raises(TcgaError, match=reason):
        read_cases(write(tmp_path / "t.csv", text))


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
    table = read_cases(path)
    assert table.x.shape == REAL[cohort] and table.skipped == []
    assert table.units == "z-score" and np.isfinite(table.x).all()
    with zipfile.ZipFile(path) as archive:
        data = archive.read(archive.namelist()[0])
    genes = ["TP53", "EGFR", "ERBB2"]
    expected = pd.read_csv(
        io.BytesIO(data), usecols=["case_id", *(f"{one}_rnaseq" for one in genes)]
    ).drop_duplicates()
    assert list(table.obs["case_id"]) == list(expected["case_id"])
    np.testing.assert_allclose(
        table.x[:, table.var.index.get_indexer(genes)],
        expected[[f"{one}_rnaseq" for one in genes]],
        rtol=1e-6,
    )
    assert all(re.fullmatch(r"[A-Z0-9]{2}", site) for site in table.obs["site"])
    assert set(table.obs["project"]) == {f"TCGA-{cohort.upper()}"}


def test_header_is_told():
    assert has_expression(["case_id", "TP53_rnaseq"])
    assert not has_expression(["case_id", "TP53_mut"])
