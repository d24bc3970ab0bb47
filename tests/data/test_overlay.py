import numpy as np
import pytest
from made_visium import write_visium
from PIL import Image

from pathjax.data.overlay import save_overlay
from pathjax.data.study import StudyError
from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("overlay")
    rows = [SampleRow(write_visium(root / f"S{i}", seed=i)) for i in range(2)]
    return build_spatial(rows, root / "study", SpatialOptions(tile_px=8))


@pytest.mark.slow
def test_draws_a_panel_for_each_slide(study, tmp_path):
    both = save_overlay(study, tmp_path / "both.png")
    one = save_overlay(study, tmp_path / "one.png", slide="S1")
    with Image.open(both) as wide, Image.open(one) as narrow:
        assert wide.width > 1.8 * narrow.width


def test_spots_are_drawn_where_they_are(study, tmp_path):
    """Spots of a dark colour map on the pale corner of a blank thumbnail."""
    path = study.root / "thumbnails" / "S0.jpg"
    kept = path.read_bytes()
    with Image.open(path) as image:
        Image.new("RGB", image.size, "white").save(path)
    try:
        save_overlay(study, tmp_path / "a.png", gene="GENE7", slide="S0")
    finally:
        path.write_bytes(kept)
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # Within the panel: left of the colour bar, below the title.
    pixels = pixels[60:, : int(pixels.shape[1] * 0.8)]
    drawn = np.ptp(pixels, axis=2) > 30
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    xy = study.samples.loc[study.samples["slide_id"] == "S0", ["pixel_x", "pixel_y"]]
    expected = np.ptp(xy.to_numpy(), axis=0)
    got = np.array([np.ptp(columns), np.ptp(rows)])
    assert got[0] / got[1] == pytest.approx(expected[0] / expected[1], rel=0.05)


def test_what_cannot_be_drawn(study, tiny_study, tmp_path):
    with pytest.raises(StudyError, match="has no gene 'NO'; it has 30 such as GENE0"):
        save_overlay(study, tmp_path / "a.png", gene="NO")
    with pytest.raises(StudyError, match="has no slide 'S9'; it has S0, S1"):
        save_overlay(study, tmp_path / "a.png", slide="S9")
    with pytest.raises(StudyError, match="no spots with places"):
        save_overlay(tiny_study, tmp_path / "a.png")
