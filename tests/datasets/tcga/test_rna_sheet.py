"""GDC's sample sheets of all dates, and cart metadata."""

import json
import re

import pytest
from tiny_rna import SAMPLES, STAR, sheet_text

from pathjax.datasets.tcga.rna_sheet import find_sheets, read_sheets
from pathjax.datasets.tcga.tables import TcgaError

ALIQUOT = "TCGA-05-4244-01A-01R-1107-07"


def write(path, text):
    path.write_text(text)
    return path


def metadata(*entries):
    return json.dumps(
        [
            {"file_name": name, "associated_entities": [{"entity_submitter_id": one}]}
            for name, one in entries
        ]
    )


def test_older_and_newer_headers(tmp_path):
    older = write(tmp_path / "old.tsv", sheet_text())
    rows, notes = read_sheets([older])
    assert notes == []
    row = rows[f"uuid-2{STAR}"]
    assert row.barcode.sample == "TCGA-05-4249-11" and row.project == "TCGA-LUAD"
    assert row.aliquot == ""
    newer = sheet_text().replace(
        "Sample Type", "Tissue Type\tTumor Descriptor\tSpecimen Type"
    )
    for word in ("Primary Tumor", "Solid Tissue Normal"):
        newer = newer.replace(word, f"{word.split()[-1]}\tPrimary\tSolid Tissue")
    assert read_sheets([write(tmp_path / "new.tsv", newer)]) == (rows, notes)


def test_metadata_adds_the_aliquot(tmp_path):
    sheet = write(tmp_path / "gdc_sample_sheet.2024-01-01.tsv", sheet_text())
    name = f"uuid-0{STAR}"
    cart = write(tmp_path / "metadata.cart.2024-01-01.json", metadata((name, ALIQUOT)))
    assert find_sheets(tmp_path) == [sheet, cart]
    for order in ([sheet, cart], [cart, sheet]):
        rows, notes = read_sheets(order)
        assert notes == [] and len(rows) == len(SAMPLES)
        assert rows[name].aliquot == ALIQUOT and rows[name].project == "TCGA-LUAD"


def test_a_file_on_which_sheets_disagree_is_skipped(tmp_path):
    sheet = write(tmp_path / "a.tsv", sheet_text())
    other = ALIQUOT.replace("4244", "4999")
    cart = write(tmp_path / "b.json", metadata((f"uuid-0{STAR}", other)))
    rows, notes = read_sheets([sheet, cart])
    assert f"uuid-0{STAR}" not in rows and len(rows) == 2
    assert notes == [
        (f"uuid-0{STAR}", f"b.json: it is of both TCGA-05-4244-01 and {other}")
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\tTCGA-05-4244-01A", "\tHCM-1", "expected a TCGA barcode"),
        ("TCGA-05-4244\t", "TCGA-05-9999\t", "no sample of case 'TCGA-05-9999'"),
        ("\tTCGA-05-4244-01A", "\tTCGA-05-4244-11A", "called 'Primary Tumor'"),
        ("-01A\tPrimary", "-01A, TCGA-05-4244-11A\tPrimary", "of several samples"),
        ("\tTCGA-05-4244-01A", "", "7 cells for 8 columns"),
        ("\tTCGA-05-4244-01A", "\tTCGA-05-4244-01A\tx", "9 cells for 8 columns"),
        (f"uuid-0{STAR}", "", "no file name"),
    ],
)
def test_a_bad_row_is_skipped(tmp_path, old, new, reason):
    text = sheet_text().replace(old, new, 1)
    rows, notes = read_sheets([write(tmp_path / "a.tsv", text)])
    assert len(rows) == 2
    [(_, why)] = notes
    assert re.search(reason, why)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no header"),
        ("a\tb\n1\t2\n", "lacks the columns File Name.* it has a, b"),
        (sheet_text([]), "names no file"),
        ("[{", "cannot be read"),
        ('[1, {"file_name": "x"}, {"a": []}]', "entry 1: .*no file_name"),
    ],
)
def test_invalid_sheets(tmp_path, text, reason):
    with pytest.raises(TcgaError, match=reason):
        read_sheets([write(tmp_path / "a.tsv", text)])


def test_preservation(tmp_path):
    text = sheet_text().replace("Sample Type", "Sample Type\tpreservation_method")
    for word in ("Primary Tumor", "Solid Tissue Normal"):
        text = text.replace(word, f"{word}\tFFPE")
    rows, notes = read_sheets([write(tmp_path / "a.tsv", text)])
    assert {row.preservation for row in rows.values()} == {"FFPE"} and notes == []
    text = text.replace("preservation_method", "is_ffpe")
    _, notes = read_sheets([write(tmp_path / "b.tsv", text)])
    assert notes == [
        ("column is_ffpe", "b.tsv: not read: expected Preservation Method")
    ]
