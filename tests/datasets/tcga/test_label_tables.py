"""Tables of labels: kinds of file, keys, refusals, and a fuzz of all of it."""

import gzip
import random
import zipfile

import pandas as pd
import pytest

from pathjax.datasets.tcga.label_tables import Claim, read_table
from pathjax.datasets.tcga.tables import TcgaError

A, B = "TCGA-3C-AALI", "TCGA-3C-AALJ"


def written(folder, text, name="labels.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def said(path):
    return [(claim.patient, claim.label, claim.value) for claim in read_table(path)]


def test_a_users_own_table(tmp_path):
    text = (
        f"case_id,age,tp53,pam50\n{A},50,mutated,LumA\n{B},,wt,NA\n{A},50,mutated,LumA"
    )
    path = written(tmp_path, text)
    assert said(path) == [
        (A, "tp53", "mutated"),
        (A, "pam50", "LumA"),
        (B, "tp53", "wild type"),
    ]
    assert read_table(path)[0] == Claim(A, "tp53", "mutated", "labels.csv")


def test_samples_of_normal_tissue_say_nothing(tmp_path):
    text = f"sampleID\tPAM50Call_RNAseq\n{A}-11\tNormal\n{A}-01\tBasal\n"
    assert said(written(tmp_path, text, "x.tsv")) == [(A, "pam50", "Basal")]


def test_kinds_of_file(tmp_path):
    text = f"patient_id,cancer_type\n{A},BRCA\n".encode()
    expected = [(A, "cancer_type", "BRCA")]
    assert said(written(tmp_path, gzip.compress(text), "x.csv.gz")) == expected
    assert said(written(tmp_path, b"\xef\xbb\xbf" + text, "bom.csv")) == expected
    assert said(written(tmp_path, text.replace(b"\n", b"\r\n"), "dos.csv")) == expected
    assert said(written(tmp_path, b"# from a friend\n" + text, "x.csv")) == expected
    quoted = text.replace(b"patient_id", b'"patient_id"')
    assert said(written(tmp_path, quoted, "q.csv")) == expected
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inside.csv", text)
    assert said(tmp_path / "x.zip") == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no header"),
        ("\n\n", "no header"),
        ("patient_id,age\n", "no table of labels"),
        ("age,cancer_type\n", "no table of labels"),
        ("patient_id,cancer_type\n", "a header and no row"),
        ("patient_id,tp53,tp53\nTCGA-3C-AALI,1,1\n", "more than once"),
        (
            "patient_id,cancer_type\nTCGA-3C-AALI,BRCA,x,y\n",
            "4 fields where the header has 2",
        ),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path, text, match):
    with pytest.raises(TcgaError, match=match):
        read_table(written(tmp_path, text))


def test_all_bad_cells_are_named_at_once(tmp_path):
    path = written(tmp_path, f"case_id,tp53,lung\n{A},7,LUAD\nP1,1,\n{B},1,KIRC\n")
    with pytest.raises(TcgaError, match="3 things") as caught:
        read_table(path)
    message = str(caught.value)
    assert "line 2: tp53 '7' is not known, expected one of mutated" in message
    assert "line 3: 'P1': expected the TCGA barcode of one patient" in message
    assert "line 4: lung 'KIRC'" in message


def test_real_tables(real_data):
    """Oracle: pandas on the whole table, and counts of the published map."""
    folder = real_data / "tcga_slide_labels"
    types = pd.Series(
        {
            claim.patient: claim.value
            for claim in read_table(folder / "tcga_patient_to_cancer_type.csv")
            if claim.label == "cancer_type"
        }
    )
    counts = types.value_counts()
    assert len(types) == 11_129 and len(counts) == 33 and counts["CHOL"] == 45
    kidney = read_table(folder / "tcga_kidney_subset.csv.zip")
    counts = pd.Series([c.value for c in kidney if c.label == "kidney"]).value_counts()
    assert counts.to_dict() == {"KIRC": 492, "KIRP": 258, "KICH": 107}
    path = real_data / "tcga_bulk" / "tcga_luad_all_clean.csv.zip"
    table = pd.read_csv(path, usecols=["case_id", "TP53_mut"]).drop_duplicates()
    found = {c.patient: c.value for c in read_table(path) if c.label == "tp53"}
    expected = table.set_index("case_id")["TP53_mut"].map(
        {1: "mutated", 0: "wild type"}
    )
    assert found == expected.to_dict()


def test_whatever_a_table_holds_the_error_has_a_name(tmp_path):
    """300 mutated tables: read, or refused by name."""
    source = random.Random(0)
    whole = "case_id,oncotree_code,TP53_mut\n" + "".join(
        f"TCGA-3C-AA{i:02d},{code},{i % 2}\n"
        for i, code in enumerate(["IDC", "ILC", "CCRCC", "LUSC", "MDLC"] * 4)
    )
    refused = 0
    for _ in range(300):
        data = bytearray(whole.encode())
        for _ in range(source.randint(1, 6)):
            place = source.randrange(max(len(data), 1))
            kind = source.randrange(4)
            if kind == 0:
                data[place : place + 1] = bytes([source.randrange(256)])
            elif kind == 1:
                del data[place : place + source.randint(1, 40)]
            elif kind == 2:
                data[place:place] = source.choice([b",", b"\n", b'"', b"\t", b"\x00"])
            else:
                del data[place:]
        name = source.choice(["a.csv", "a.csv", "a.csv.gz", "a.zip"])
        kept = gzip.compress(data) if name.endswith(".gz") else bytes(data)
        if source.random() < 0.2:
            kept = kept[: len(kept) // 2]
        try:
            read_table(written(tmp_path, kept, name))
        except TcgaError:
            refused += 1
    assert 100 < refused < 300
