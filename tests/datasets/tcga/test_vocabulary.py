"""The words of labels: how sources spell them, and words that are not known."""

import pytest

from pathjax.datasets.tcga.vocabulary import CLASSES, claims_of


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("cancer_type", "TCGA-BRCA", {"cancer_type": "BRCA"}),
        ("cancer_type", "kich", {"cancer_type": "KICH", "kidney": "KICH"}),
        ("cancer_type", "LUSC", {"cancer_type": "LUSC", "lung": "LUSC"}),
        ("oncotree", "CCRCC", {"cancer_type": "KIRC", "kidney": "KIRC"}),
        ("oncotree", "ILC", {"cancer_type": "BRCA", "breast": "ILC"}),
        ("oncotree", "MDLC", {"cancer_type": "BRCA"}),
        ("oncotree", "LUAD", {"cancer_type": "LUAD", "lung": "LUAD"}),
        ("oncotree", "MACR", {}),
        ("oncotree", "HGSOC", {}),  # of a study, which the table does not know
        ("tp53", "1.0", {"tp53": "mutated"}),
        ("tp53", "WT", {"tp53": "wild type"}),
        ("pam50", "BRCA_LumA", {"pam50": "LumA"}),
        ("pam50", "BRCA.Normal", {"pam50": "Normal"}),
        ("pam50", "HER2-enriched", {"pam50": "Her2"}),
        ("pam50", "Luminal B", {"pam50": "LumB"}),
        ("breast", "idc", {"breast": "IDC"}),
    ],
)
def test_spellings(label, text, said):
    assert claims_of(label, text) == said


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("cancer_type", "COADREAD"),  # which of the two is not said
        ("oncotree", "LUNG?"),
        ("tp53", "2"),
        ("tp53", "0.5"),
        ("pam50", "Claudin-low"),
        ("breast", "mixed"),
        ("kidney", "LUAD"),
    ],
)
def test_words_that_are_not_known(label, text):
    assert claims_of(label, text) is None


def test_every_class_is_read_as_itself():
    for label, classes in CLASSES.items():
        for one in classes:
            assert claims_of(label, one)[label] == one
