"""The bench of the tiler: its slide, its arithmetic, its contestants on a small slide."""

import numpy as np
import openslide
import pytest

from pathjax.bench import tile
from pathjax.bench.options import BenchError
from pathjax.bench.tile_slide import make_slide, tissue


@pytest.fixture(scope="module")
def pixels():
    """A picture with tissue's pink on white, the same wherever it is repeated."""
    rng = np.random.default_rng(0)
    made = np.full((512, 512, 3), 245, np.uint8)
    made[64:448, 64:448] = (190, 90, 150)
    noise = rng.integers(-8, 9, made.shape)
    return np.clip(made.astype(int) + noise, 0, 255).astype(np.uint8)


def test_openslide_reads_the_slide_as_a_pyramid_with_mpp(tmp_path, pixels):
    slide = openslide.OpenSlide(make_slide(tmp_path / "made.tiff", pixels, 1024))
    assert slide.properties["openslide.vendor"] == "generic-tiff"
    assert slide.level_dimensions == ((1024, 1024), (256, 256), (64, 64), (16, 16))
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    for x, y in ((0, 0), (512, 0), (512, 512)):
        read = slide.read_region((x, y), 0, (512, 512)).convert("RGB")
        error = np.abs(np.asarray(read).astype(int) - pixels)
        assert error.mean() < 6  # JPEG's, of a noisy picture with an edge
    coarse = slide.read_region((0, 0), 1, (128, 128)).convert("RGB")
    mean = pixels.reshape(128, 4, 128, 4, 3).mean((1, 3))
    assert np.abs(np.asarray(coarse) - mean).mean() < 6


def test_a_side_of_no_whole_blocks_is_filled(tmp_path, pixels):
    slide = openslide.OpenSlide(make_slide(tmp_path / "made.tiff", pixels, 600))
    assert slide.dimensions == (600, 600)
    edge = np.asarray(slide.read_region((580, 580), 0, (20, 20)).convert("RGB"))
    assert np.abs(edge.astype(int) - pixels[68:88, 68:88]).mean() < 6


def test_both_contestants_cut_the_same_tiles(tmp_path, pixels):
    slide = make_slide(tmp_path / "large.tiff", pixels, 2048)
    corners = tile.cut(slide, tmp_path / "study", 1)
    assert len(corners) > 0 and (corners % 224 == 0).all()
    np.save(slide.with_suffix(".npy"), corners)
    entries = {e.name: e for e in tile.entries(tile.Options(), tmp_path)}
    for name in ("pathjax", "openslide", "openslide-threads"):
        contestant = tile.Tiler(dict(entries[name].options))
        contestant.prepare()
        assert contestant.run(1) == len(corners)


def test_no_tissue_to_make_a_slide_of_is_refused(tmp_path):
    with pytest.raises(BenchError, match="by --config.data=DIR"):
        tissue(str(tmp_path))
