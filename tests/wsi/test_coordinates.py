"""Files of TRIDENT and CLAM: read alike, and refused where they do not fit."""

import types
from pathlib import Path

import h5py
import numpy as np
import pytest

from pathjax.wsi.base import Level
from pathjax.wsi.coordinates import (
    Coordinates,
    SlideError,
    check_coordinates,
    find_coordinates,
    read_coordinates,
)

PLACES = np.array([[0, 0], [512, 0], [0, 512]])


def write_h5(path, places=PLACES, **attributes):
    with h5py.File(path, "w") as file:
        coords = file.create_dataset("coords", data=places)
        coords.attrs.update(attributes)
    return path


def trident(path, places=PLACES, side=512, **more):
    attributes = {"patch_size": 256, "patch_size_level0": side, "overlap": 0}
    return write_h5(path, places, **attributes, target_magnification=20, **more)


def clam(path, places=PLACES, size=256, downsample=(2.0, 2.0)):
    attributes = {"patch_size": size, "patch_level": 1, "downsample": downsample}
    return write_h5(path, places, **attributes, name="a")


def test_both_say_the_same(tmp_path):
    for path in (trident(tmp_path / "a.h5"), clam(tmp_path / "b.h5")):
        found = read_coordinates(path)
        np.testing.assert_array_equal(found.places, PLACES)
        assert found.places.dtype == np.int64 and found.side == 512.0


def test_files_are_found_by_the_slides_name(tmp_path):
    def found(slide_id, slide):
        return find_coordinates(tmp_path, slide_id, f"/slides/{slide}").name

    trident(tmp_path / "B_patches.h5")
    assert found("B", "B.svs") == "B_patches.h5"
    trident(tmp_path / "B.h5")
    assert found("B", "B.svs") == "B.h5"
    # An id has no spaces, the file that TRIDENT writes keeps them.
    trident(tmp_path / "Case 12 HE_patches.h5")
    assert found("Case_12_HE", "Case 12 HE.tif") == "Case 12 HE_patches.h5"
    with pytest.raises(SlideError, match=r"neither A\.h5 nor A_patches\.h5"):
        found("A", "A.svs")
    with pytest.raises(SlideError, match=r"A 1\.h5 nor A 1_patches\.h5"):
        found("A_1", "A 1.svs")
    with pytest.raises(SlideError, match="File name too long"):
        found("A" * 300, "A.svs")
    trident(tmp_path / "Case_12_HE.h5")
    with pytest.raises(SlideError, match="Case_12_HE.h5 and Case 12 HE_patches.h5"):
        found("Case_12_HE", "Case 12 HE.tif")


def test_what_is_no_such_file_is_named(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(SlideError, match=r"a\.h5 is not a file of coordinates"):
        read_coordinates(path)
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(SlideError, match=r"a\.h5 is not a file of coordinates"):
        read_coordinates(path)
    for attributes in (
        {},
        {"patch_size": 256},
        {"patch_size_level0": 0},
        {"patch_size_level0": np.nan},
        {"patch_size_level0": "large"},
        {"patch_size": 256, "downsample": []},
    ):
        with pytest.raises(SlideError, match=r"a\.h5 is not a file of coordinates"):
            read_coordinates(write_h5(path, **attributes))
    for places in (PLACES.astype(float), PLACES[:, :1], PLACES[0]):
        with pytest.raises(SlideError, match="expected coords of integers"):
            read_coordinates(trident(path, places))


def check(places, side=512.0, expected=512.0):
    made = types.SimpleNamespace(levels=(Level(2000, 1000, 1.0),))
    found = Coordinates(np.asarray(places).reshape(-1, 2), side)
    check_coordinates(Path("a.h5"), found, made, expected)


def test_what_fits_passes():
    check(PLACES[:2])
    check([[1488, 488]])
    check(PLACES[:2], expected=512 / 1.09)
    check(PLACES[:2], expected=512 / 0.91)


def test_what_does_not_fit_is_refused():
    with pytest.raises(SlideError, match="2 of 3 tiles are beyond .* 1489, 0"):
        check([[0, 0], [1489, 0], [0, -1]])
    with pytest.raises(SlideError, match="1 tiles are listed twice"):
        check([[0, 0], [0, 0]])
    with pytest.raises(SlideError, match="no coordinates"):
        check([])
    for expected in (512 / 1.11, 512 / 0.89):
        with pytest.raises(SlideError, match="level-0 px by --mpp.*got 512: "):
            check(PLACES[:2], expected=expected)
