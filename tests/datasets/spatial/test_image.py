import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pathjax.datasets.spatial import image as module
from pathjax.datasets.spatial.image import ImageSource, cut_tile, cut_tiles
from pathjax.wsi.base import SlideError

GREY = np.array([9, 99, 199], np.uint8)


def smooth(height=300, width=400):
    """Red is ten times x / 16, green is y / 2, at pixel centres."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x * 10 / 16, y / 2, np.full_like(x, 77)], -1).astype(np.uint8)


@pytest.mark.parametrize("side", [20.0, 32.5, 163.3])
@pytest.mark.parametrize("tile_px", [32, 33])
def test_tile_is_centred_and_sized(side, tile_px):
    tile, filled = cut_tile(smooth(), (200.25, 150.5), side, tile_px, GREY)
    assert tile.shape == (tile_px, tile_px, 3) and filled == 0
    at = (np.arange(tile_px) + 0.5) * side / tile_px - side / 2
    red = (200.25 + at) * 10 / 16
    green = (150.5 + at) / 2
    assert np.abs(tile[..., 0].mean(0) - (red - 0.5)).max() < 1.0  # uint8 floors
    assert np.abs(tile[..., 1].mean(1) - (green - 0.5)).max() < 1.0


@pytest.mark.parametrize("side", [40.0, 150.6])
def test_inside_the_image_equals_pillow_on_the_whole_of_it(side):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    x, y = 180.3, 140.7
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    expected = Image.fromarray(image).resize(
        (64, 64), Image.Resampling.BICUBIC, box=box
    )
    tile, _ = cut_tile(image, (x, y), side, 64, GREY)
    # Pillow works in fixed point; offsets of the box may move a value by one.
    assert np.abs(tile.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("centre", "corner", "share"),
    [
        ((0.0, 150.0), (slice(None), slice(0, 14)), 0.5),
        ((400.0, 150.0), (slice(None), slice(18, 32)), 0.5),
        ((200.0, 0.0), (slice(0, 14), slice(None)), 0.5),
        ((200.0, 300.0), (slice(18, 32), slice(None)), 0.5),
        ((0.0, 0.0), (slice(0, 14), slice(None)), 0.75),
    ],
)
def test_edges_are_filled_with_the_background_and_measured(centre, corner, share):
    tile, filled = cut_tile(smooth(), centre, 64.0, 32, GREY)
    np.testing.assert_array_equal(
        tile[corner], np.broadcast_to(GREY, tile[corner].shape)
    )
    assert filled == pytest.approx(share)


def test_far_outside_is_all_background():
    tile, filled = cut_tile(smooth(), (-900.0, 2000.0), 64.0, 32, GREY)
    assert (tile == GREY).all() and filled == 1


def test_tiles_of_neighbours_equal_those_cut_alone(monkeypatch):
    """Whatever the blocks, over the edges too, and each spot once."""
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    centres = np.random.default_rng(1).uniform(0, [400, 300], (40, 2))
    source = ImageSource.of_array(image)
    for block in (64, 2048):
        monkeypatch.setattr(module, "BLOCK_PX", block)
        found = {
            row: (tile, filled)
            for row, tile, filled in cut_tiles(source, centres, 60.5, 32, GREY)
        }
        assert sorted(found) == list(range(40))
        for row, (tile, filled) in found.items():
            expected, share = cut_tile(image, tuple(centres[row]), 60.5, 32, GREY)
            assert filled == share
            # Offsets of the box may move Pillow's fixed point by one.
            assert np.abs(tile.astype(int) - expected).max() <= 1


def test_an_array_is_white_beyond_its_edges():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    source = ImageSource.of_array(image)
    assert source.size == (40, 30) and source.path is None and source.mpp is None
    region = source.read(-5, 20, 20, 15)
    assert region.shape == (15, 20, 3)
    np.testing.assert_array_equal(region[:10, 5:], image[20:, :15])
    assert (region[10:] == 255).all() and (region[:, :5] == 255).all()
    with pytest.raises(SlideError, match="got float64 of shape"):
        ImageSource.of_array(image / 255)
    assert source.digest == ImageSource.of_array(image.copy()).digest
    assert source.digest != ImageSource.of_array(255 - image).digest


@pytest.mark.slow
def test_memory_of_a_large_slide(tmp_path):
    """20,000 x 20,000 px and 5,000 spots: under 2 GB, and far under the image."""
    script = MEMORY.format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.0


# VmHWM, for ru_maxrss keeps what the test's own process had when this one was forked.
MEMORY = """
import re
from pathlib import Path

import numpy as np
import tifffile

from pathjax.datasets.spatial.image import ImageSource, cut_tiles
from pathjax.datasets.spatial.survey import survey

path = Path({folder!r}) / "slide.tif"
block = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
tifffile.imwrite(
    path, (block for _ in range(79 * 79)), shape=(20_000, 20_000, 3), dtype=np.uint8,
    tile=(256, 256), photometric="rgb", compression="jpeg",
)
image = ImageSource.open(path)
survey(image, 0.5)
centres = np.random.default_rng(1).uniform(0, 20_000, (5_000, 2))
grey = np.full(3, 200, np.uint8)
assert sum(1 for _ in cut_tiles(image, centres, 224.0, 224, grey)) == 5_000
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1e6)
"""
