import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from pathjax.datasets.her2st import image as module
from pathjax.datasets.her2st.image import (
    background_colour,
    blanked,
    block_px,
    image_size,
    read_image,
    tissue_mask,
)
from pathjax.datasets.her2st.source import SectionError


def picture(height=60, width=90, seed=0):
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return ramp.astype(np.uint8)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_reads_jpeg_and_png(tmp_path):
    array = picture()
    (tmp_path / "a.png").write_bytes(png(array))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), array)
    assert image_size(tmp_path / "a.png") == (90, 60)
    # The bytes decide, not the name.
    data = simplejpeg.encode_jpeg(array, quality=95)
    (tmp_path / "b.png").write_bytes(data)
    assert image_size(tmp_path / "b.png") == (90, 60)
    assert np.abs(read_image(tmp_path / "b.png").astype(int) - array).mean() < 3


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_truncated_images_are_refused_by_name(tmp_path, kind, share):
    array = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    data = simplejpeg.encode_jpeg(array) if kind == "jpg" else png(array)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    assert image_size(path) == (200, 200)  # the header is whole
    with pytest.raises(SectionError, match=rf"cut\.{kind} is broken"):
        read_image(path)


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a" + b"x" * 50, b"\xff\xd8\xff" + b"x" * 9]
)
def test_other_files_are_no_images(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(SectionError, match=r"a\.jpg is no readable JPEG or PNG"):
        image_size(tmp_path / "a.jpg")
    with pytest.raises(
        SectionError, match=r"a\.jpg cannot be read|a\.jpg is no readable"
    ):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_the_limit_on_pixels_holds(tmp_path, kind, monkeypatch):
    array = picture(100, 100)
    data = simplejpeg.encode_jpeg(array) if kind == "jpg" else png(array)
    path = tmp_path / f"big.{kind}"
    path.write_bytes(data)
    read_image(path)
    monkeypatch.setattr(module, "MAX_PIXELS", 9_999)
    with pytest.raises(SectionError, match=r"big\.(jpg|png) has 100 x 100 pixels"):
        read_image(path)


def stained(seed=0):
    """Glass, a saturated but smooth smear, and textured tissue."""
    rng = np.random.default_rng(seed)
    image = np.full((400, 600, 3), (240, 236, 238), np.uint8)
    image[:, 400:] = (250, 190, 215)
    tissue = np.zeros((400, 600), bool)
    tissue[80:240, 80:320] = True
    nuclei = rng.random((400, 600)) < 0.3
    image[tissue & nuclei] = (70, 50, 120)
    image[tissue & ~nuclei] = (225, 180, 205)
    return image, tissue


def test_tissue_is_told_from_a_smear_of_bled_stain():
    image, tissue = stained()
    mask = tissue_mask(image, 8)
    np.testing.assert_array_equal(mask, tissue[4::8, 4::8])


def test_background_is_the_glass():
    image, _ = stained()
    image[:40] = 0  # blanked
    np.testing.assert_array_equal(background_colour(image, 8), (240, 236, 238))


def test_blanked_areas_count_with_their_rim_but_specks_do_not():
    image, _ = stained()
    image[:40] = 0
    image[40] = (30, 20, 30)  # half blanked
    image[200:204, 200:204] = 0
    expected = np.zeros(image.shape[:2], bool)
    expected[:43] = True
    np.testing.assert_array_equal(blanked(image), expected)


def test_blocks_follow_the_resolution():
    assert block_px(0.5) == 32 and block_px(16 / 24) == 24
    assert block_px(100.0) == 4


def test_real_viewer_copy_is_blanked_and_its_glass_found(real_data):
    path = real_data / "her2st/app/www/imgs/A1_HE_image_dark.png"
    assert image_size(path) == (2000, 2138)
    image = read_image(path)
    assert 0.5 < blanked(image).mean() < 0.7
    colour = background_colour(image, block_px(3.185)).astype(int)
    assert colour.min() > 200  # glass, not the black around it
