import dataclasses

import pytest
from made_spots import MPP, picture, spots

from pathjax.datasets.spatial.anndata_file import sample_of
from pathjax.datasets.spatial.checks import checked
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError

OPTIONS = SpatialOptions(tile_um=32.0, tile_px=16)


@pytest.fixture
def sample():
    image = ImageSource.of_array(picture())
    return sample_of(spots(), "S1", "memory", OPTIONS, image=image)


def test_a_sound_sample_has_no_warning(sample):
    same, mpp, seen = checked(sample, OPTIONS)
    assert same.notes == () and mpp == pytest.approx(MPP)
    assert len(same.positions) == 36 and seen.thumbnail.shape == (400, 400, 3)


def test_enlarged_tiles_and_a_reduced_image_are_said(sample):
    image = dataclasses.replace(sample.image, note="hires image")
    sample = dataclasses.replace(sample, image=image)
    noted, _, _ = checked(sample, SpatialOptions(tile_um=32.0, tile_px=64))
    assert noted.notes[0] == "hires image is used: 2 um/px"
    assert noted.notes[1].startswith("tiles are enlarged 4.0 times")


def test_spots_outside_are_left_out_if_they_are_few(sample):
    moved = sample.positions.copy()
    moved[:, 0] += 400
    with pytest.raises(SpatialError, match="36 of 36 spots are outside"):
        checked(dataclasses.replace(sample, positions=moved), OPTIONS)
