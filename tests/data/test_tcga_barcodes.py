"""Barcodes: the parts of real names, names inside names, and refusals."""

import io
import zipfile

import pandas as pd
import pytest

from pathjax.data.tcga_barcodes import Barcode, find, parse


def test_the_parts_of_a_slide_an_aliquot_a_sample_and_a_patient():
    slide = parse("TCGA-G2-A2EK-01A-02-TSB")
    assert slide == Barcode("G2", "A2EK", "01", "A", "02", slide="TSB")
    assert slide.is_frozen and not slide.is_diagnostic and slide.is_tumour
    aliquot = parse("TCGA-3C-AALI-11A-11R-A41B-07")
    assert aliquot == Barcode("3C", "AALI", "11", "A", "11", "R", "A41B", "07")
    assert aliquot.is_aliquot and aliquot.is_normal and not aliquot.is_tumour
    assert (aliquot.patient, aliquot.sample) == ("TCGA-3C-AALI", "TCGA-3C-AALI-11")
    assert parse("TCGA-3C-AALI-01").sample == "TCGA-3C-AALI-01"
    assert parse("tcga-3c-aali").patient == "TCGA-3C-AALI"
    assert parse("TCGA-3C-AALI").sample == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TCGA",
        "TCGA-3C",
        "TCGA-3C-AAL",
        "TCGA-3C-AALIX",
        "TCGA-3C-AALI-1",
        "TCGA-3C-AALI-01A-11R-A41B",
        "TCGA-3C-AALI-01Z-00-DX",
        "TCGA-3C-AALI-01Z-00-XX1",
        "TCGA-3C-AALI\n",
        "CPTAC-3C-AALI",
        "TCGA_3C_AALI",
    ],
)
def test_what_is_no_barcode_is_refused(text):
    with pytest.raises(ValueError, match="expected a TCGA barcode"):
        parse(text)


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        ("TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291.svs", "DX1"),
        ("blk-THPNGVSFMQPH-TCGA-3C-AALI-01Z-00-DX1.png", "DX1"),
        ("/data/TCGA-3C-AALI/TCGA-3C-AALI-01A-01-BS1_x100_y200.jpg", "BS1"),
        ("TCGA-3C-AALI.pt", ""),
    ],
)
def test_a_barcode_is_found_inside_a_name(name, slide):
    assert find(name).patient == "TCGA-3C-AALI"
    assert find(name).slide == slide


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("slide1.svs", "none"),
        ("XTCGA-3C-AALI.svs", "none"),
        ("TCGA-3C-AALI1.svs", "none"),
        ("TCGA-3C-AALI_TCGA-3C-AALJ.svs", "got TCGA-3C-AALI, TCGA-3C-AALJ"),
    ],
)
def test_a_name_without_one_patient_is_refused(name, what):
    with pytest.raises(ValueError, match=what):
        find(name)


def test_every_real_name_is_read(real_data):
    """Oracle: the tables' own case column, and slicing at fixed places."""
    tables = [
        *sorted((real_data / "tcga_slide_labels").glob("*.zip")),
        real_data / "tcga_bulk" / "tcga_stad_all_clean.csv.zip",
    ]
    read = 0
    for path in tables:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0])
        table = pd.read_csv(io.BytesIO(text), usecols=["case_id", "slide_id"])
        for case, slide in zip(table["case_id"], table["slide_id"], strict=True):
            found = find(slide)
            assert found.patient == case == slide[:12]
            assert found.sample == slide[:15]
            assert found.is_diagnostic and found.slide == slide.split(".")[0][20:]
            read += 1
    assert read > 3000
    for path in (real_data / "monuseg").rglob("*.jpg"):
        assert find(path.name) == parse(path.stem)
