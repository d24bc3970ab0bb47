"""Joining the tiles of shards as a stream, against pandas' concatenation."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pathjax.data import tile_table
from pathjax.data.study import StudyError
from pathjax.data.tile_table import join, schema_of, stream


def write(folder, *frames):
    paths = [folder / f"part{i}.parquet" for i in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        frame.to_parquet(path)
    return paths


def joined(tmp_path, *frames):
    parts, pieces = write(tmp_path, *frames), []
    schema, counts = schema_of(parts)
    join(parts, tmp_path / "all.parquet", schema, pieces.append)
    return counts, pieces


def test_it_is_the_concatenation(tmp_path, monkeypatch):
    monkeypatch.setattr(tile_table, "ROWS", 4)
    frames = [
        pd.DataFrame({"tile_id": ["a", "b", "c"], "x": 1, "score": [1, 2, 3]}),
        pd.DataFrame({"tile_id": list("defghijkl"), "x": 2, "score": 0.5}),
        pd.DataFrame({"tile_id": ["m"], "x": 3, "label": ["pink"]}),
        pd.DataFrame({"tile_id": ["n"], "x": [4], "label": [None]}),
    ]
    counts, pieces = joined(tmp_path, *frames)
    assert counts == [3, 9, 1, 1]
    found = pd.read_parquet(tmp_path / "all.parquet")
    wanted = pd.concat(frames, ignore_index=True)
    # pandas 3 has a type for strings, and NaN where pandas 2 has None.
    wanted["label"] = wanted["label"].astype(found["label"].dtype)
    wanted["label"] = wanted["label"].where(found["label"].notna(), found["label"])
    pd.testing.assert_frame_equal(found, wanted)
    seen = pa.concat_tables(pieces).to_pandas()
    pd.testing.assert_frame_equal(seen, wanted)
    again = pa.concat_tables(stream(tmp_path / "all.parquet")).to_pandas()
    pd.testing.assert_frame_equal(again, wanted)
    meta = pq.read_metadata(tmp_path / "all.parquet")
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert sizes == [8, 4, 2]
    pieces = list(stream(tmp_path / "all.parquet", ["x"]))
    assert [len(piece) for piece in pieces] == [4, 4, 4, 2]
    assert pieces[0].column_names == ["x"]


def test_repeated_strings_are_stored_once(tmp_path):
    ids = [f"{i:030d}" for i in range(3000)]
    frame = pd.DataFrame({"tile_id": ids, "slide_id": "a" * 1000})
    joined(tmp_path, frame)
    meta = pq.read_metadata(tmp_path / "all.parquet").row_group(0)
    assert "RLE_DICTIONARY" in meta.column(1).encodings
    assert "RLE_DICTIONARY" not in meta.column(0).encodings


def test_a_piece_is_held_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tile_table, "ROWS", 10)
    frames = [pd.DataFrame({"tile_id": [str(i)] * 6}) for i in range(9)]
    _, pieces = joined(tmp_path, *frames)
    assert [len(piece) for piece in pieces] == [12, 12, 12, 12, 6]


def test_types_that_do_not_go_together_are_named(tmp_path):
    frames = [
        pd.DataFrame({"tile_id": ["a"], "label": ["x"]}),
        pd.DataFrame({"tile_id": ["b"], "label": np.array([1])}),
    ]
    with pytest.raises(StudyError, match=r"tiles of part1 have a column .* label"):
        schema_of(write(tmp_path, *frames))
