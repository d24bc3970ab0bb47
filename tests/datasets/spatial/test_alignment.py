import numpy as np
import pytest
from made_xenium import HE_MPP, MATRIX, PIXEL_UM, make, to_he

from pathjax.datasets.spatial.alignment import Alignment
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.sample import SpatialError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("xenium") / "outs")


def align(made, matrix, tmp_path):
    path = tmp_path / "matrix.csv"
    np.savetxt(path, matrix, delimiter=",")
    um = made.cells[["x_centroid", "y_centroid"]].to_numpy()
    image = ImageSource.open(made.folder / "S1_he_image.png")
    return Alignment.read(path).to_image(um / PIXEL_UM, image, PIXEL_UM)


def test_both_directions_give_the_same_places(made, tmp_path):
    um = made.cells[["x_centroid", "y_centroid"]].to_numpy()
    xy, scale, notes = align(made, MATRIX, tmp_path)
    np.testing.assert_allclose(xy, to_he(um), atol=1e-6)
    assert PIXEL_UM * scale == pytest.approx(HE_MPP) and notes == ()
    inverse = np.linalg.inv(MATRIX)
    xy, scale, notes = align(made, inverse, tmp_path)
    np.testing.assert_allclose(xy, to_he(um), atol=1e-4)
    assert PIXEL_UM * scale == pytest.approx(HE_MPP)
    assert "taken as a map from Xenium to H&E pixels" in notes[0]


def test_tissue_decides_where_both_directions_stay_inside(made, tmp_path):
    """A shift by half of the tissue and back: both keep the cells in the image."""
    image = ImageSource.open(made.folder / "S1_he_image.png")
    um = made.cells[["x_centroid", "y_centroid"]].to_numpy()
    he = to_he(um)
    move = np.array([[1.0, 0, 60], [0, 1, 0], [0, 0, 1]])
    for matrix, noted in ((move, False), (np.linalg.inv(move), True)):
        np.savetxt(tmp_path / "matrix.csv", matrix, delimiter=",")
        alignment = Alignment.read(tmp_path / "matrix.csv")
        xy, _, notes = alignment.to_image(he + [60, 0], image, HE_MPP)
        np.testing.assert_allclose(xy, he, atol=1e-6)
        assert bool(notes) == noted


def test_a_matrix_of_another_sample_is_refused(made, tmp_path):
    other = MATRIX.copy()
    other[:2, 2] += 90_000
    with pytest.raises(SpatialError, match=r"0% of the spots.*0% with the inverse"):
        align(made, other, tmp_path)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 3)), r"whose last line is \[0.0, 0.0, 0.0\]"),
        ([[0, 0, 5], [0, 0, 5], [0, 0, 1]], "one point or line"),
        ([[1, 1, 0], [1, 1, 0], [0, 0, 1]], "everything to one line"),
        ([[1, 0.4, 0], [0, 1, 0], [0, 0, 1]], "that skews"),
        ([[1, 0, 0], [0, 2, 0], [0, 0, 1]], "scales x by 1 and y by 2"),
        ([[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]], "no numbers"),
        ([[1, 0, 0], [0, 1, 0]], "of shape 2 x 3"),
    ],
)
def test_degenerate_matrices_are_refused(made, tmp_path, matrix, message):
    with pytest.raises(SpatialError, match=message):
        align(made, np.array(matrix), tmp_path)


def test_a_file_that_is_no_matrix(tmp_path):
    path = tmp_path / "matrix.csv"
    path.write_text("a,b\n")
    with pytest.raises(SpatialError, match="cannot be read as an alignment matrix"):
        Alignment.read(path)
