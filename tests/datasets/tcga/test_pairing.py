"""Pairing: each rule alone, everything accounted for, and the published pairs."""

import random

import pandas as pd
import pytest

from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.pairing import pair
from pathjax.datasets.tcga.tables import TcgaError


def slide_table(*names, **columns):
    table = pd.DataFrame({"slide_id": list(names)})
    defaults = {"patient_id": "", "sample_id": "", "site": "", "path": ""}
    return table.assign(**defaults | {"status": "tiled", "reason": ""} | columns)


def rna_table(*barcodes):
    found = [find(one) for one in barcodes]
    return pd.DataFrame(
        {
            "case_id": [one.patient for one in found],
            "sample_type": [one.sample_type for one in found],
            "aliquot": [
                name if one.is_aliquot else ""
                for name, one in zip(barcodes, found, strict=True)
            ],
        },
        index=[f"row{i}" for i in range(len(found))],
    )


def reasons(pairing):
    table = pairing.unmatched
    return dict(zip(table["id"], table["reason"], strict=True))


A, B = "TCGA-3C-AALI", "TCGA-3C-AALJ"
DX, TS = "-01Z-00-DX1.AB", "-01A-01-TS1.AB"


def test_all_diagnostic_slides_of_a_patient_are_pooled():
    slides = slide_table(f"{B}{DX}", f"{A}{DX}", f"{A}-01Z-00-DX2.CD")
    pairing = pair(slides, rna_table(f"{A}-01A", f"{B}-01A"))
    assert list(pairing.slides["sample_id"]) == [B, A, A]
    assert list(pairing.slides["patient_id"]) == [B, A, A]
    assert list(pairing.slides["site"]) == ["3C"] * 3
    assert pairing.aliquots == {A: ("row0",), B: ("row1",)}
    assert pairing.unmatched.empty


def test_frozen_sections_are_an_option():
    slides, rna = slide_table(f"{A}{DX}", f"{A}{TS}"), rna_table(f"{A}-01A")
    assert "--frozen" in reasons(pair(slides, rna))[f"{A}{TS}"]
    both = pair(slides, rna, frozen=True)
    assert len(both.slides) == 2 and both.unmatched.empty


def test_normal_tissue_is_never_paired():
    slides = slide_table(f"{A}{DX}", f"{A}-11A-01-TS1.AB")
    pairing = pair(slides, rna_table(f"{A}-01A", f"{A}-11A"), frozen=True)
    assert pairing.aliquots == {A: ("row0",)} and len(pairing.slides) == 1
    found = reasons(pairing)
    assert "normal tissue" in found[f"{A}-11A-01-TS1.AB"]
    assert "normal tissue" in found["row1"]


def test_sample_types_have_to_agree():
    slides = slide_table(f"{A}-06Z-00-DX1", f"{B}{DX}")
    pairing = pair(slides, rna_table(f"{A}-01A", f"{B}-01A"))
    assert list(pairing.slides["patient_id"]) == [B]
    found = reasons(pairing)
    assert found[f"{A}-06Z-00-DX1"] == "no RNA of sample type 06, only of 01"
    assert found["row0"] == "no slide of sample type 01, only of 06"


def test_of_several_sample_types_the_first_with_both_is_taken():
    slides = slide_table(f"{A}-06Z-00-DX1", f"{A}-02Z-00-DX1", f"{A}{DX}")
    pairing = pair(slides, rna_table(f"{A}-06A", f"{A}-02A"))
    assert list(pairing.slides["slide_id"]) == [f"{A}-02Z-00-DX1"]
    assert pairing.aliquots == {A: ("row1",)}
    assert set(reasons(pairing)) == {f"{A}-06Z-00-DX1", f"{A}{DX}", "row0"}


def test_aliquots_are_in_the_order_of_barcodes():
    rna = rna_table(
        f"{A}-01B-11R-A41B-07", f"{A}-01A-12R-A41B-07", f"{A}-01A-11R-A41B-07"
    )
    assert pair(slide_table(f"{A}{DX}"), rna).aliquots == {A: ("row2", "row1", "row0")}


def test_frozen_aliquots_come_before_ffpe():
    rna = rna_table(f"{A}-01A", f"{A}-01B").assign(preservation=["FFPE", "Frozen"])
    assert pair(slide_table(f"{A}{DX}"), rna).aliquots == {A: ("row1", "row0")}


