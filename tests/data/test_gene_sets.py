"""Gene sets: the forms of GMT files, and which genes of a panel are in them."""

import gzip

import numpy as np
import pytest

from pathjax.data.expression import GenePanel
from pathjax.data.gene_sets import match, read_gmt
from pathjax.data.study import StudyError

TEXT = "# made\nA\tdescription\tG1\tG2\tG1\nB\t\tG2,1.0\tG3,0.5\t\t\n\nC\tx\tQ1\n"


def test_sets_are_read_plain_and_gzipped(tmp_path):
    path = tmp_path / "sets.gmt"
    expected = {"A": ("G1", "G2"), "B": ("G2", "G3"), "C": ("Q1",)}
    path.write_text(TEXT)
    assert read_gmt(path) == expected
    path.write_bytes(gzip.compress(TEXT.replace("\n", "\r\n").encode()))
    assert read_gmt(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A G1 G2\n", "line 1: expected name, description and genes, divided by tabs"),
        ("A\tx\t\t\n", "line 1: expected name"),
        ("A\tx\tG1\nA\tx\tG2\n", "line 2: set 'A' is there twice"),
        ("\n# nothing\n", "has no gene sets"),
        ("A\0\tx", "cannot be read as gene sets"),
    ],
)
def test_what_is_no_gmt(tmp_path, text, message):
    (tmp_path / "sets.gmt").write_text(text)
    with pytest.raises(StudyError, match=message):
        read_gmt(tmp_path / "sets.gmt")


def test_genes_are_found_under_any_of_their_names():
    ids = {"symbol": ("TP53", "", "KIT"), "ensembl": ("ENSG1", "ENSG2", "ENSG3")}
    zeros = np.zeros(3, np.float32)
    panel = GenePanel(("ENSG1", "ENSG2", "ENSG3"), zeros, zeros, 5, ids=ids)
    sets = {"a": ("KIT", "TP53", "ENSG1", "FOXP3"), "b": ("ENSG2",), "c": ("Q",)}
    found = match(sets, panel.places(), 2)
    assert found.members == {"a": (0, 2)}
    assert found.left_out == {"b": 1, "c": 0} and found.unused == 1
    with pytest.raises(StudyError, match=r"none of 3 gene sets has 3 .* such as KIT"):
        match(sets, panel.places(), 3)
