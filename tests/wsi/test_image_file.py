"""Plain pictures: windows, transparency, faults, the limit."""

import numpy as np
import pytest
from made_slides import slide
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.tile_source import read_image
from pathjax.wsi import image_file
from pathjax.wsi.base import SlideError
from pathjax.wsi.image_file import ImageFile, window


def test_windows_reach_beyond_the_picture_in_white():
    pixels = slide(20, 30)
    padded = np.full((120, 130, 3), 255, np.uint8)
    padded[50:70, 50:80] = pixels
    for x, y in ((0, 0), (-5, -9), (25, 15), (-5, 12), (40, 3), (-40, -40)):
        np.testing.assert_array_equal(
            window(pixels, x, y, 25, 18), padded[50 + y : 68 + y, 50 + x : 75 + x]
        )


def test_it_is_decoded_as_a_tile_and_as_an_image_of_a_folder(tmp_path):
    """Part of it was not scanned, which OpenSlide leaves as (0, 0, 0, 0)."""
    pixels = np.dstack([slide(40, 40), np.full((40, 40), 255, np.uint8)])
    pixels[:, 20:] = 0
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    expected = np.concatenate([slide(40, 40)[:, :20], np.full((40, 20, 3), 255)], 1)
    for found in (
        ImageFile(path).read(0, 0, 0, 40, 40),
        read_image(path),
        decode_tile(path.read_bytes()),
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.zeros((10, 10, 4), np.uint8)
    pixels[:5] = (200, 100, 150, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made = ImageFile(tmp_path / "a.png").read(0, 0, 0, 10, 10)
    assert (made[:5] == (200, 100, 150)).all() and (made[5:] == 255).all()


def test_a_picture_says_no_mpp_whatever_its_print_resolution(tmp_path):
    Image.fromarray(slide(20, 20)).save(tmp_path / "a.jpg", dpi=(50800, 50800))
    assert ImageFile(tmp_path / "a.jpg").mpp is None


def test_truncated_and_oversized_ones_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    Image.fromarray(slide(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SlideError, match=r"a\.jpg is not a complete image"):
        ImageFile(path)
    path.write_bytes(b"junk")
    with pytest.raises(SlideError, match=r"a\.jpg is not a complete image"):
        ImageFile(path)
    Image.fromarray(slide(20, 30)).save(path)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 599)
    with pytest.raises(SlideError, match="30 x 20 px.*tiled TIFF"):
        ImageFile(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SlideError, match="tiled TIFF"):
        ImageFile(path)


def test_pillows_own_limit_does_not_warn_below_ours(tmp_path, monkeypatch):
    Image.fromarray(slide(20, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 400
    )  # warns from there to its double
    assert ImageFile(tmp_path / "a.png").bounds == (0, 0, 30, 20)
