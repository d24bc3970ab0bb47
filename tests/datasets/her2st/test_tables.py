import gzip

import numpy as np
import pandas as pd
import pytest

from pathjax.datasets.her2st.source import read_counts, read_labels, read_spots
from pathjax.datasets.spatial.sample import SpatialError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


GOOD = "\tA\tB\tC\n10x13\t1\t0\t2\n9x4\t0\t3\t0\n"


@pytest.mark.parametrize("name", ["C2.tsv", "C2.tsv.gz"])
def test_reads_counts(tmp_path, name):
    counts = read_counts(write(tmp_path / name, GOOD))
    assert counts.spots == [(10, 13), (9, 4)]
    assert counts.genes == ["A", "B", "C"]
    np.testing.assert_array_equal(counts.matrix.toarray(), [[1, 0, 2], [0, 3, 0]])
    assert counts.matrix.dtype == np.float32


@pytest.mark.parametrize("end", ["\r\n", "\n\n"])
def test_line_ends_and_blank_lines_do_no_harm(tmp_path, end):
    path = tmp_path / "C2.tsv"
    path.write_bytes(GOOD.replace("\n", end).encode())
    counts = read_counts(path)
    np.testing.assert_array_equal(counts.matrix.toarray(), [[1, 0, 2], [0, 3, 0]])


def test_header_without_a_name_for_the_row_names_as_r_writes_it(tmp_path):
    counts = read_counts(write(tmp_path / "C2.tsv", GOOD[1:]))
    assert counts.genes == ["A", "B", "C"] and len(counts.spots) == 2


def test_duplicated_symbols_stay_apart(tmp_path):
    text = "\tA\tB\tA\tA\n10x13\t1\t5\t2\t4\n"
    counts = read_counts(write(tmp_path / "C2.tsv", text))
    assert counts.genes == ["A", "B", "A", "A"]
    np.testing.assert_array_equal(counts.matrix.toarray(), [[1, 5, 2, 4]])


@pytest.mark.parametrize(
    "row",
    [
        *("7x7\t1\t2", "7x7\t1\t2\t3\t4", "7x7\t1\tnan\t3", "7x7\t1\tNA\t3"),
        *("7x7\t1\t\t3", "7x7\t1\t-2\t3", "7x7\t1\tinf\t3", "7x7\t1.5\t2\t0"),
        "seven\t1\t2\t3",
    ],
)
def test_a_bad_row_of_counts_is_named(tmp_path, row):
    path = write(tmp_path / "C2.tsv", GOOD + row + "\n" + "8x8\t1\t1\t1\n")
    with pytest.raises(SpatialError, match=r"C2\.tsv line 4: expected"):
        read_counts(path)


def test_broken_files_are_named(tmp_path):
    whole = gzip.compress(GOOD.encode() * 50)
    for name, data, reason in [
        ("cut.tsv.gz", whole[:-20], "cut.tsv.gz cannot be read"),
        ("no.tsv.gz", b"not gzip at all", "no.tsv.gz cannot be read"),
        ("flip.tsv.gz", whole[:30] + b"\x00\xff" * 4 + whole[38:], "cannot be read"),
        ("bytes.tsv", b"\tA\n1x1\t\xff\xfe\n", "bytes.tsv cannot be read"),
        ("empty.tsv", b"", "got 0 lines"),
        ("head.tsv", b"\tA\tB\n", "got 1 lines"),
        ("twice.tsv", b"\tA\n1x1\t1\n1x1\t2\n", "a spot more than once"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SpatialError, match=reason):
            read_counts(tmp_path / name)


SPOTS = "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"


def test_reads_spots_and_notes_the_bad_ones(tmp_path):
    rows = [
        "5\t9\t5.01\t9\t160.4\t320\t1",
        "6\t9\t6\t9\t200\t320\t0",
        "8\t9\t8\t9\tNA\t320\t1",
        "9\t9\t9\t9\t320\t320\t1",
        "9\t9\t9\t9\t321\t320\t1",
        "4\t9\t4\t9\tinf\t320\t1",
    ]
    text = SPOTS + "\n".join(rows)
    spots, notes = read_spots(write(tmp_path / "C2_selection.tsv", text))
    assert spots.index.tolist() == [(5, 9)]
    assert spots.loc[(5, 9), "pixel_x"] == 160.4
    assert "selected" not in spots
    reasons = dict(notes)
    assert "outside the tissue" in reasons["6x9"]
    assert "several times" in reasons["9x9"]
    assert set(reasons) == {"6x9", "9x9", "line 4", "line 7"}


def test_spots_without_the_optional_columns(tmp_path):
    text = "x\ty\tpixel_x\tpixel_y\n5\t9\t160\t320\n"
    spots, notes = read_spots(write(tmp_path / "C2_selection.tsv", text))
    assert list(spots.columns) == ["pixel_x", "pixel_y"] and notes == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x\ty\tpixel_x\n1\t2\t3\n", "lacks the columns pixel_y; it has x, y, pixel_x"),
        (SPOTS + "5.5\t9\t5\t9\t160\t320\t1\n", "expected whole array positions"),
        (SPOTS + "5\t9\t5\t9\t160\t320\t0\n", "no usable spot.*outside"),
    ],
)
def test_unusable_spot_files_are_named(tmp_path, text, reason):
    with pytest.raises(SpatialError, match=reason):
        read_spots(write(tmp_path / "C2_selection.tsv", text))


def test_labels_are_rounded_to_the_array_and_conflicts_named(tmp_path):
    text = (
        "Row.names\tx\ty\tlabel\n"
        "a\t9.02\t20.994\tinvasive cancer\n"
        "b\t10.49\t20.6\tadipose tissue\n"
        "c\t11.1\t20\tadipose tissue\n"
        "d\t10.9\t20\tinvasive cancer\n"
        "e\tNA\t20\tinvasive cancer\n"
    )
    labels, notes = read_labels(write(tmp_path / "A1_labeled.tsv", text))
    assert labels == {(9, 21): "invasive cancer", (10, 21): "adipose tissue"}
    assert [what for what, _ in notes] == ["line 6", "11x20"]
    with pytest.raises(SpatialError, match="lacks the columns label"):
        read_labels(write(tmp_path / "b.tsv", "x\ty\n1\t2\n"))


def test_real_counts_equal_pandas(real_data):
    path = real_data / "her2st/data/ST-cnts/C3.tsv.gz"
    counts = read_counts(path)
    table = pd.read_csv(path, sep="\t", index_col=0)
    assert counts.genes == list(table.columns)
    assert [f"{x}x{y}" for x, y in counts.spots] == list(table.index)
    np.testing.assert_array_equal(counts.matrix.toarray(), table.to_numpy())


def test_real_labels_match_by_array_position_and_never_by_pixel(real_data):
    root = real_data / "her2st/data"
    path = root / "ST-pat/lbl/A1_labeled_coordinates.tsv"
    labels, notes = read_labels(path)
    spots, _ = read_spots(root / "ST-spotfiles/A1_selection.tsv")
    assert len(labels) == 348 and notes == []
    assert set(labels) == set(spots.index)
    # Their pixel rows run upwards, in an image of another size: the trap avoided.
    table = pd.read_csv(path, sep="\t")
    assert np.corrcoef(table["y"], table["pixel_y"])[0, 1] < -0.999
    assert np.corrcoef(spots.index.get_level_values("y"), spots["pixel_y"])[0, 1] > 0.99
