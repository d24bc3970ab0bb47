"""One pass over tiles says what whole tables would."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.data import index_check
from pathjax.data.index_check import KEYS, IndexCheck
from pathjax.data.study import Target

TARGETS = [
    Target("tissue", "tile", "class", ("tumour", "stroma")),
    Target("share", "tile", "number"),
    Target("absent", "tile", "number"),
    Target("age", "sample", "number"),
]


def tiles_of(sizes):
    """Shards s0, s1, ... of some sizes; two patients in turn."""
    rows = [(shard, row) for shard, size in enumerate(sizes) for row in range(size)]
    shard = [f"s{one}" for one, _ in rows]
    count = len(rows)
    return pd.DataFrame(
        {
            "tile_id": [f"t{i}" for i in range(count)],
            "sample_id": [f"m{i % 3}" for i in range(count)],
            "patient_id": [f"p{one % 2}" for one, _ in rows],
            "site": "s",
            "slide_id": shard,
            "x": 0,
            "y": 0,
            "mpp": 0.5,
            "shard": shard,
            "row": [row for _, row in rows],
            "tissue": (["tumour", None, "fat"] * count)[:count],
            "share": ([0.5, np.nan] * count)[:count],
        }
    )


def look(tiles, sizes, piece=3):
    shards = {f"s{i}": size for i, size in enumerate(sizes)}
    index = IndexCheck(list(tiles), len(tiles), shards, TARGETS)
    table = pa.Table.from_pandas(tiles, preserve_index=False)
    pieces = [table.slice(start, piece) for start in range(0, len(table), piece)]
    for one in pieces:
        index.add(one)
    return index, index.problems(one.select(["tile_id"]) for one in pieces)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 9))
def test_sound_tiles(sizes, piece):
    tiles = tiles_of(sizes)
    index, problems = look(tiles, sizes, piece)
    assert problems == [] and index.rows == len(tiles)
    wanted = tiles.groupby(KEYS, sort=False, as_index=False).size()
    wanted = wanted.rename(columns={"size": "tiles"})
    found, wanted = (
        one.sort_values(KEYS, ignore_index=True) for one in (index.owners, wanted)
    )
    pd.testing.assert_frame_equal(found, wanted)
    assert index.missing == {
        name: int(tiles[name].isna().sum()) for name in ("tissue", "share")
    }
    assert index.values == {"tissue": set(tiles["tissue"].dropna())}


def test_categories_are_strings():
    tiles = tiles_of([4, 4])
    for name in (*KEYS, "tissue"):
        tiles[name] = tiles[name].astype("category")
    index, problems = look(tiles, [4, 4])
    assert problems == [] and index.values == {"tissue": {"tumour", "fat"}}


def test_ids_that_occur_twice_in_any_shards():
    tiles = tiles_of([4, 4, 4])
    tiles.loc[[7, 9, 11], "tile_id"] = ["t1", "t2", "t1"]
    _, problems = look(tiles, [4, 4, 4])
    assert problems == ["3 tile_ids occur twice, first 't1'"]


def test_many_repeats_are_counted_without_keeping_them(monkeypatch):
    monkeypatch.setattr(index_check, "COMPARED", 2)
    tiles = tiles_of([12])
    tiles["tile_id"] = "same"
    _, problems = look(tiles, [12])
    assert problems == ["11 tile_ids occur twice, first 'same'"]


def test_equal_hashes_of_other_ids_are_no_repeats(monkeypatch):
    def hashes(column):
        return np.array([len(one) for one in column.to_pylist()], np.int64)

    monkeypatch.setattr(index_check, "_hashes", hashes)
    tiles = tiles_of([12])
    assert look(tiles, [12])[1] == []
    tiles.loc[11, "tile_id"] = "t4"
    assert look(tiles, [12])[1] == ["1 tile_ids occur twice, first 't4'"]


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_rows_that_are_not_in_the_order_of_the_records(piece):
    tiles = tiles_of([3, 4])
    tiles.loc[[4, 5]] = tiles.loc[[5, 4]].to_numpy()
    (problem,) = look(tiles, [3, 4], piece)[1]
    assert problem.startswith("2 rows of tiles.parquet are not") and "row 4" in problem
    swapped = tiles_of([3, 3])
    swapped["shard"] = swapped["shard"].map({"s0": "s1", "s1": "s0"})
    assert look(swapped, [3, 3], piece)[1][0].startswith("6 rows")
    assert look(tiles_of([3, 4]), [3, 2], piece)[1] == []  # counts: check.py says so


def test_lacking_columns():
    tiles = tiles_of([3]).drop(columns=["site", "row"])
    index, problems = look(tiles, [3])
    assert problems == ["tiles lack the columns site, row"] and index.owners.empty
