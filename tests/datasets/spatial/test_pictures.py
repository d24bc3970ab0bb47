import numpy as np
import pytest
from made_spots import MPP, picture, save, spots

from pathjax.datasets.spatial.anndata_file import sample_of
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.pictures import on_white
from pathjax.datasets.spatial.sample import SpatialError


@pytest.fixture
def slide(tmp_path):
    save(tmp_path / "slide.png", picture())
    return str(tmp_path / "slide.png")


def read(adata, image=None):
    return sample_of(adata, "S1", "memory", SpatialOptions(image=image))


def with_pictures(adata, factor=0.5, **kinds):
    image = picture()[::2, ::2] / np.float32(255)  # as scanpy keeps a PNG
    factors = {"tissue_hires_scalef": factor, "spot_diameter_fullres": 32.5}
    library = {"images": {"hires": image, **kinds}, "scalefactors": factors}
    adata.uns["spatial"] = {"lib": library}
    return adata


def test_pictures_inside_are_used_only_when_asked_for(slide):
    adata = with_pictures(spots())
    with pytest.raises(
        SpatialError, match=r"only hires \(200 x 200 px, 4 um/px\).*--image hires"
    ):
        read(adata)
    with pytest.raises(SpatialError, match="no picture lowres: it has hires"):
        read(adata, "lowres")
    sample = read(adata, "hires")
    np.testing.assert_allclose(sample.positions, adata.obsm["spatial"] / 2)
    assert sample.mpp == {"spot pitch": pytest.approx(2 * MPP)}
    assert sample.image.note == "hires image of AnnData"
    region = sample.image.read(0, 0, 200, 200)
    np.testing.assert_array_equal(region, picture()[::2, ::2])
    assert read(adata, slide).image.size == (400, 400)


def test_a_reduced_picture_given_as_the_full_one_is_refused(tmp_path):
    adata = with_pictures(spots())
    save(tmp_path / "small.png", picture()[::2, ::2])
    with pytest.raises(
        SpatialError, match=r"200 x 200 px.*about 400 x 400 px: it is as large as hires"
    ):
        read(adata, str(tmp_path / "small.png"))


def test_what_is_transparent_is_white():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = [10, 20, 30, 255]
    expected = np.full((2, 2, 3), 255)
    expected[0, 0] = [10, 20, 30]
    np.testing.assert_array_equal(on_white(pixels), expected)
