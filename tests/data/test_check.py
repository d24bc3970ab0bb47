"""Verification on disk: every kind of damage is named with its place."""

import io
import json
import shutil

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pathjax.data import check
from pathjax.data.check import (
    KEYS,
    IndexCheck,
    check_study,
    expression_problems,
    report_problems,
)
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError, Target, sha256
from pathjax.data.study_writer import StudyWriter


def accept_changes(root):
    """Makes study.json state the checksums of the files as they are now."""
    meta = json.loads((root / "study.json").read_text())
    for name, entry in meta["files"].items():
        entry["sha256"] = sha256(root / name)
    (root / "study.json").write_text(json.dumps(meta))


def test_tiles_of_one_channel_or_16_bits_are_named(tmp_path):
    """Channels of a camera stored apart, or more bits than a decoder keeps."""
    writer = StudyWriter(tmp_path, name="grey", tile_px=8, mpp=0.5, synthetic=True)
    grey = Image.fromarray(np.full((8, 8), 90, np.uint8))
    deep = Image.fromarray(np.full((8, 8), 9000, np.uint16))
    files = {"rgb": encode_jpeg(np.full((8, 8, 3), 90, np.uint8))}
    for name, image, kind in (
        *(("jpeg", grey, "JPEG"), ("png", grey, "PNG"), ("deep", deep, "PNG")),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files[name] = buffer.getvalue()
    owner = {"sample_id": "S", "patient_id": "P", "site": "x", "y": 0, "mpp": 0.5}
    with writer.shard("A") as shard:
        for x, (name, data) in enumerate(files.items()):
            shard.add(data, tile_id=name, x=x, **owner)
    samples = pd.DataFrame([{key: owner[key] for key in list(owner)[:3]}])
    split = Split("all", {"all": ("P",)})
    study = writer.finish(samples=samples, splits=[split])
    problems = check_study(study).problems
    assert problems == (
        problems[0],
        "2 tiles have one channel, first jpeg: expected RGB",
    )
    assert problems[0].startswith("tile deep is broken: expected 8 bits per channel")


def test_a_whole_study_has_no_problems(tiny_study):
    seen = []
    findings = check_study(tiny_study, lambda done, total: seen.append((done, total)))
    assert findings.problems == ()
    assert seen[-1] == (72, 72)


def test_a_changed_file_is_named(broken_copy):
    path = broken_copy.root / "splits" / "main.json"
    path.write_text(path.read_text() + " ")
    assert any(
        "splits/main.json is not" in p for p in check_study(broken_copy).problems
    )


def test_index_and_shards_that_disagree(broken_copy):
    tiles = pd.read_parquet(broken_copy.root / "tiles.parquet")
    tiles.iloc[:-2].to_parquet(broken_copy.root / "tiles.parquet", index=False)
    accept_changes(broken_copy.root)
    problems = " ".join(check_study(Study(broken_copy.root)).problems)
    assert "lists 1 tiles of shard P11b, study.json 3" in problems
    assert "72 records, tiles.parquet has 70 rows" in problems


def test_a_shard_that_is_no_shard(broken_copy):
    (broken_copy.root / "tiles" / "P00a.array_record").write_bytes(b"not a record file")
    problems = " ".join(check_study(Study(broken_copy.root)).problems)
    assert "P00a.array_record is not the file" in problems
    assert "shard P00a cannot be read" in problems


def test_truncated_jpeg_and_wrong_size_are_named(tmp_path):
    writer = StudyWriter(tmp_path, name="t", tile_px=16, mpp=1.0, synthetic=True)
    whole = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    small = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with writer.shard("A") as shard:
        for name, data in (("w", whole), ("cut", whole[:200]), ("small", small)):
            shard.add(
                data, tile_id=name, sample_id="A", patient_id="A", site="s", mpp=1.0
            )
    table = pd.DataFrame({"sample_id": ["A"], "patient_id": ["A"], "site": ["s"]})
    study = writer.finish(samples=table)
    problems = check_study(study).problems
    assert any(p.startswith("tile cut is broken") for p in problems)
    assert "tile small is 8 x 8 px, study.json says 16" in problems
    assert len(problems) == 2


def test_samples_without_expression_are_a_note(tiny_study, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tiny_study.root, root)
    tiny_study.expression()[2:].copy().write_h5ad(root / "expression.h5ad")
    accept_changes(root)
    findings = check_study(Study(root))
    assert findings.problems == ()
    assert "2 of 12 samples have no expression, first ['P00', 'P01']" in findings.notes


def make_expression(values, genes=("A", "B"), ids=("P00", "P01")):
    var = pd.DataFrame(index=list(genes))
    return anndata.AnnData(
        np.asarray(values, np.float32), obs=pd.DataFrame(index=list(ids)), var=var
    )


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_expression_problems(tiny_study):
    good = make_expression([[1, 2.5], [3, 4]])
    assert expression_problems(good, tiny_study.samples) == []
    nan = make_expression([[1, 2.5], [3, np.nan]])
    assert (
        "first sample 'P01', gene 'B'"
        in expression_problems(nan, tiny_study.samples)[0]
    )
    twice = make_expression([[1, 2.5], [3, 4]], genes=("A", "A"))
    assert (
        "1 gene names occur more than once (sum or drop"
        in expression_problems(twice, tiny_study.samples)[0]
    )
    alien = make_expression([[1, 2.5], [3, 4]], ids=("P00", "Q"))
    assert (
        "no sample of the study, first ['Q']"
        in expression_problems(alien, tiny_study.samples)[0]
    )


def test_writer_refuses_what_check_finds(tiny_study, tmp_path):
    writer = StudyWriter(
        tmp_path, name="t", tile_px=16, mpp=1.0, gene_id_type="symbol", synthetic=True
    )
    with writer.shard("A") as shard:
        shard.add(
            b"", tile_id="a", sample_id="P00", patient_id="P00", site="s", mpp=1.0
        )
    table = pd.DataFrame({"sample_id": ["P00"], "patient_id": ["P00"], "site": ["s"]})
    with pytest.raises(StudyError, match="not finite"):
        writer.finish(
            samples=table, expression=make_expression([[1, np.inf]], ids=("P00",))
        )


def test_ids_that_are_alike_are_noted(broken_copy):
    for table in ("samples", "tiles"):
        path = broken_copy.root / f"{table}.parquet"
        frame = pd.read_parquet(path)
        frame["patient_id"] = frame["patient_id"].replace({"P01": "p00"})
        frame.to_parquet(path, index=False)
    notes = check_study(Study(broken_copy.root)).notes
    assert any(note.startswith("patient_ids P00, p00 differ only by") for note in notes)


@pytest.mark.parametrize("value", [7, 7.0, None])
def test_ids_that_are_not_text_are_refused(tmp_path, value):
    writer = StudyWriter(tmp_path, name="t", tile_px=16, mpp=1.0, synthetic=True)
    ids = {"sample_id": "S", "patient_id": value, "site": "s"}
    with writer.shard("A") as shard:
        shard.add(b"", tile_id="a", mpp=1.0, **ids)
    with pytest.raises(StudyError, match="patient_id of samples: expected text, got"):
        writer.finish(samples=pd.DataFrame([ids]))
    samples = pd.DataFrame([ids | {"patient_id": "7"}])
    with pytest.raises(StudyError, match="patient_id of tiles: expected text, got"):
        writer.finish(samples=samples)


def test_reports_are_of_samples_once_and_say_something():
    samples = pd.DataFrame({"sample_id": ["a", "b"]})
    reports = pd.DataFrame({"sample_id": ["a", "a", "x"], "text": ["one", " ", "two"]})
    found = report_problems(reports, samples)
    assert len(found) == 3
    assert "1 reports are of no sample of the study, first ['x']" in found
    assert "1 samples have two reports, first ['a']" in found
    assert "1 reports are empty, first ['a']" in found
    assert report_problems(reports[:1], samples) == []


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
    monkeypatch.setattr(check, "COMPARED", 2)
    tiles = tiles_of([12])
    tiles["tile_id"] = "same"
    _, problems = look(tiles, [12])
    assert problems == ["11 tile_ids occur twice, first 'same'"]


def test_equal_hashes_of_other_ids_are_no_repeats(monkeypatch):
    def hashes(column):
        return np.array([len(one) for one in column.to_pylist()], np.int64)

    monkeypatch.setattr(check, "_hashes", hashes)
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
