"""OpenSlide's slides: its own pixels, white where nothing was scanned, named faults."""

import numpy as np
from extras import need
from made_slides import slide, write_tiff

from pathjax.wsi.base import SlideError
from pathjax.wsi.openslide_file import OpenSlideFile

openslide = need("openslide")


def test_a_real_slide_has_its_size_mpp_and_pixels(real_data):
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    made, own = OpenSlideFile(path), openslide.OpenSlide(path)
    assert (made.levels[0].width, made.levels[0].height) == (2220, 2967)
    assert made.mpp == 0.499 and made.mpp_source == "openslide.mpp"
    for x, y in ((0, 0), (700, 1301), (2000, 2700)):
        expected = own.read_region((x, y), 0, (220, 100)).convert("RGB")
        np.testing.assert_array_equal(
            made.read(x, y, 0, 220, 100), np.asarray(expected)
        )


def test_jpeg_2000_levels_and_a_slide_that_keeps_its_mpp_to_itself(real_data):
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    made, own = OpenSlideFile(path), openslide.OpenSlide(path)
    assert [(one.width, one.height) for one in made.levels] == [*own.level_dimensions]
    assert made.mpp is None and "openslide.mpp-x" in made.mpp_source
    expected = own.read_region((1501, 1200), 1, (300, 200)).convert("RGB")
    np.testing.assert_array_equal(
        made.read(1501, 1200, 1, 300, 200), np.asarray(expected)
    )


def test_beyond_the_slide_is_white(tmp_path):
    pixels = slide(100, 120)
    made = OpenSlideFile(write_tiff(tmp_path / "a.tif", pixels, 0.5))
    region = made.read(100, 80, 0, 60, 50)
    np.testing.assert_array_equal(region[:20, :20], pixels[80:, 100:])
    assert (region[20:] == 255).all() and (region[:, 20:] == 255).all()


def test_a_truncated_slide_is_named_at_whatever_byte_it_ends(real_data, tmp_path):
    whole = (real_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    path, faults = tmp_path / "cut.svs", 0
    for share in np.linspace(0.001, 0.95, 12):
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            cut = OpenSlideFile(path)
            for y in range(0, 2967, 240):
                cut.read(0, y, 0, 2220, 240)
            cut.close()
        except SlideError as error:
            assert "cut.svs" in str(error)
            faults += 1
    assert faults == 12
