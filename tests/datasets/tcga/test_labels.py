"""Labels of patients: agreement, conflict, sources, and the real tables together."""

import pandas as pd
import pytest

from pathjax.datasets.tcga.label_tables import Claim
from pathjax.datasets.tcga.labels import join, read_labels
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.datasets.tcga.vocabulary import CLASSES

A, B = "TCGA-3C-AALI", "TCGA-3C-AALJ"


def test_agreed_labels_name_all_sources_and_conflicts_are_left_empty():
    labels = join(
        [
            Claim(B, "lung", "LUAD", "y.csv"),
            Claim(A, "tp53", "mutated", "x.csv"),
            Claim(A, "tp53", "mutated", "y.csv"),
            Claim(B, "tp53", "mutated", "x.csv"),
            Claim(B, "tp53", "wild type", "m.maf (TCGA-3C-AALJ-01)"),
        ]
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


def test_no_claim_is_an_empty_table():
    labels = join([])
    assert len(labels.table) == len(labels.conflicts) == 0
    assert set(CLASSES) < set(labels.table)


def test_all_files_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.maf").write_text("Hugo_Symbol\tTumor_Sample_Barcode\nTP53\tx\n")
    paths = [tmp_path / "a.csv", tmp_path / "b.maf", tmp_path / "absent.csv"]
    with pytest.raises(TcgaError) as caught:
        read_labels(paths)
    for path in paths:
        assert str(path) in str(caught.value)


def test_a_list_of_sequenced_samples_wants_a_maf(tmp_path):
    (tmp_path / "a.csv").write_text(f"patient_id,tp53\n{A},1\n")
    (tmp_path / "sequenced.txt").write_text(f"{A}-01\n")
    with pytest.raises(TcgaError, match="no MAF"):
        read_labels([tmp_path / "a.csv"], tmp_path / "sequenced.txt")


def test_real_sources_agree_with_the_published_pairs(real_data):
    """Oracle: a table of patients with both image and RNA, made independently."""
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