def test_patients_without_rna_can_be_kept():
    slides, rna = slide_table(f"{A}{DX}", f"{B}{DX}"), rna_table(f"{B}-01A")
    assert list(pair(slides, rna).slides["patient_id"]) == [B]
    pairing = pair(slides, rna, keep_unpaired=True)
    assert list(pairing.slides["patient_id"]) == [A, B]
    assert list(pairing.aliquots) == [B]
    assert pairing.unmatched["kept"].tolist() == [True]


@pytest.mark.parametrize(
    ("name", "columns", "reason"),
    [
        ("slide7", {}, "neither its id nor its file name"),
        (A, {}, "no sample type"),
        (f"{A}-01Z-00", {}, "does not say whether"),
        (f"{A}-20A-01-TS1", {}, "no tumour"),
        (f"{A}{DX}", {"patient_id": B}, f"said to be of {B}"),
        (f"{A}{DX}", {"status": "skipped", "reason": "no tissue"}, "no tissue"),
    ],
)
def test_slides_that_cannot_be_paired(name, columns, reason):
    with pytest.raises(TcgaError, match=reason):
        pair(slide_table(name, **columns), rna_table(f"{A}-01A"))


def test_a_file_name_is_asked_where_the_id_says_too_little():
    for name in ("slide7", A):
        slides = slide_table(name, path=f"/slides/{A}{DX}.svs", patient_id=A)
        assert list(pair(slides, rna_table(f"{A}-01A")).slides["patient_id"]) == [A]


def test_rna_that_cannot_be_paired():
    slides = slide_table(f"{A}{DX}")
    with pytest.raises(TcgaError, match="lacks the columns sample_type"):
        pair(slides, rna_table(f"{A}-01A").drop(columns="sample_type"))
    with pytest.raises(TcgaError, match="repeats a row"):
        pair(slides, rna_table(f"{A}-01A", f"{B}-01A").set_axis(["x", "x"]))
    with pytest.raises(TcgaError, match="sample type is not known"):
        pair(slides, rna_table(A))


def test_each_slide_and_aliquot_is_used_or_listed():
    """300 random cohorts: each slide and aliquot is used or listed, never both."""
    source = random.Random(2)
    paired = 0
    for _ in range(300):
        patients = [f"TCGA-{source.choice('ABC')}1-000{i}" for i in range(4)]
        tails = ["-01Z-00-DX1", "-01A-01-TS1", "-06Z-00-DX1", "-11A-01-TS1", "", "-0"]
        names = {
            source.choice(patients) + source.choice(tails) + source.choice(["", ".X"])
            for _ in range(8)
        } | {"junk"}
        kinds = ["-01A", "-01B", "-06A", "-11A", ""]
        rna = rna_table(
            *(source.choice(patients) + source.choice(kinds) for _ in range(6))
        )
        keep = source.random() < 0.5
        slides = slide_table(*sorted(names))
        try:
            pairing = pair(slides, rna, frozen=True, keep_unpaired=keep)
        except TcgaError:
            continue
        paired += 1
        table = pairing.unmatched
        used = set(pairing.slides["slide_id"])
        left = table[(table["what"] == "slide") & ~table["kept"]]["id"]
        assert used | set(left) == names and not used & set(left)
        rows = [one for names in pairing.aliquots.values() for one in names]
        left = table[table["what"] == "RNA"]["id"]
        assert sorted([*rows, *left]) == sorted(rna.index)
        for patient, rows in pairing.aliquots.items():
            own = pairing.slides[pairing.slides["patient_id"] == patient]["slide_id"]
            types = {find(one).sample_type for one in own}
            assert types == set(rna.loc[list(rows), "sample_type"]) and len(own)
    assert paired > 200


def test_the_published_pairs(real_data):
    """Oracle: a table of which regions have bulk RNA, made independently."""
    pairs = pd.read_csv(real_data / "tcga_image_bulk_pairs.csv")
    cases = []
    for path in sorted((real_data / "tcga_bulk").glob("*.zip")):
        cases += sorted(pd.read_csv(path, usecols=["case_id"])["case_id"].unique())
    names = sorted(path.stem for path in (real_data / "monuseg").rglob("*.jpg"))
    rna = rna_table(*(f"{case}-01" for case in cases))
    pairing = pair(slide_table(*names), rna, frozen=True)
    expected = sorted(pairs["patient"][pairs["bulk_table"].notna()])
    assert list(pairing.aliquots) == expected and len(expected) == 23
    assert len(pairing.unmatched) == 7 + len(cases) - 23
    diagnostic = pair(slide_table(*names), rna)
    assert len(diagnostic.aliquots) == sum("DX" in name for name in names) - 7
