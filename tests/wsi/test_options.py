"""Options of tiling: checked together, the same for a study, each on the command line."""

import argparse
import dataclasses

import pytest

from pathjax.commands import tile
from pathjax.data.study import StudyError
from pathjax.wsi.options import TileOptions


def test_options_are_checked_together_and_not_mixed_in_a_study(tmp_path):
    with pytest.raises(
        ValueError, match="mpp above 0 .* got 0; .*tile_px of 8.*quality of 1"
    ):
        TileOptions(mpp=0, tile_px=7, quality=0)
    with pytest.raises(ValueError, match="overlap of 0 to tile_px - 1"):
        TileOptions(tile_px=64, overlap=64)
    with pytest.raises(ValueError, match="tissue otsu or saturation"):
        TileOptions(tissue="deep")
    TileOptions().writer(tmp_path)
    with pytest.raises(StudyError, match="quality: 90 there, 80 now"):
        TileOptions(quality=80).writer(tmp_path)


def test_each_is_an_option_of_the_command():
    parser = argparse.ArgumentParser()
    tile.add(parser.add_subparsers())
    args = parser.parse_args(["tile", "--slides", "s", "--out", "o"])
    defaults = dataclasses.asdict(TileOptions())
    assert {name: getattr(args, name) for name in defaults} == defaults
