"""What a person is shown of a study."""

import numpy as np
import pandas as pd

from pathjax.data.images import decode_tile
from pathjax.data.show import (
    GAP,
    contact_sheet,
    describe,
    summary,
    tiles_of_slide,
)
from pathjax.data.study import Target


def test_description_has_counts_targets_splits_and_provenance(tiny_study):
    text = "\n".join(describe(tiny_study))
    for part in (
        "SYNTHETIC study tiny",
        "72 tiles of 32 px at 1 um/px, 24 slides, 12 samples, 12 patients",
        "12 samples x 20 genes (symbol), X = log1p(counts per 10,000)",
        "tile_class (tile, class): dark",
        "latent (sample, number): 0 to 1",
        "main: train 8 patients, 48 tiles, val 2 patients, 12 tiles",
        "source: tests/tiny_study.py",
    ):
        assert part in text


def test_contact_sheet_shows_whole_tiles_of_one_slide_a_column(tiny_study):
    sheet = contact_sheet(tiny_study, columns=4, rows=2)
    px = 32 + GAP
    assert sheet.shape == (2 * px + GAP, 4 * px + GAP, 3)
    known = {decode_tile(d).tobytes() for d in tiny_study.tile_bytes(range(72))}
    for column in range(4):
        tile = sheet[GAP : GAP + 32, GAP + column * px : GAP + column * px + 32]
        assert np.ascontiguousarray(tile).tobytes() in known


def test_a_study_with_fewer_slides_than_columns_is_filled_with_tiles(tiny_study):
    sheet = contact_sheet(tiny_study, columns=30, rows=8)
    assert sheet.shape[1] == 9 * (32 + GAP) + GAP  # 72 tiles in columns of 8


def test_a_target_in_pieces():
    tissue = Target("tissue", "tile", "class", ("fat", "skin", "bone"))
    pieces = [pd.Series(["fat", None, "fat"]), pd.Series(["skin", "fat"])]
    assert summary(tissue, pieces) == "fat 3, skin 1, bone 0; 1 missing"
    share = Target("share", "tile", "number")
    pieces = [pd.Series([np.nan]), pd.Series([0.5, 3.0]), pd.Series([-1.0])]
    assert summary(share, pieces) == "-1 to 3; 1 missing"
    assert summary(share, [pd.Series([np.nan])]) == "no value; 1 missing"


def test_tiles_of_a_slide(tiny_study):
    wanted = np.flatnonzero(tiny_study.tiles["slide_id"] == "P03b")
    np.testing.assert_array_equal(tiles_of_slide(tiny_study, "P03b"), wanted)
