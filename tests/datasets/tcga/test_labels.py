"""Labels: tables of several formats, joining, conflicts, errors, real tables."""

import gzip
import zipfile

import pandas as pd
import pytest

from pathjax.datasets.tcga.labels import join, read_labels, read_table, targets_of
from pathjax.datasets.tcga.maf import CLAIM
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.datasets.tcga.vocabulary import CLASSES, classes_of

A, B = "TCGA-3C-AALI", "TCGA-3C-AALJ"


def written(folder, text, name="labels.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def claims(rows):
    return pd.DataFrame(rows, columns=list(CLAIM), dtype=object)


def values(path):
    return [row[:3] for row in read_table(path).to_numpy().tolist()]


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("cancer_type", "TCGA-BRCA", {"cancer_type": "BRCA"}),
        ("cancer_type", "kich", {"cancer_type": "KICH", "kidney": "KICH"}),
        ("cancer_type", "LUSC", {"cancer_type": "LUSC", "lung": "LUSC"}),
        ("oncotree", "CCRCC", {"cancer_type": "KIRC", "kidney": "KIRC"}),
        ("oncotree", "ILC", {"cancer_type": "BRCA", "breast": "ILC"}),
        ("oncotree", "MDLC", {"cancer_type": "BRCA"}),
        ("oncotree", "LUAD", {"cancer_type": "LUAD", "lung": "LUAD"}),
        ("oncotree", "MACR", {}),
        ("oncotree", "HGSOC", {}),  # of a study, but not in our table
        ("tp53", "1.0", {"tp53": "mutated"}),
        ("tp53", "WT", {"tp53": "wild type"}),
        ("age", "63.0", {"age": "63"}),
        ("age", "23011", None),  # days
        ("age", "old", None),
        ("stage", "Stage IIIA", {"stage": "3"}),
        ("stage", "iv", {"stage": "4"}),
        ("stage", "Stage X", None),
        ("pam50", "BRCA_LumA", {"pam50": "LumA"}),
        ("pam50", "BRCA.Normal", {"pam50": "Normal"}),
        ("pam50", "HER2-enriched", {"pam50": "Her2"}),
        ("pam50", "Luminal B", {"pam50": "LumB"}),
        ("breast", "idc", {"breast": "IDC"}),
        ("cancer_type", "COADREAD", None),  # ambiguous
        ("oncotree", "LUNG?", None),
        ("tp53", "2", None),
        ("tp53", "0.5", None),
        ("pam50", "Claudin-low", None),
        ("breast", "mixed", None),
        ("kidney", "LUAD", None),
    ],
)
def test_classes_of_words(label, text, expected):
    assert classes_of(label, text) == expected


def test_every_class_is_read_as_itself():
    for label, classes in CLASSES.items():
        for name in classes:
            assert classes_of(label, name)[label] == name


def test_table(tmp_path):
    text = (
        f"case_id,age,tp53,pam50\n{A},50,mutated,LumA\n{B},,wt,NA\n{A},50,mutated,LumA"
    )
    path = written(tmp_path, text)
    assert values(path) == [
        [A, "tp53", "mutated"],
        [A, "pam50", "LumA"],
        [A, "age", "50"],
        [B, "tp53", "wild type"],
    ]
    first = read_table(path).to_numpy().tolist()[0]
    assert first == [A, "tp53", "mutated", "labels.csv"]


def test_rows_of_normal_tissue_are_ignored(tmp_path):
    text = f"sampleID\tPAM50Call_RNAseq\n{A}-11\tNormal\n{A}-01\tBasal\n"
    assert values(written(tmp_path, text, "x.tsv")) == [[A, "pam50", "Basal"]]


