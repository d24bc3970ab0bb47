"""OpenSlide's slides: its own pixels, white where nothing was scanned, named faults."""

import contextlib

import numpy as np
import pytest
from extras import need
from made_slides import slide, tissue, write_tiff

from pathjax.data.images import encode_jpeg
from pathjax.wsi.base import SlideError
from pathjax.wsi.blocks import Blocks
from pathjax.wsi.openslide_file import OpenSlideFile

openslide, tifffile = need("openslide"), need("tifffile")

PIXELS = tissue(300, 400)
YCBCR = {"photometric": "ycbcr", "compression": "jpeg"}
APERIO = {"description": "Aperio Image Library v1\nx|MPP = 0.5", "metadata": None}
# Chroma halved both ways, one way or not; RGB in JPEG; JPEG 2000 as Aperio has it.
LAYOUTS = {
    "4:2:0": {**YCBCR, "subsampling": (2, 2)},
    "4:2:2": {**YCBCR, "subsampling": (2, 1)},
    "4:4:4": {**YCBCR, "subsampling": (1, 1)},
    "of Aperio": {**YCBCR, **APERIO, "subsampling": (2, 2)},
    "BigTIFF": {**YCBCR, "subsampling": (2, 2), "bigtiff": True},
    "LZW": {"photometric": "rgb", "compression": "lzw"},
    "JPEG 2000": {
        "photometric": "rgb",
        "compression": "aperio_jp2000_rgb",
        **APERIO,
    },
}


def drawn(path, x, y, level, width, height):
    """A region by OpenSlide alone, over white."""
    region = openslide.OpenSlide(path).read_region((x, y), level, (width, height))
    pixels = np.asarray(region).astype(int)
    alpha = pixels[..., 3:]
    return (pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255


def agree(path, levels, *, reader, count=12):
    """Whether regions, also across the edges, are OpenSlide's to the bit."""
    with contextlib.closing(OpenSlideFile(path)) as made:
        assert [level.reader for level in made.levels] == reader
        rng = np.random.default_rng(0)
        for _ in range(count):
            level = int(rng.integers(levels))
            sides = made.levels[0].width, made.levels[0].height
            x, y = (int(rng.integers(-60, side)) for side in sides)
            size = rng.integers(1, 200, 2).tolist()
            np.testing.assert_array_equal(
                made.read(x, y, level, *size), drawn(path, x, y, level, *size)
            )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_have_openslides_pixels(tmp_path, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, tile=(80, 64), **LAYOUTS[layout])
    agree(path, 1, reader=["tifffile"])


@pytest.mark.parametrize("name", ["CMU-1-Small-Region", "TCGA-CR-7395-01A-01-TS1"])
def test_blocks_of_real_slides_have_openslides_pixels(real_data, name):
    """JPEG in RGB with tables of its own, and JPEG 2000."""
    path = real_data / "wsi" / f"{name}.svs"
    between = "OpenSlide (tiles lie between pixels, at 1 in 2.00051)"
    levels = 1 if name.startswith("CMU") else 2
    agree(path, levels, reader=["tifffile", between][:levels])


def test_levels_are_read_from_blocks_at_their_own_pixels(tmp_path):
    path = write_tiff(tmp_path / "a.tif", PIXELS, 0.5, levels=(2, 4))
    coarse = "tifffile, OpenSlide between pixels"
    agree(path, 3, reader=["tifffile", coarse, coarse])


def colours(photometric, adobe):
    """The bytes of JPEG tiles whose Adobe marker says what the TIFF may not."""
    for y in range(0, 128, 64):
        for x in range(0, 128, 64):
            data = encode_jpeg(PIXELS[y : y + 64, x : x + 64])
            marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([adobe])
            # In place of JFIF's, which says YCbCr.
            jfif = int.from_bytes(data[4:6], "big")
            yield data[:2] + marker + data[4 + jfif :]


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("adobe", [0, 1])
def test_what_a_jpeg_says_of_its_colours_is_read_as_openslide_does(
    tmp_path, photometric, adobe
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, colours(photometric, adobe), shape=(128, 128, 3), dtype=np.uint8,
        tile=(64, 64), photometric=photometric, compression="jpeg", metadata=None,
    )  # fmt: skip
    with contextlib.closing(OpenSlideFile(path)) as made:
        found = made.read(5, 5, 0, 120, 120).astype(int)
    assert np.abs(found - drawn(path, 5, 5, 0, 120, 120)).max() <= 1


@pytest.mark.parametrize("aperio", [False, True])
def test_tiles_that_were_not_scanned_are_openslides(tmp_path, aperio):
    """White at level 0; of coarser levels OpenSlide draws them from finer ones."""
    path = tmp_path / "a.tif"

    def tiles(pixels):
        for y in range(0, len(pixels), 64):
            for x in range(0, len(pixels), 64):
                scanned = (x, y) != (64, 0)
                yield encode_jpeg(pixels[y : y + 64, x : x + 64]) if scanned else b""

    with tifffile.TiffWriter(path) as file:
        for factor in (1, 2):
            pixels = PIXELS[:256:factor, :256:factor]
            about = {**APERIO} if aperio else {"metadata": None}
            file.write(
                tiles(pixels), shape=pixels.shape, dtype=np.uint8, tile=(64, 64),
                subfiletype=int(factor > 1), **YCBCR, **about, subsampling=(1, 1),
            )  # fmt: skip
    agree(path, 2, reader=["tifffile", "OpenSlide (blocks are missing)"])


def test_blocks_of_other_pixels_are_left_to_openslide(tmp_path, monkeypatch):
    path, inner = write_tiff(tmp_path / "a.tif", PIXELS, 0.5), Blocks.window
    monkeypatch.setattr(Blocks, "window", lambda *place: inner(*place) ^ 2)
    reader = "OpenSlide (tifffile's pixels differ by 2 grey levels)"
    agree(path, 1, reader=[reader], count=3)


def test_no_whole_region_is_expected_of_a_level_between_pixels(real_data):
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    with contextlib.closing(OpenSlideFile(path)) as made:
        made.expect(1, [(3, 5, 20, 20)])
        made.expect(0, [(3, 5, 20, 20)])
        assert made._blocks._needed.sum() == 1


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
