"""Tables of users: encodings, separators, spellings, ids; cells as text; named errors."""

import gzip
import logging
import zipfile

import numpy as np
import pytest

from pathjax.data.tables import (
    alike,
    file_name,
    filled_in_part,
    is_missing,
    known_columns,
    lookalikes,
    number,
    path_below,
    read_list,
    read_table,
)

COLUMNS = ("path", "patient_id", "site", "mpp")


def written(tmp_path, data, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["patient_id", "site"], ["patient_id", "site"]),
        (["Patient_ID", "SITE"], ["patient_id", "site"]),
        (["Patient ID", "MPP"], ["patient_id", "mpp"]),
        (["PatientID", "Tissue Source Site"], ["patient_id", "site"]),
        (["case_id", "x"], ["patient_id", "x"]),
        (["submitter-id"], ["patient_id"]),
        (["Case ID", "File Name"], ["patient_id", "path"]),
        # The column's own name goes before other spellings of it.
        (["case_id", "patient_id"], ["case_id", "patient_id"]),
        (["PATIENT_ID", "patient_id"], ["PATIENT_ID", "patient_id"]),
        (["wsi", "path"], ["wsi", "path"]),
    ],
)
def test_columns_are_recognised(names, known):
    assert known_columns(names, COLUMNS) == known


def test_a_column_is_taken_once():
    assert known_columns(["filename", "mpp"], ("path", "wsi")) == ["path", "mpp"]
    assert known_columns(["slide"], ("slide_id", "wsi")) == ["slide_id"]


def test_unused_columns_that_look_like_known_ones():
    names = ["path", "Patient-Nr", "mpp_x", "stage", "case_id"]
    assert lookalikes(names, COLUMNS) == ["Patient-Nr", "mpp_x", "case_id"]


TABLE = "path,patient_id,mpp\nslides/ö.tif,007,0.25\n"


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        "\ufeff" + TABLE,
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        "sep=;\r\n" + TABLE.replace(",", ";"),
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-le"),
        gzip.compress(TABLE.encode()),
        "# made by hand\n\n" + TABLE,
        TABLE + "\n,,\n",
        "Path, PATIENT ,MPP,\n slides/ö.tif , 007,0.25,\n",
        "path,patient_id,mpp\n'slides/ö.tif',007,0.25\n".replace("'", '"'),
    ],
)
def test_flavours_of_one_table(tmp_path, data):
    table = read_table(written(tmp_path, data), COLUMNS)
    assert table.columns.tolist() == ["path", "patient_id", "mpp"]
    assert table.values.tolist() == [["slides/ö.tif", "007", "0.25"]]


def test_another_encoding_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table = read_table(written(tmp_path, TABLE.encode("latin-1")), COLUMNS)
    assert table["path"].tolist() == ["slides/ö.tif"]
    assert "a.csv is not UTF-8: read as Windows-1252" in caplog.text
    given = written(tmp_path, "a\n\u0416\n".encode("cp1251"))
    assert read_table(given, encoding="cp1251")["a"].tolist() == ["\u0416"]


def test_a_table_alone_in_an_archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", TABLE)
        archive.writestr("__MACOSX/._a.csv", "x")
    assert len(read_table(path, COLUMNS)) == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.csv", TABLE)
    with pytest.raises(ValueError, match=r"a\.zip .* has 2 files, expected one"):
        read_table(path)


def test_cells_are_text_and_words_for_missing_are_empty(tmp_path):
    path = written(tmp_path, "Patient , n,site\n 007 ,,NA\nnan,1e5,\n7,NA,None\n")
    table = read_table(path, COLUMNS)
    assert table["patient_id"].tolist() == ["007", "", "7"]
    assert table["site"].tolist() == ["", "", ""]
    assert table["n"].tolist() == ["", "1e5", "NA"]  # no known column: as written
    assert table.index.tolist() == [2, 3, 4]