def test_file_formats(tmp_path):
    text = f"patient_id,cancer_type\n{A},BRCA\n".encode()
    expected = [[A, "cancer_type", "BRCA"]]
    for name, data in {
        "x.csv.gz": gzip.compress(text),
        "bom.csv": b"\xef\xbb\xbf" + text,
        "dos.csv": text.replace(b"\n", b"\r\n"),
        "comment.csv": b"# from a friend\n" + text,
        "semicolon.csv": text.replace(b",", b";"),
        "capitals.csv": text.replace(b"patient_id,cancer_type", b"Case ID,Cancer_Type"),
        "utf16.csv": text.decode().encode("utf-16"),
        "quoted.csv": text.replace(b"patient_id", b'"patient_id"'),
    }.items():
        assert values(written(tmp_path, data, name)) == expected, name
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inside.csv", text)
    assert values(tmp_path / "x.zip") == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no header"),
        ("\n\n", "no header"),
        ("patient_id,age\n", "not a table of labels"),
        ("age,cancer_type\n", "not a table of labels"),
        ("patient_id,cancer_type\n", "a header and no rows"),
        ("patient_id,tp53,tp53\nTCGA-3C-AALI,1,1\n", "several columns for tp53"),
        ("patient_id,tp53\nTCGA-3C-AALI,1,x,y\n", "4 cells for 2 columns"),
        (b"\x00\x01\x02\x03", "not a table of labels|cannot be read"),
    ],
)
def test_invalid_tables(tmp_path, text, match):
    with pytest.raises(TcgaError, match=match):
        read_table(written(tmp_path, text))


def test_all_bad_cells_are_listed(tmp_path):
    path = written(tmp_path, f"case_id,tp53,lung\n{A},7,LUAD\nP1,1,\n{B},1,KIRC\n")
    with pytest.raises(TcgaError, match="3 bad rows or cells") as caught:
        read_table(path)
    message = str(caught.value)
    assert "line 2: tp53: expected one of mutated, wild type; got '7'" in message
    assert "line 3: 'P1': expected the TCGA barcode of one patient" in message
    assert "line 4: lung: expected one of LUAD, LUSC; got 'KIRC'" in message


