"""TIFFs of no known scanner: what they say of mpp and pixels, whoever opens them."""

import contextlib

import numpy as np
import pytest
from extras import extra
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_slides import slide, write_tiff

from pathjax.wsi.base import SlideError
from pathjax.wsi.openslide_file import OpenSlideFile
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tiff_file import TiffFile

openslide = extra("openslide")
tifffile = extra("tifffile")

PIXELS = slide(230, 310)
LAYOUTS = {OpenSlideFile: {"tile": (64, 64)}, TiffFile: {"rowsperstrip": 64}}
both_readers = pytest.mark.parametrize("reader", LAYOUTS)


def opened(path, reader):
    """The mpp and source of a slide, after a check of who opened it."""
    with contextlib.closing(open_slide(path)) as made:
        assert type(made) is reader
        return made.mpp, made.mpp_source


def write(path, reader, pixels=PIXELS, **options):
    options = {"photometric": "rgb", "metadata": None, **options}
    tifffile.imwrite(path, pixels, **LAYOUTS[reader], **options)
    return path


@both_readers
@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [(72, "INCH", 352.8), (10, "CENTIMETER", 1000), (400_000, "CENTIMETER", 0.025)],
)
def test_tags_that_no_scanner_wrote(tmp_path, reader, resolution, unit, mpp):
    """72 dpi of ImageMagick, 1 px/mm of libvips, a scale off by ten."""
    options = {"resolution": (resolution, resolution), "resolutionunit": unit}
    mpp_read, reason = opened(write(tmp_path / "a.tif", reader, **options), reader)
    assert mpp_read is None
    assert f"{mpp:.4g} x {mpp:.4g} um/px, which no scanner has" in reason


def ome(size, unit, axes="YXS"):
    sizes = {f"PhysicalSize{axis}": size for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    return {"ome": True, "metadata": {"axes": axes, **sizes, **units}}


@both_readers
@pytest.mark.parametrize(
    ("size", "unit"), [(0.25, "µm"), (250, "nm"), (0.00025, "mm"), (0.25, "um")]
)
def test_units_of_ome(tmp_path, reader, size, unit):
    path = write(tmp_path / "a.ome.tif", reader, **ome(size, unit))
    assert opened(path, reader) == (pytest.approx(0.25), "ome.PhysicalSize")


@both_readers
def test_tags_that_disagree_with_ome(tmp_path, reader):
    def by(resolution, size=0.25):
        options = {"resolution": (resolution,) * 2, "resolutionunit": "CENTIMETER"}
        path = tmp_path / "a.ome.tif"
        return opened(write(path, reader, **ome(size, "µm"), **options), reader)

    assert by(40_000)[0] == pytest.approx(0.25)
    assert by(40_000, 0.252)[0] == pytest.approx(0.252)
    assert by(10)[0] == pytest.approx(0.25)  # libvips' default says nothing
    mpp, reason = by(20_000)
    assert mpp is None and "says 0.25 um/px" in reason and "0.5" in reason


def test_tags_that_disagree_with_aperio(tmp_path):
    """A scan made smaller by software that keeps the description."""
    text = "Aperio Image Library v11\n310x230 (64x64) JPEG Q=80|AppMag = 40|MPP = 0.25"

    def by(resolution):
        options = {"resolution": (resolution,) * 2, "resolutionunit": "CENTIMETER"}
        path = tmp_path / "a.svs"
        options |= {"compression": "jpeg", "description": text}
        return opened(write(path, OpenSlideFile, **options), OpenSlideFile)

    assert by(40_000) == (0.25, "openslide.mpp")
    mpp, reason = by(20_000)
    assert mpp is None
    assert reason == "openslide.mpp says 0.25 um/px, tiff.XResolution 0.5"


def test_ome_pixels_of_unknown_unit_are_no_statement(tmp_path):
    path = write(tmp_path / "a.ome.tif", TiffFile, **ome(1, "pixel"))
    assert opened(path, TiffFile)[0] is None


@both_readers
@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (PIXELS.transpose(2, 0, 1), ome(0.25, "µm", "CYX")),
        (PIXELS.transpose(2, 0, 1), {}),
        (PIXELS[..., 0], {}),
        (PIXELS.astype(np.uint16) * 16, {"photometric": "rgb"}),
    ],
)
def test_other_pixels_than_8_bit_rgb_are_refused(tmp_path, reader, pixels, options):
    """OpenSlide shows the first of three grey pages, or a nearly black picture."""
    path = tmp_path / "a.ome.tif"
    write(path, reader, pixels, **{"photometric": "minisblack", **options})
    if reader is OpenSlideFile:
        assert openslide.OpenSlide(path).dimensions == (310, 230)
    with pytest.raises(SlideError, match="expected 8-bit RGB, got") as error:
        open_slide(path)
    assert len(str(error.value)) < 600