def test_line_numbers_count_lines(tmp_path):
    path = written(tmp_path, 'text,n\n"one\ntwo",1\n\nthree,2\nfour,\n')
    table = read_table(path)
    assert table.index.tolist() == [2, 5, 6]
    assert table["n"].tolist() == ["1", "2", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,site\na,a\n", "several columns for site"),
        ("#path\na\n", "lacks the columns site; it has #path"),
        ("case,patient\na,b\n", "several columns for patient_id: keep one"),
        ("path,b\n1,2,3\n", "cannot be read as a CSV table.*line 2: 3 cells for 2"),
        ("path,b,c\n1,2\n", "too many or few cells .line 2: 2 cells for 3"),
        ("", "cannot be read as a CSV table: it has no header"),
        ('path\n"a\n', "cannot be read as a CSV table: unexpected end"),
        ("\xd0\xcf\x11\xe0 x".encode("latin-1"), "is an Excel workbook: save"),
        ("<!doctype html>", "a web page: download"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"path\n\x81\x8d\n", "cannot be read as a CSV table"),
        ("Filename;x\na;b\n", r"lacks the columns site; it has Filename, x"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=rf"a\.csv .*{message}") as error:
        read_table(path, COLUMNS, required=("site",) if "lacks" in message else ())
    assert len(str(error.value)) < 600


def test_two_spellings_of_one_column(tmp_path):
    path = written(tmp_path, "submitter_id,case_id,n\nP1,P1,1\n")
    assert read_table(path, COLUMNS).values.tolist() == [["P1", "1"]]


def test_lists(tmp_path):
    path = written(tmp_path, "\n EPCAM \r\nKRT8\n".encode("utf-16"))
    assert read_list(path) == ["EPCAM", "KRT8"]
    with pytest.raises(ValueError, match="b.txt cannot be read as a list"):
        read_list(tmp_path / "b.txt")


def test_some_columns_of_a_wide_table(tmp_path):
    path = written(tmp_path, "#Patient\nPatient\tG1\tG2\tMPP\nP\t1\t2\t0.5\n")
    table = read_table(path, COLUMNS, only=True, comment="#")
    assert table.to_dict("list") == {"patient_id": ["P"], "mpp": ["0.5"]}


def test_rows_that_are_too_long_can_be_left_out(tmp_path):
    path = written(tmp_path, "path,mpp\na.svs,0,25\nb.svs,0.25\n")
    bad = []
    table = read_table(path, COLUMNS, bad_rows=bad)
    assert table["path"].tolist() == ["b.svs"] and table.index.tolist() == [3]
    assert bad == [(2, "3 cells for 2 columns")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.25", 0.25), ("0,25", 0.25), ("0,252", 0.252), ("-1,5", -1.5), ("1e-1", 0.1)],
)
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "1,000", "1.000,5", "1,000,000", "a", ",5"])
def test_what_is_no_number_or_not_one_for_sure(text):
    with pytest.raises(ValueError):
        number(text)


def test_ids():
    assert alike(["7", "7.0", "07", "p8", "P8", "9", "P10", "P1"]) == [
        ["07", "7", "7.0"],
        ["P8", "p8"],
    ]
    assert alike(["S-1", "S-01", "1.5", "1.05", "TCGA-A2-A04N", "TCGA-A2-A4N"]) == [
        ["S-01", "S-1"]
    ]
    for word in ("NA", "nan", "None", "#N/A", " ", "<NA>", "empty"):
        assert is_missing(word)
    assert not any(map(is_missing, ("0", "Nano", "unknown")))


def test_a_column_filled_in_part(tmp_path):
    path = written(tmp_path, "path,patient_id\na,P1\nb,\nc,NA\n")
    table = read_table(path, COLUMNS)
    assert filled_in_part(table, "patient_id").startswith(
        "patient_id is empty in 2 of 3 rows, first line 3: fill in every row"
    )
    assert filled_in_part(table.iloc[1:], "patient_id") == ""
    assert filled_in_part(table.iloc[:1], "patient_id") == ""
    assert filled_in_part(table, "site") == ""


def test_paths(tmp_path, monkeypatch):
    assert file_name("C:\\slides\\B.tif") == file_name("x/B.tif") == "B.tif"
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    (tmp_path / "odd\\name.svs").touch()
    assert path_below(tmp_path, "slides\\a.svs").is_file()
    assert path_below(tmp_path, "odd\\name.svs").is_file()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_below(tmp_path / "x", "~/slides/a.svs").is_file()


def test_200_damaged_tables_lose_no_row_in_silence(tmp_path):
    """Rows in = rows read + rows named, or an error that names the file."""
    rng, refused = np.random.default_rng(0), 0
    rows = [f'"s,{i}.svs",P{i},0.{i}' for i in range(20)]
    path = tmp_path / "m.csv"
    for _ in range(200):
        lines = list(rows)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(lines)))
            junk = (",x", ";", "\t", '"', ",,", "\x00", "é")[rng.integers(7)]
            lines[at] = lines[at] + junk if rng.random() < 0.7 else junk + lines[at]
        text = "path,patient_id,mpp\n" + "\n".join(lines) + "\n"
        path.write_bytes(text.encode("latin-1" if rng.random() < 0.5 else "utf-8"))
        bad = []
        try:
            table = read_table(path, COLUMNS, bad_rows=bad)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error)) < 600
            refused += 1
        else:
            assert len(table) + len(bad) == len(rows)
    assert 5 < refused < 150