def test_bad_rows_are_left_out_and_listed(tmp_path):
    rows = "".join(f"TCGA-3C-AA{i:02d},{i % 2},\n" for i in range(20))
    path = written(tmp_path, f"Patient ID,TP53_Mut,TP53 status\n{rows}P7,1,\n{A},9,\n")
    labels = read_labels([path])
    assert len(labels.table) == 20 and labels.patients["labels.csv"] == set(
        labels.table.index
    )
    what = [what for what, _ in labels.unused]
    assert what == [
        "line 22 of labels.csv",
        "line 23 of labels.csv",
        "column TP53 status of labels.csv",
    ]
    assert "expected the TCGA barcode" in labels.unused[0][1]
    assert "got '9'" in labels.unused[1][1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators(tmp_path, encoding, separator):
    text = f"CASE_ID;Note;Cancer-Type\r\n{A};Hôpital;TCGA-BRCA\r\n"
    path = written(tmp_path, text.replace(";", separator).encode(encoding))
    assert values(path) == [[A, "cancer_type", "BRCA"]]


def said(path, label):
    """What a table says of a label, by patient."""
    found = read_table(path)
    return found[found["label"] == label].set_index("patient")["value"]


def test_real_tables(real_data):
    """Compares with pandas, and with counts of the published map."""
    folder = real_data / "tcga_slide_labels"
    types = said(folder / "tcga_patient_to_cancer_type.csv", "cancer_type")
    counts = types.value_counts()
    assert len(types) == 11_129 and len(counts) == 33 and counts["CHOL"] == 45
    counts = said(folder / "tcga_kidney_subset.csv.zip", "kidney").value_counts()
    assert counts.to_dict() == {"KIRC": 492, "KIRP": 258, "KICH": 107}
    path = real_data / "tcga_bulk" / "tcga_luad_all_clean.csv.zip"
    table = pd.read_csv(path, usecols=["case_id", "TP53_mut"]).drop_duplicates()
    found = said(path, "tp53").to_dict()
    expected = table.set_index("case_id")["TP53_mut"].map(
        {1: "mutated", 0: "wild type"}
    )
    assert found == expected.to_dict()


def test_join():
    labels = join(
        claims(
            [
                (B, "lung", "LUAD", "y.csv"),
                (A, "tp53", "mutated", "x.csv"),
                (A, "tp53", "mutated", "y.csv"),
                (A, "tp53", "mutated", "y.csv"),
                (B, "tp53", "mutated", "x.csv"),
                (B, "tp53", "wild type", "m.maf (TCGA-3C-AALJ-01)"),
            ]
        )
    )
    table = labels.table
    assert list(table.index) == [A, B]
    assert table.loc[A, "tp53"] == "mutated"
    assert table.loc[A, "tp53_source"] == "x.csv; y.csv"
    assert table.loc[B, "tp53"] is None and table.loc[B, "tp53_source"] is None
    assert table.loc[B, "lung"] == "LUAD" and table.loc[A, "lung"] is None
    assert labels.conflicts.to_dict("list") == {
        "patient": [B, B],
        "label": ["tp53", "tp53"],
        "value": ["wild type", "mutated"],
        "source": ["m.maf (TCGA-3C-AALJ-01)", "x.csv"],
    }
    empty = join(claims([]))
    assert len(empty.table) == len(empty.conflicts) == 0
    assert set(CLASSES) < set(empty.table)


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder, status in (("one", 1), ("two", 0)):
        (tmp_path / folder).mkdir()
        text = f"patient_id,tp53,tp53_old\n{A},{status},1\n"
        written(tmp_path / folder, text)
    found = read_labels([tmp_path / "one/labels.csv", tmp_path / "two/labels.csv"])
    assert set(found.conflicts["source"]) == {"one/labels.csv", "two/labels.csv"}
    assert list(found.patients) == ["one/labels.csv", "two/labels.csv"]
    assert {what for what, _ in found.unused} == {
        "column tp53_old of one/labels.csv", "column tp53_old of two/labels.csv"
    }  # fmt: skip


def test_errors_name_all_files(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.maf").write_text("Hugo_Symbol\tTumor_Sample_Barcode\nTP53\tx\n")
    paths = [tmp_path / "a.csv", tmp_path / "b.maf", tmp_path / "absent.csv"]
    with pytest.raises(TcgaError) as caught:
        read_labels(paths)
    for path in paths:
        assert str(path) in str(caught.value)
    (tmp_path / "a.csv").write_text(f"patient_id,tp53\n{A},1\n")
    (tmp_path / "sequenced.txt").write_text(f"{A}-01\n")
    with pytest.raises(TcgaError, match="no MAF"):
        read_labels([tmp_path / "a.csv"], tmp_path / "sequenced.txt")


@pytest.mark.slow
def test_real_sources_agree_with_the_published_pairs(real_data):
    """Compares with an independent table of patients with both image and RNA."""
    labels = read_labels(
        [
            *sorted((real_data / "tcga_slide_labels").iterdir()),
            *sorted((real_data / "tcga_bulk").iterdir()),
        ]
    )
    assert labels.conflicts.empty
    pairs = pd.read_csv(real_data / "tcga_image_bulk_pairs.csv")
    found = labels.table.reindex(pairs["patient"])
    assert list(found["cancer_type"]) == list(pairs["cancer_type"])
    paired = pairs["bulk_table"].notna().to_numpy()
    expected = pairs["TP53_mut"].map({1.0: "mutated", 0.0: "wild type"})
    expected = expected.astype(object).where(expected.notna(), None)
    assert list(found["tp53"][paired]) == list(expected[paired])
    breast = pairs["oncotree"].where(pairs["oncotree"].isin(["IDC", "ILC"]))
    known = breast.notna().to_numpy()
    assert known.sum() == 6 and list(found["breast"][known]) == list(breast[known])


def mutated_tables(folder):
    """KRAS is mutated in 3 patients of two tables, EGFR in 1, TP53 in 2."""
    names = [f"TCGA-3C-AA{i:02d}" for i in range(6)]
    rows = "".join(
        f"{name},{i % 2},{int(i < 1)},{int(i in (1, 3))},{40 + i}\n"
        for i, name in enumerate(names)
    )
    header = "case_id,KRAS_mut,EGFR_mut,TP53_mut,age\n"
    return names, [
        written(folder, header + rows),
        written(folder, header + rows.splitlines()[1] + "\n", "again.csv"),
    ]


def test_mutations_by_name_or_by_how_many_have_one(tmp_path):
    names, paths = mutated_tables(tmp_path)
    for asked in (("KRAS", "TP53"), ("2",)):
        labels = read_labels(paths, mutations=asked)
        table = labels.table
        assert {n for n in table if n.startswith("mutation:")} == {
            *("mutation:KRAS", "mutation:TP53"),
            *("mutation:KRAS_source", "mutation:TP53_source"),
        }
        kras = table.loc[names, "mutation:KRAS"]
        assert list(kras) == ["wild type", "mutated"] * 3
        assert list(table["tp53"]) == list(table["mutation:TP53"])
        assert list(table["age"]) == [40 + i for i in range(6)]
        targets = {target.name: target for target in targets_of(table)}
        assert set(targets) == {"tp53", "mutation:KRAS", "mutation:TP53", "age"}
        assert targets["mutation:KRAS"].classes == ("mutated", "wild type")
        assert targets["age"].kind == "number" and not labels.unused
    unnamed = read_labels(paths).table
    assert not [name for name in unnamed if name.startswith("mutation:")]
    absent = read_labels(paths, mutations=("KRAS", "BRAF")).unused
    assert absent == [("mutation BRAF", "no table and no MAF has it")]
    with pytest.raises(
        TcgaError, match="no gene is mutated in 5 patients, the most are"
    ):
        read_labels(paths, mutations=("5",))


def test_a_table_of_mutations_alone_is_one_of_labels_if_they_are_asked_for(tmp_path):
    path = written(tmp_path, f"case_id,KRAS_mut\n{A},1\n{B},0.5\n{B},0\n")
    with pytest.raises(TcgaError, match="not a table of labels"):
        read_labels([path])
    labels = read_labels([path], mutations=("KRAS",))
    assert list(labels.table["mutation:KRAS"]) == ["mutated", "wild type"]
    ((_, fault),) = labels.unused
    assert "KRAS_mut: expected one of mutated, wild type; got '0.5'" in fault


def test_patients_with_a_mutation_are_counted_by_their_barcodes(tmp_path):
    """Wherever they stand in a slide's name; normal tissue does not count."""
    rows = "".join(f"slides/TCGA-AA-000{i}-01Z-00-DX1.svs,1,0\n" for i in range(3))
    rows += "".join(f"slides/TCGA-AA-000{i}-11A-01-TS1.svs,0,1\n" for i in range(3))
    path = written(tmp_path, "slide_id,KRAS_mut,BRAF_mut\n" + rows)
    table = read_labels([path], mutations=("3",)).table
    assert list(table["mutation:KRAS"]) == ["mutated"] * 3
    assert "mutation:BRAF" not in table


def test_survival_of_several_files(tmp_path):
    first = f"case_id,survival_months,censorship\n{A},24.11,0\n{B},3,1\n"
    second = f"bcr_patient_barcode\tOS\tOS.time\tPFI\tPFI.time\n{A}\t1\t732\t0\t91\n"
    paths = [written(tmp_path, first), written(tmp_path, second, "cdr.tsv")]
    table = read_labels(paths).table
    assert list(table["os"]) == [24.11, 3] and list(table["os_event"]) == [1, 0]
    assert table.loc[A, "pfi"] == 2.99 and table.loc[A, "pfi_event"] == 0
    assert table.loc[B, "pfi"] is None and table.loc[A, "os_source"].count(";") == 1
    kinds = {target.name: target.kind for target in targets_of(table)}
    assert kinds == {"os": "survival", "pfi": "survival"}
    # One patient in two cohorts, with another outcome.
    third = f"case_id,survival_months,censorship\n{A},24.11,1\n"
    labels = read_labels([*paths, written(tmp_path, third, "other.csv")])
    assert labels.table.loc[A, "os"] is None
    assert set(labels.conflicts["source"]) == {"labels.csv", "cdr.tsv", "other.csv"}


def test_real_cohorts_have_survival_and_mutations(real_data):
    path = real_data / "tcga_bulk" / "tcga_kirc_all_clean.csv.zip"
    names = ["case_id", "survival_months", "censorship", "age", "VHL_mut"]
    wanted = pd.read_csv(path, usecols=names).drop_duplicates("case_id")
    labels = read_labels([path], mutations=("VHL",))
    found = labels.table.loc[wanted["case_id"]]
    assert list(found["os"]) == list(wanted["survival_months"].round(2))
    assert list(found["os_event"]) == list(1 - wanted["censorship"])
    assert list(found["age"]) == list(wanted["age"])
    mutated = wanted["VHL_mut"].map({1: "mutated", 0: "wild type"})
    assert list(found["mutation:VHL"]) == list(mutated)
    assert labels.conflicts.empty and not labels.unused
