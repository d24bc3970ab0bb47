import numpy as np
import pandas as pd
import pytest

from pathjax.datasets.her2st.section import (
    base_symbol,
    blanked,
    normalised,
    read_section,
    read_slide,
)
from pathjax.datasets.her2st.source import find_sections
from pathjax.datasets.spatial.sample import SpatialError


def read(root, section="C2"):
    return read_section(find_sections(root)[section])


def row_of(rows, spot):
    """The row of a spot in made-up counts, or in made-up positions or labels."""
    x, y = spot.split("x")
    return next(
        row
        for row in rows
        if row[0] == spot
        or row[:2] == [x, y]
        or row[3:] == [x, y]
        or (row[0] == "row" and [str(round(float(v))) for v in row[1:3]] == [x, y])
    )


def test_joins_by_spot_whatever_the_order(tmp_path, made):
    content = made("C2")
    content.write(tmp_path)
    section = read(tmp_path)
    obs, counts = section.counts.obs, section.counts.X.toarray()
    assert section.left_out == ()
    assert len(obs) == len(content.counts) - 1 == 36
    assert section.sample_ids[0] == f"C2_{obs.index[0]}"
    for i, (name, row) in enumerate(obs.iterrows()):
        assert name == f"{row['array_col']}x{row['array_row']}"
        np.testing.assert_array_equal(
            counts[i], np.array(row_of(content.counts, name)[1:], float)
        )
        assert section.positions[i, 0] == float(row_of(content.spots, name)[4])
        assert row["cluster"] == f"C:{row_of(content.clusters, name)[2]}"
        label = row_of(content.labels, name)[5]
        if label == "undetermined":
            assert pd.isna(row["pathologist"])
        else:
            assert row["pathologist"] == "invasive cancer"
    assert section.mpp == {"spot pitch": pytest.approx(5.0, rel=0.01)}


def test_spots_in_one_file_only_are_named(tmp_path, made):
    content = made("C2")
    content.counts.remove(row_of(content.counts, "5x9"))
    content.spots.remove(row_of(content.spots, "6x9"))
    content.write(tmp_path)
    section = read(tmp_path)
    assert ("5x9", "has a position, but no C2.tsv.gz") in section.left_out
    assert ("6x9", "in C2.tsv.gz, but it has no position") in section.left_out
    assert len(section.sample_ids) == 34
    assert not {"C2_5x9", "C2_6x9"} & set(section.sample_ids)


def test_labels_that_match_nothing_are_named(tmp_path, made):
    content = made("C2")
    content.clusters.append(["1x1", "C2", "4", "30", "30"])
    content.labels.append(["row", "29.9", "30.2", "0", "0", "adipose tissue"])
    content.write(tmp_path)
    section = read(tmp_path)
    assert [what for what, _ in section.left_out] == ["30x30", "30x30"]
    assert "cluster-annotation" in section.left_out[0][1]
    assert "labeled_coordinates" in section.left_out[1][1]
    assert len(section.sample_ids) == 36


def test_a_broken_label_file_costs_the_labels_only(tmp_path, made):
    made("C2").write(tmp_path)
    path = tmp_path / "res/ST-cluster/lbl/C2-cluster-annotation.tsv.gz"
    path.write_bytes(path.read_bytes()[:40])
    section = read(tmp_path)
    assert section.counts.obs["cluster"].isna().all()
    assert section.counts.obs["pathologist"].notna().any()
    [(what, reason)] = section.left_out
    assert what == path.name and "cannot be read" in reason


def test_spots_far_from_the_grid_or_outside_the_image_are_named(tmp_path, made):
    content = made("C2")
    far = row_of(content.spots, "7x11")
    far[2:6] = ["3.000", "4.000", "80.0", "120.0"]
    content.write(tmp_path)
    section = read(tmp_path)
    assert "C2_7x11" not in section.sample_ids
    [(what, reason)] = section.left_out
    assert what == "7x11" and "pitches from its array position" in reason


def test_a_bad_pitch_names_the_file(tmp_path, made):
    content = made("C2")
    content.spots = [[*row[:4], row[5], row[4], *row[6:]] for row in content.spots]
    content.spots[0][4:6] = ["pixel_x", "pixel_y"]
    content.write(tmp_path)
    with pytest.raises(
        SpatialError, match=r"C2_selection\.tsv: bad spot pitch.*swapped"
    ):
        read_slide(find_sections(tmp_path)["C2"])


def test_an_image_of_another_shape_is_refused_by_name(tmp_path, made):
    content = made("C2")
    content.image = content.image[:900]
    content.write(tmp_path)
    with pytest.raises(SpatialError, match=r"made_HE_C2\.jpg: the image is 1280 x 900"):
        read_slide(find_sections(tmp_path)["C2"])


def test_a_reduced_image_has_its_own_mpp(tmp_path, made):
    content = made("C2")
    content.image = np.ascontiguousarray(content.image[::2, ::2])
    content.write(tmp_path)
    slide = read_slide(find_sections(tmp_path)["C2"])
    assert slide.mpp == pytest.approx(10.0, rel=0.01)
    position = next(row for row in content.spots if row[:2] == ["6", "9"])
    assert slide.spots.loc[(6, 9), "pixel_x"] == float(position[4]) / 2


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("data/ST-imgs/C/C2/made_HE_C2.jpg", "no image: expected"),
        ("data/ST-cnts/C2.tsv.gz", "no counts file: expected"),
        ("data/ST-spotfiles/C2_selection.tsv", "no spots file: expected"),
    ],
)
def test_missing_files_are_fatal_for_the_section(tmp_path, made, missing, reason):
    made("C2").write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(SpatialError, match=reason):
        read(tmp_path)


def test_no_spot_in_common_is_fatal_for_the_section(tmp_path, made):
    content = made("C2")
    for row in content.counts[1:]:
        row[0] = f"{int(row[0].split('x')[0]) + 50}x1{row[0].split('x')[1]}"
    content.write(tmp_path)
    with pytest.raises(SpatialError, match="no spot in common; first of 72 problems"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Invasive  cancer ", "invasive cancer"),
        ("cancer_in_situ", "cancer in situ"),
        ("undetermined", None),
        ("", None),
        ("NA", None),
        ("3", "3"),
    ],
)
def test_labels_are_normalised(label, expected):
    assert normalised(label) == expected


def test_only_symbols_that_r_renamed_have_another(tmp_path):
    listed = {"MATR3", "MATR3.1", "AC243756.1"}
    found = [base_symbol(gene, listed) for gene in ("MATR3.1", "AC243756.1", "MATR3")]
    assert found == ["MATR3", "AC243756.1", "MATR3"]


def test_blanked_areas_count_with_their_rim_but_specks_do_not():
    image = np.full((100, 80, 3), 200, np.uint8)
    image[:40] = 0
    image[40] = (30, 20, 30)  # half blanked
    image[70:74, 30:34] = 0
    expected = np.zeros(image.shape[:2], bool)
    expected[:43] = True
    np.testing.assert_array_equal(blanked(image), expected)


def test_real_section_with_the_viewers_copy(real_data):
    section = read(real_data / "her2st", "A1")
    assert "of the viewer" in section.image.note
    assert section.mpp["spot pitch"] == pytest.approx(3.185, abs=2e-3)
    # The black around the tissue, more than half of the picture, is glass now.
    pixels = section.image.read(0, 0, *section.image.size)
    assert (pixels.max(axis=-1) <= 20).mean() < 1e-4
    assert len(section.sample_ids) == 346
    # 348 spots are labelled; two have no counts, and five are undetermined.
    assert section.counts.obs["pathologist"].notna().sum() == 341
