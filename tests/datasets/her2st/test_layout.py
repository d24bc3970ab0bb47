import pytest

from pathjax.data.study import StudyError
from pathjax.datasets.her2st.source import find_sections
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
