"""The slide at low magnification equals means over the whole slide at once."""

import numpy as np
from made_slides import slide, write_tiff
from PIL import Image

from pathjax.wsi import overview
from pathjax.wsi.overview import draw, read_overview
from pathjax.wsi.slide import open_slide


def test_blocks_join_to_the_means_of_squares(tmp_path, monkeypatch):
    pixels = slide(410, 533)
    made = open_slide(write_tiff(tmp_path / "a.tif", pixels, 0.5))
    monkeypatch.setattr(overview, "BLOCK_PX", 130)
    found = read_overview(made, 0.5)
    assert found.pixels.shape == (26, 34, 3)
    assert (found.scale, found.mpp) == (16.0, 8.0)
    square = pixels[: 25 * 16, : 33 * 16].reshape(25, 16, 33, 16, 3).mean((1, 3))
    np.testing.assert_allclose(found.pixels[:25, :33], square, atol=0.51)
    # The last row and column are means of what is left.
    np.testing.assert_allclose(
        found.pixels[25, 33], pixels[400:, 528:].mean((0, 1)), atol=0.51
    )


def test_a_coarse_level_is_used_where_there_is_one(tmp_path):
    path = write_tiff(tmp_path / "a.tif", slide(512, 512), 0.5, levels=(4,))
    made, reads = open_slide(path), []
    inner = made.read
    made.read = lambda *where: reads.append(where) or inner(*where)
    found = read_overview(made, 0.5)
    assert [where[2] for where in reads] == [1]
    assert found.pixels.shape == (32, 32, 3) and found.scale == 16.0


def test_a_picture_coarser_than_the_overview_is_taken_as_it_is(tmp_path):
    pixels = slide(40, 50)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_overview(open_slide(tmp_path / "a.png"), 12.0)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.scale, found.mpp) == (1.0, 12.0)


def test_the_thumbnail_shows_each_kept_tile(tmp_path):
    made = open_slide(write_tiff(tmp_path / "a.tif", slide(960, 1280), 0.5))
    found = read_overview(made, 0.5)
    places = np.array([[320, 160], [640, 480]])
    draw(tmp_path / "with.jpg", found, None, places, 320.0)
    draw(tmp_path / "without.jpg", found, None, places[:0], 320.0)
    drawn, plain = (
        np.asarray(Image.open(tmp_path / f"{name}.jpg")).astype(int)
        for name in ("with", "without")
    )
    changed = np.abs(drawn - plain).max(2) > 60
    assert drawn.shape == (60, 80, 3)
    assert changed[10, 20:40].mean() > 0.9 and changed[30:50, 40].mean() > 0.9
    assert not changed[:8].any() and not changed[:, :18].any()
