"""The tiler's contestants cut the same tiles of a small slide."""

import pytest
from made_slides import slide, write_tiff

from pathjax.bench import tile
from pathjax.bench.options import BenchError


def test_both_contestants_cut_the_same_tiles(tmp_path):
    path = write_tiff(tmp_path / "made.tiff", slide(1500, 1600), 0.5, levels=(4,))
    options = tile.Options(slide=str(path))
    count = tile.prepare(options, tmp_path)["tiles"]
    assert count > 4
    for entry in tile.entries(options, tmp_path):
        kind = tile.Tiler if entry.name.startswith("pathjax") else tile.Reader
        contestant = kind(dict(entry.options))
        contestant.prepare()
        assert contestant.run(2) == 2 * count


def test_a_slide_must_be_named_and_state_its_resolution(tmp_path):
    with pytest.raises(BenchError, match="give --config.slide=FILE"):
        tile.prepare(tile.Options(), tmp_path)
    path = write_tiff(tmp_path / "made.tiff", slide(300, 300), None)
    with pytest.raises(BenchError, match="does not state its resolution"):
        tile.prepare(tile.Options(slide=str(path)), tmp_path)
