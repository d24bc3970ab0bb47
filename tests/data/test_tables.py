"""Tables of users: column names in the usual spellings, cells as text, named errors."""

import pytest

from pathjax.data.tables import known_columns, read_table

COLUMNS = ("patient_id", "site")


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["patient_id", "site"], ["patient_id", "site"]),
        (["Patient_ID", "SITE"], ["patient_id", "site"]),
        (["Patient ID", "mpp"], ["patient_id", "mpp"]),
        (["case_id", "x"], ["patient_id", "x"]),
        (["submitter-id"], ["patient_id"]),
        # The column's own name goes before other spellings of it.
        (["case_id", "patient_id"], ["case_id", "patient_id"]),
    ],
)
def test_columns_are_recognised(names, known):
    assert known_columns(names, COLUMNS) == known


def test_cells_are_text_and_stripped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeffPatient , n\n 007 ,\nNA,1e5\n", encoding="utf-8")
    table = read_table(path, COLUMNS)
    assert table.to_dict("list") == {"patient_id": ["007", "NA"], "n": ["", "1e5"]}
    path = tmp_path / "a.tsv"
    path.write_text("case_id\tsite\nP,1\tx\n")
    assert read_table(path, COLUMNS).values.tolist() == [["P,1", "x"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,patient\na,b\n", "several columns for patient_id: keep one"),
        ("a,b\n1,2,3\n", "cannot be read as a CSV table"),
        ("", "cannot be read as a CSV table"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv .*{message}"):
        read_table(path, COLUMNS)
