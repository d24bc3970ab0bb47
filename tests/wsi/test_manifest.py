"""Folders and manifests: ids, owners, mpp; everything wrong at once."""

import numpy as np
import pytest

from pathjax.wsi.manifest import SlideRow, read_manifest

TCGA = "TCGA-CR-7395-01A-01-TS1.0B2F-11"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def folder(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_a_folder_is_searched_to_its_bottom_and_sorted(tmp_path):
    names = ["b.ndpi", f"z/y/{TCGA}.svs", "a.ome.tif", "x c.PNG"]
    rows = read_manifest(folder(tmp_path, *names, "notes.txt", ".hidden.svs"))
    assert [row.slide_id for row in rows] == ["a", "b", "x_c", TCGA]
    assert [row.patient_id for row in rows] == ["a", "b", "x_c", "TCGA-CR-7395"]
    assert [row.site for row in rows] == ["unknown"] * 3 + ["CR"]
    assert rows[-1].sample_id == TCGA and rows[-1].mpp is None
    assert rows[-1].path == str(tmp_path / f"z/y/{TCGA}.svs")


def test_a_manifest_says_what_it_knows_and_the_name_the_rest(tmp_path):
    text = (
        "wsi,patient_id,sample_id,site,mpp,stage\n"
        f"slides/{TCGA}.svs,,,,,II\n"
        " slides/q.tif ,P1,S1,Oslo,0.25,\n"
        "/elsewhere/r.tif,P1,S1,Oslo,,III\n"
    )
    assert read_manifest(write(tmp_path / "m.csv", text)) == [
        SlideRow(TCGA, "TCGA-CR-7395", TCGA, "CR", f"{tmp_path}/slides/{TCGA}.svs"),
        SlideRow("q", "P1", "S1", "Oslo", f"{tmp_path}/slides/q.tif", 0.25, "manifest"),
        SlideRow("r", "P1", "S1", "Oslo", "/elsewhere/r.tif"),
    ]


def test_the_mpp_table_goes_first(tmp_path):
    text = "path,slide_id,mpp\na.svs,A,0.25\nb.svs,B,0.25\nc.svs,C,\n"
    slides = write(tmp_path / "m.csv", text)
    mpp = write(tmp_path / "mpp.csv", "wsi,mpp\nx/a.svs,0.3\nC,0.4\nnever.svs,1\n")
    found = [(row.mpp, row.mpp_source) for row in read_manifest(slides, mpp)]
    assert found == [(0.3, "mpp-csv"), (0.25, "manifest"), (0.4, "mpp-csv")]


def test_a_row_with_too_many_cells_is_refused(tmp_path):
    """By comma in a path without quotes, or the last cells would be lost."""
    with pytest.raises(ValueError, match=r"m\.csv cannot be read as a CSV table"):
        read_manifest(write(tmp_path / "m.csv", "path,mpp\na,b.svs,0.5\n"))


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    text = (
        "path,slide_id,patient_id,sample_id,site,mpp\n"
        "a.svs,A,P1,S,x,0\n"
        ",B,P1,,x,\n"
        "c.svs,../c,P1,,x,250 nm\n"
        "d.svs,A,P2,S,x,\n"
    )
    with pytest.raises(ValueError) as error:
        read_manifest(write(tmp_path / "m.csv", text))
    said = str(error.value)
    for part in (
        "line 2: mpp is '0'",
        "line 3: no path",
        "line 4: '../c' cannot name a slide",
        "line 4: mpp is '250 nm'",
        "2 slides are called A",
        "sample S belongs to patient P1, site x by A, and to P2, x by A",
    ):
        assert part in said


def test_tables_and_folders_without_slides_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has no slide"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_manifest(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="several columns for path"):
        read_manifest(write(tmp_path / "m.csv", "path, path\na,b\n"))
    slides = write(tmp_path / "m.csv", "path\na.svs\n")
    for text, said in (
        ("slide,mpp\na,1\n", "lacks the columns wsi"),
        ("wsi,mpp\na.svs,\n", "no mpp for 'a.svs'"),
        ("wsi,mpp\na.svs,0.2\na.svs,0.3\n", "has mpp 0.2 above, here 0.3"),
        ("wsi,mpp\na.svs,1e9\n", "mpp is '1e9'"),
    ):
        with pytest.raises(ValueError, match=said):
            read_manifest(slides, write(tmp_path / "mpp.csv", text))


def test_a_manifest_without_rows_or_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no slide"):
        read_manifest(write(tmp_path / "m.csv", "path,mpp\n"))
    with pytest.raises(ValueError, match="line 2: no path"):
        read_manifest(write(tmp_path / "m.csv", "file,mpp\na.svs,0.5\n"))


def test_200_damaged_manifests_give_rows_or_a_named_error(tmp_path):
    """Random bytes of a valid one changed, dropped, doubled or put in."""
    whole = (
        b"path,slide_id,patient_id,sample_id,site,mpp\n"
        b'a.svs,A,P1,S1,x,0.25\n"b,2.svs",B,P1,S1,x,\nc.svs,C,P2,,y,0.5\n'
    )
    rng, refused = np.random.default_rng(0), 0
    path = tmp_path / "m.csv"
    special = np.frombuffer(b",\"\n\r\0\xff ./-\t'e", np.uint8)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 10)):
            at = int(rng.integers(len(data)))
            byte = int(rng.choice(special) if rng.random() < 0.5 else rng.integers(256))
            kept = data[at : at + 1]
            choices = (b"", bytes([byte]), bytes([byte]) + kept, data[at : at + 12] * 2)
            data[at : at + 1] = choices[rng.integers(4)]
        path.write_bytes(bytes(data))
        try:
            rows = read_manifest(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert rows and len({row.slide_id for row in rows}) == len(rows)
    assert 20 < refused < 190
