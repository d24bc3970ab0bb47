"""The slide table, checked and derived; tiles joined as by pandas' concatenation."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pathjax.data import study_tables
from pathjax.data.study import StudyError
from pathjax.data.study_tables import (
    SLIDE_COLUMNS,
    join,
    read_rows,
    runs_of_slides,
    runs_of_tiles,
    schema_of,
    slides_of_tiles,
    stream,
)
from pathjax.data.study_writer import StudyWriter


def slide_rows(**changes):
    """A and B tiled, X skipped between them."""
    names = ["A", "X", "B"]
    table = {
        "slide_id": names,
        "patient_id": names,
        "sample_id": names,
        "site": "s",
        "path": [f"{name}.svs" for name in names],
        "status": ["tiled", "skipped", "tiled"],
        "reason": ["", "no mpp", ""],
        "width": [100, np.nan, 200],
        "height": [50, np.nan, 60],
        "mpp": [0.5, np.nan, 0.25],
        "mpp_source": ["metadata", None, "csv"],
        "tissue": [0.5, np.nan, 0.1],
    }
    return pd.DataFrame(table | changes)


def finish(root, slides):
    writer = StudyWriter(root, name="t", tile_px=16, mpp=0.5, synthetic=True)
    for name, count in (("A", 2), ("B", 3)):
        ids = {"sample_id": name, "patient_id": name, "site": "s"}
        with writer.shard(name) as shard:
            for k in range(count):
                shard.add(b"", tile_id=f"{name}{k}", x=k, **ids)
    samples = pd.DataFrame({"sample_id": ["A", "B"], "patient_id": ["A", "B"]})
    return writer.finish(samples=samples.assign(site="s"), slides=slides)


def test_places_are_filled_in_and_read_back(tmp_path):
    study = finish(tmp_path, slide_rows())
    assert tuple(study.slides) == SLIDE_COLUMNS and study.has_slide_table
    assert study.slides["tiles"].tolist() == [2, 0, 3]
    assert study.slides["first_row"].tolist() == [0, -1, 2]
    assert study.slides["shard"].isna().tolist() == [False, True, False]
    assert study.slides["shard"].dropna().tolist() == ["A", "B"]
    assert "slides.parquet" in study.meta["files"]
    tiles = study.tiles
    for cut in range(1, len(tiles)):
        found = runs_of_tiles([tiles[:cut], tiles[cut:]])
        pd.testing.assert_frame_equal(found, runs_of_slides(study.slides))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tiles": [2, 0, 4]}, r"1 slides have another tiles .* first \['B'\]"),
        ({"first_row": [0, -1, 3]}, r"have another first_row .* first \['B'\]"),
        ({"shard": ["A", None, "C"]}, r"are tiled and have no shard, first \['B'\]"),
        ({"shard": ["A", None, "A"]}, r"1 shards are no slide's .* \['B'\]"),
        ({"slide_id": ["A", "A", "B"]}, r"are twice in the slide table"),
        ({"status": ["tiled", "done", "tiled"]}, r"are not tiled or skipped.*'X'"),
        ({"reason": ""}, r"skipped without a reason, first \['X'\]"),
        ({"patient_id": ["A", "X", "Z"]}, r"another patient_id .* shard 'B': 'B'"),
        ({"sample_id": ["Z", "X", "B"]}, r"another sample_id .* shard 'A': 'A'"),
    ],
)
def test_what_disagrees_with_the_tiles_is_named(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        finish(tmp_path, slide_rows(**changes))
    assert not (tmp_path / "slides.parquet").exists()


def test_lacking_columns_are_named(tmp_path):
    with pytest.raises(StudyError, match="slides lack the columns site, tissue"):
        finish(tmp_path, slide_rows().drop(columns=["site", "tissue"]))


def test_a_slide_of_several_samples_names_none(tmp_path):
    study = finish(tmp_path, slide_rows(sample_id=None))
    assert study.slides["sample_id"].isna().all()


def test_it_is_derived_where_there_is_none(tiny_study):
    slides = tiny_study.slides
    assert not tiny_study.has_slide_table and tuple(slides) == SLIDE_COLUMNS
    assert len(slides) == 24 and set(slides["tiles"]) == {3}
    assert slides["first_row"].tolist() == list(range(0, 72, 3))
    assert slides["shard"].tolist() == slides["slide_id"].tolist()
    assert slides["patient_id"].tolist()[:3] == ["P00", "P00", "P01"]


def test_what_a_slide_has_several_of_is_missing():
    tiles = pd.DataFrame(
        {
            "slide_id": ["a", "b", "a"],
            "sample_id": ["1", "2", "3"],
            "patient_id": "p",
            "shard": "s",
            "site": "x",
            "mpp": 0.5,
        }
    )
    slides = slides_of_tiles(tiles)
    assert slides["sample_id"].isna().tolist() == [True, False]
    assert slides["sample_id"][1] == "2"
    assert slides["patient_id"].tolist() == ["p", "p"]
    runs = runs_of_tiles([tiles])
    assert runs["first_row"].tolist() == [0, 1, 2] and set(runs["tiles"]) == {1}


def write_parts(folder, *frames):
    paths = [folder / f"part{i}.parquet" for i in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        frame.to_parquet(path)
    return paths


def joined(tmp_path, *frames):
    parts, pieces = write_parts(tmp_path, *frames), []
    schema, counts = schema_of(parts)
    join(parts, tmp_path / "all.parquet", schema, pieces.append)
    return counts, pieces


def test_it_is_the_concatenation(tmp_path, monkeypatch):
    monkeypatch.setattr(study_tables, "ROWS", 4)
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
    monkeypatch.setattr(study_tables, "ROWS", 10)
    frames = [pd.DataFrame({"tile_id": [str(i)] * 6}) for i in range(9)]
    _, pieces = joined(tmp_path, *frames)
    assert [len(piece) for piece in pieces] == [12, 12, 12, 12, 6]


def test_types_that_do_not_go_together_are_named(tmp_path):
    frames = [
        pd.DataFrame({"tile_id": ["a"], "label": ["x"]}),
        pd.DataFrame({"tile_id": ["b"], "label": np.array([1])}),
    ]
    with pytest.raises(ValueError, match=r"tiles of part1 have a column .* label"):
        schema_of(write_parts(tmp_path, *frames))


@pytest.mark.parametrize("group", [3, 10, 100])
def test_rows_are_read_by_number(tmp_path, group):
    table = pd.DataFrame({"a": np.arange(20), "b": [f"t{i}" for i in range(20)]})
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=group)
    for rows in ([0], [19], [2, 3], [17, 4, 9], list(range(20))):
        found = read_rows(tmp_path / "t.parquet", np.array(rows), ["b"])
        assert found["b"].tolist() == table["b"].iloc[rows].tolist()
        assert list(found) == ["b"]
