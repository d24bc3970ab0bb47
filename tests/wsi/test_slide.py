"""Opening: the first reader that can, and named errors for what none can."""

import sys

import numpy as np
import pytest
from extras import need
from made_slides import slide, write_tiff
from PIL import Image

from pathjax.wsi.base import SlideError
from pathjax.wsi.image_file import ImageFile
from pathjax.wsi.openslide_file import OpenSlideFile
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tiff_file import TiffFile


def test_each_format_gets_its_reader(tmp_path):
    pixels = slide(200, 300)
    tiled = write_tiff(tmp_path / "tiled.tif", pixels, 0.5)
    strips = write_tiff(tmp_path / "strips.tif", pixels, 0.5, tile=None)
    picture = tmp_path / "picture.png"
    Image.fromarray(pixels).save(picture)
    for path, reader in (
        (tiled, OpenSlideFile),
        (strips, TiffFile),
        (picture, ImageFile),
    ):
        opened = open_slide(path)
        assert type(opened) is reader
        assert opened.bounds == (0, 0, 300, 200)
        np.testing.assert_array_equal(
            opened.read(20, 10, 0, 40, 30), pixels[10:40, 20:60]
        )
        opened.close()


def test_what_cannot_be_opened_is_named_with_what_each_reader_said(tmp_path):
    with pytest.raises(SlideError, match="gone.svs does not exist"):
        open_slide(tmp_path / "gone.svs")
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideError, match="empty.svs is empty"):
        open_slide(tmp_path / "empty.svs")
    with pytest.raises(SlideError, match="is a folder"):
        open_slide(tmp_path)
    with pytest.raises(SlideError, match=r"cannot be read \(File name too long\)"):
        open_slide(tmp_path / f"{'S' * 300}.svs")
    need("openslide")
    (tmp_path / "junk.svs").write_bytes(b"no slide at all" * 9)
    with pytest.raises(SlideError, match=r"OpenSlide cannot open .*; tifffile cannot"):
        open_slide(tmp_path / "junk.svs")
    (tmp_path / "junk.ndpi").write_bytes(b"no slide at all" * 9)
    with pytest.raises(SlideError, match=r"OpenSlide cannot open"):
        open_slide(tmp_path / "junk.ndpi")


def test_a_library_that_is_not_installed_is_said_with_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.svs").write_bytes(b"not looked at")
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(RuntimeError, match=r"needs openslide, .*pathjax\[wsi\]"):
        open_slide(tmp_path / "a.svs")
