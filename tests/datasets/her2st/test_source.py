"""Files of a section in both layouts, and what their tables say."""

import gzip

import numpy as np
import pandas as pd
import pytest

from pathjax.data.study import StudyError
from pathjax.datasets.her2st.source import (
    find_sections,
    read_counts,
    read_labels,
    read_spots,
)
from pathjax.datasets.spatial.sample import SpatialError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_finds_all_files_of_the_repository_layout(tmp_path):
    touch(
        tmp_path,
        "data/ST-cnts/C2.tsv.gz",
        "data/ST-spotfiles/C2_selection.tsv",
        "data/ST-imgs/C/C2/5714_HE_BT_C2.jpg",
        "data/ST-imgs/C/C2/._5714_HE_BT_C2.jpg",
        "data/ST-imgs/C/C2/notes.txt",
        "data/ST-pat/lbl/C2_labeled_coordinates.tsv",
        "res/ST-cluster/lbl/C2-cluster-annotation.tsv.gz",
        "data/ST-pat/lbl/J1_labeled_coordinates.tsv",  # labels alone: upstream has one
    )
    found = find_sections(tmp_path)
    assert list(found) == ["C2"]
    files = found["C2"]
    assert files.patient == "C"
    assert files.counts.name == "C2.tsv.gz"
    assert files.spots.name == "C2_selection.tsv"
    assert files.pathologist.name == "C2_labeled_coordinates.tsv"
    assert files.cluster.name == "C2-cluster-annotation.tsv.gz"
    image, reduced = files.image()
    assert image.name == "5714_HE_BT_C2.jpg" and not reduced


def test_finds_all_files_of_the_archive_layout(tmp_path):
    touch(
        tmp_path,
        "count-matrices/G2.tsv",
        "spot-selections/G2_selection.tsv.gz",
        "images/HE/G2.jpg",
        "meta/G2_labeled_coordinates.tsv",
    )
    files = find_sections(tmp_path)["G2"]
    assert files.counts.name == "G2.tsv"
    assert files.spots.name == "G2_selection.tsv.gz"
    assert files.pathologist is not None and files.cluster is None
    assert files.image()[0].name == "G2.jpg"


def test_prefers_the_published_gzip_to_an_unzipped_copy(tmp_path):
    touch(tmp_path, "data/ST-cnts/C2.tsv", "data/ST-cnts/C2.tsv.gz")
    assert find_sections(tmp_path)["C2"].counts.suffix == ".gz"


def test_missing_pieces_say_where_they_were_looked_for(tmp_path):
    touch(tmp_path, "data/ST-cnts/C2.tsv.gz")
    files = find_sections(tmp_path)["C2"]
    with pytest.raises(SpatialError, match=r"no spots file.*C2_selection\.tsv\[\.gz\]"):
        files.table("spots")
    with pytest.raises(SpatialError, match=r"no image: expected data/ST-imgs/C/C2/"):
        files.image()


def test_several_images_are_refused_by_name(tmp_path):
    touch(tmp_path, "data/ST-imgs/C/C2/a.jpg", "data/ST-imgs/C/C2/b.jpg")
    with pytest.raises(
        SpatialError, match=r"expected one image, got 2.*a\.jpg.*b\.jpg"
    ):
        find_sections(tmp_path)["C2"].image()


def test_viewer_copy_is_taken_only_where_allowed(tmp_path):
    touch(tmp_path, "data/ST-cnts/A1.tsv.gz", "app/www/imgs/A1_HE_image_dark.png")
    files = find_sections(tmp_path)["A1"]
    assert files.image() == (tmp_path / "app/www/imgs/A1_HE_image_dark.png", True)
    with pytest.raises(SpatialError, match="reduced copy, too coarse"):
        files.image(viewer=False)


@pytest.mark.parametrize("exists", [False, True])
def test_a_source_without_sections_says_what_was_wanted(tmp_path, exists):
    folder = tmp_path / "her2st"
    if exists:
        touch(folder, "README.md", "data/ST-cnts/readme.tsv")
    with pytest.raises(StudyError, match="her2st") as caught:
        find_sections(folder)
    assert str(folder) in str(caught.value)
    assert ("ST-cnts" in str(caught.value)) == exists


def test_real_tree(real_data):
    found = find_sections(real_data / "her2st")
    assert list(found) == ["A1", "B4", "C2", "C3", "C4", "C5"]
    assert found["A1"].image()[1] and found["A1"].pathologist
    assert not found["C5"].image()[1] and found["C5"].pathologist is None
    assert all(files.cluster for files in found.values())


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