def test_planes_of_rgb_are_rgb(tmp_path):
    """Stored plane by plane (PlanarConfiguration 2), not as pages."""
    path = tmp_path / "a.tif"
    planes = PIXELS.transpose(2, 0, 1)
    write(path, OpenSlideFile, planes, planarconfig="separate")
    with contextlib.closing(open_slide(path)) as made:
        np.testing.assert_array_equal(
            made.read(20, 10, 0, 50, 40), PIXELS[10:50, 20:70]
        )
    write(path, TiffFile, planes, planarconfig="separate")
    with pytest.raises(SlideError, match="expected 8-bit RGB"):
        open_slide(path)


def test_a_plain_pyramid_stays_as_it_was(tmp_path):
    path = write_tiff(tmp_path / "a.tif", PIXELS, 0.5, levels=(2,))
    assert opened(path, OpenSlideFile) == (0.5, "openslide.mpp")


@settings(max_examples=120, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 4]),
    bits=st.sampled_from([8, 8, 8, 1, 12, 16]),
    planes=st.sampled_from(["pixels", "planes", "pages"]),
    tiled=st.booleans(),
    compression=st.sampled_from([None, "deflate", "lzw", "jpeg"]),
    ome_xml=st.booleans(),
)
def test_any_tiff_gives_its_pixels_or_a_named_error(tmp_path_factory, **kind):
    """Never grey, never nearly black, never a traceback."""
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    pixels = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    pixels = pixels[..., : kind["channels"]]
    if kind["bits"] == 1:
        pixels = pixels > 128
    elif kind["bits"] > 8:
        pixels = pixels.astype(np.uint16) << (kind["bits"] - 8)
    options = {"tile": (64, 64)} if kind["tiled"] else {}
    options |= {"photometric": "rgb" if kind["channels"] > 2 else "minisblack"}
    if kind["channels"] == 4:
        options["extrasamples"] = ["unassalpha"]
    if kind["planes"] == "pages":
        options["photometric"] = "minisblack"
        options.pop("extrasamples", None)
    if kind["planes"] != "pixels":
        pixels = np.moveaxis(pixels, 2, 0)
        if kind["planes"] == "planes":
            options["planarconfig"] = "separate"
    elif kind["channels"] == 1:
        pixels = pixels[..., 0]
    if kind["ome_xml"]:
        options |= {"ome": True}
    try:
        tifffile.imwrite(path, pixels, compression=kind["compression"], **options)
    except (ValueError, TypeError, NotImplementedError, RuntimeError):
        assume(False)  # tifffile cannot write such a file
    try:
        with contextlib.closing(open_slide(path)) as made:
            found = made.read(20, 10, 0, 50, 40)
    except SlideError as error:
        assert str(path) in str(error) and len(str(error)) < 600
        return
    assert kind["bits"] == 8 and kind["channels"] > 2 and kind["planes"] != "pages"
    difference = np.abs(found.astype(int) - PIXELS[10:50, 20:70])
    assert difference.mean() < (8 if kind["compression"] == "jpeg" else 0.01)
