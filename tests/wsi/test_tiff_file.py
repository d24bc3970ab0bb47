"""TIFF by tifffile: any window equals the array's, mpp by tags, refusal of the rest."""

import concurrent.futures
import contextlib

import numpy as np
import pytest
from extras import extra
from made_slides import slide, write_tiff
from PIL import Image

from pathjax.wsi import blocks
from pathjax.wsi.base import SlideError
from pathjax.wsi.tiff_file import TiffFile

openslide = extra("openslide")
tifffile = extra("tifffile")

PIXELS = slide(230, 310)
LAYOUTS = {
    "tiles": {},
    "strips": {"tile": None, "rowsperstrip": 17},
    "one strip": {"tile": None, "rowsperstrip": 230},
    "oblong tiles": {"tile": (32, 112), "compression": "lzw"},
    "raw": {"tile": None, "compression": None},
}


@pytest.fixture
def opened():
    """Opens slides that are closed when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(contextlib.closing(TiffFile(path)))


def windows(rng, count):
    for _ in range(count):
        x, y = rng.integers(-30, 320), rng.integers(-30, 240)
        yield int(x), int(y), *rng.integers(1, 150, 2).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_window_is_the_arrays_and_white_beyond(
    tmp_path, layout, monkeypatch, opened
):
    monkeypatch.setattr(blocks, "CACHE_BYTES", 30_000)  # so that blocks are dropped
    made = opened(write_tiff(tmp_path / "a.tif", PIXELS, 0.5, **LAYOUTS[layout]))
    padded = np.full((230 + 600, 310 + 600, 3), 255, np.uint8)
    padded[300:530, 300:610] = PIXELS
    for x, y, width, height in windows(np.random.default_rng(0), 25):
        np.testing.assert_array_equal(
            made.read(x, y, 0, width, height),
            padded[300 + y : 300 + y + height, 300 + x : 300 + x + width],
        )


def test_threads_share_a_slide(tmp_path, opened):
    made = opened(write_tiff(tmp_path / "a.tif", PIXELS, 0.5))
    places = [(x, y) for y in range(0, 200, 30) for x in range(0, 280, 30)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: made.read(*place, 0, 30, 30), places))
    for (x, y), region in zip(places, found, strict=True):
        np.testing.assert_array_equal(region, PIXELS[y : y + 30, x : x + 30])


def test_pyramid_levels_are_found(tmp_path, opened):
    path = tmp_path / "a.ome.tif"
    small = np.asarray(Image.fromarray(PIXELS).reduce(2))
    with tifffile.TiffWriter(path, ome=True) as file:
        sizes = {"PhysicalSizeX": 0.26, "PhysicalSizeY": 0.26}
        options = {"photometric": "rgb", "tile": (64, 64)}
        file.write(PIXELS, subifds=1, metadata={"axes": "YXS", **sizes}, **options)
        file.write(small, subfiletype=1, **options)
    made = opened(path)
    assert [level.downsample for level in made.levels] == [1.0, 2.0]
    assert made.mpp == 0.26 and made.mpp_source == "ome.PhysicalSize"
    np.testing.assert_array_equal(made.read(40, 20, 1, 50, 40), small[10:50, 20:70])


def test_agrees_with_openslide_on_real_jpeg_blocks(real_data, opened):
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    region = opened(path).read(900, 1000, 0, 400, 300)
    own = openslide.OpenSlide(path).read_region((900, 1000), 0, (400, 300))
    # Two JPEG decoders, which may round chroma differently.
    difference = np.abs(region.astype(int) - np.asarray(own.convert("RGB")))
    assert difference.mean() < 0.5 and difference.max() <= 8


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20_000, 20_000), "CENTIMETER", 0.5),
        ((101_600, 101_600), "INCH", 0.25),
        ((72, 72), "INCH", None),
        ((20_000, 20_000), "NONE", None),
    ],
)
def test_mpp_by_resolution_tags_where_plausible(
    tmp_path, resolution, unit, mpp, opened
):
    path = tmp_path / "a.tif"
    options = {"resolution": resolution, "resolutionunit": unit}
    tifffile.imwrite(path, PIXELS, photometric="rgb", **options)
    made = opened(path)
    assert made.mpp == (None if mpp is None else pytest.approx(mpp))


@pytest.mark.parametrize(
    ("pixels", "photometric"),
    [
        (PIXELS.astype(np.uint16), "rgb"),
        (PIXELS[..., 0], "minisblack"),
    ],
)
def test_other_than_8_bit_rgb_is_refused(tmp_path, pixels, photometric):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric)
    with pytest.raises(SlideError, match="expected 8-bit RGB"):
        TiffFile(tmp_path / "a.tif")


def test_a_truncated_file_is_refused_before_anything_is_read(tmp_path):
    path = write_tiff(tmp_path / "a.tif", PIXELS, 0.5)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SlideError, match="truncated"):
        TiffFile(path)


def test_a_damaged_block_is_named(tmp_path, opened):
    path = write_tiff(tmp_path / "a.tif", PIXELS, 0.5)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    with pytest.raises(SlideError, match="broken at block 0 of level 0"):
        opened(path).read(0, 0, 0, 10, 10)


def test_damaged_headers_raise_slide_errors_only(tmp_path):
    """300 files with random bytes of header and tags changed."""
    path = write_tiff(tmp_path / "a.tif", slide(64, 64), 0.5, tile=None)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].offset
    whole_ones = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 8)):
            place = rng.integers(0, 8) if rng.random() < 0.3 else tags
            data[(place + rng.integers(0, 200)) % len(data)] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        try:
            with contextlib.closing(TiffFile(path)) as made:
                made.read(0, 0, 0, 64, 64)
            whole_ones += 1
        except SlideError as error:
            assert str(path) in str(error)
    assert 0 < whole_ones < 300
