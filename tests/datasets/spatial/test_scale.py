import numpy as np
import pytest

from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.scale import agreed_mpp, fit_array


def grid(rows=5, columns=7):
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)


def test_a_turned_array_is_fitted():
    array = grid()
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])  # right, down
    xy = [30, 40] + (array[:, ::-1] * [10, 20]) @ turn
    fit = fit_array("S", array, xy)
    np.testing.assert_allclose(fit.right, [6, 8])
    np.testing.assert_allclose(fit.down, [-16, 12])
    assert fit.mpp(5.0) == pytest.approx(0.5)
    np.testing.assert_allclose(fit.at(array), xy, atol=1e-9)
    assert fit.warnings(5.0, 10.0, "") == []
    (warning,) = fit.warnings(5.0, 12.0, "")
    assert warning.startswith("columns of the array give 0.5 um/px, rows 0.6")
    (warning,) = fit_array("S", array, xy[:, ::-1]).warnings(5.0, 10.0, " or")
    assert warning == "the array is mirrored in the image: x and y may be swapped or"


def test_spots_on_no_array_and_too_few():
    array = grid()
    xy = np.random.default_rng(0).permutation(array[:, ::-1] * 10.0)
    with pytest.raises(SpatialError, match="off the array"):
        fit_array("S", array, xy)
    assert fit_array("S", array[:5], xy[:5]) is None
    assert fit_array("S", array[:7], array[:7] * 10.0) is None  # one row


def test_evidence_that_agrees():
    assert agreed_mpp("S", {"pitch": 0.5, "factors": 0.52, "tags": 0.51}) == 0.5


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({}, "micrometres per pixel unknown"),
        ({"pitch": 0.5, "factors": 0.53}, "pitch gives 0.5 um/px, factors 0.53"),
        ({"pitch": 0.5, "tags": 350.0}, "tags gives 350 um/px, expected 0.05 to 20"),
        ({"pitch": float("nan")}, "pitch gives nan um/px"),
    ],
)
def test_evidence_that_does_not(evidence, message):
    with pytest.raises(SpatialError, match=message):
        agreed_mpp("S", evidence)
