"""Building a study: whole shards, resumption, refusal of what does not fit."""

import os

import numpy as np
import pandas as pd
import pytest

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, StudyError, Target, sha256
from pathjax.data.study_writer import StudyWriter

TILE = encode_jpeg(np.full((16, 16, 3), 120, np.uint8))


def make_writer(root, **build):
    return StudyWriter(root, name="t", tile_px=16, mpp=0.5, synthetic=True, build=build)


def add_slide(writer, slide, tiles=2, fail_at=None):
    with writer.shard(slide) as shard:
        for k in range(tiles):
            if k == fail_at:
                raise RuntimeError("the slide broke")
            shard.add(
                TILE,
                tile_id=f"{slide}{k}",
                sample_id=slide,
                patient_id=slide,
                site="s",
                colour="pink",
            )


def samples(*ids):
    return pd.DataFrame({"sample_id": ids, "patient_id": ids, "site": "s"})


def test_a_failed_shard_leaves_nothing_and_a_rerun_does_only_what_is_missing(tmp_path):
    writer = make_writer(tmp_path)
    add_slide(writer, "A")
    with pytest.raises(RuntimeError, match="broke"):
        add_slide(writer, "B", fail_at=1)
    assert [p.name for p in (tmp_path / "tiles").iterdir()] == ["A.array_record"]
    before = (tmp_path / "tiles" / "A.array_record").stat().st_mtime_ns

    again = make_writer(tmp_path)
    assert again.has_shard("A") and not again.has_shard("B")
    add_slide(again, "B")
    again.skip("C", "no image")
    study = again.finish(samples=samples("A", "B"))
    assert study.tiles["tile_id"].tolist() == ["A0", "A1", "B0", "B1"]
    assert (study.tiles[["x", "y", "mpp"]] == [0, 0, 0.5]).all(axis=None)
    assert study.meta["skipped"] == [{"what": "C", "reason": "no image"}]
    assert (tmp_path / "tiles" / "A.array_record").stat().st_mtime_ns == before


def test_other_parameters_are_refused_by_name(tmp_path):
    make_writer(tmp_path, tile_um=112)
    make_writer(tmp_path, tile_um=112)
    with pytest.raises(StudyError, match="tile_um: 112 there, 56 now"):
        make_writer(tmp_path, tile_um=56)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(StudyError, match="cannot name a shard"):
        add_slide(make_writer(tmp_path), name)


def test_an_empty_shard_and_an_empty_study_are_refused(tmp_path):
    writer = make_writer(tmp_path)
    with pytest.raises(StudyError, match="got no tile"):
        add_slide(writer, "A", tiles=0)
    with pytest.raises(StudyError, match="no shard was written"):
        writer.finish(samples=samples())


def test_all_inconsistencies_are_raised_at_once(tmp_path):
    writer = make_writer(tmp_path)
    add_slide(writer, "A")
    with pytest.raises(StudyError) as caught:
        writer.finish(
            samples=samples("B"),
            targets=[
                Target("colour", "tile", "class", ("blue",)),
                Target("age", "sample", "number"),
            ],
            splits=[Split("s", {"train": ("A",), "test": ("A", "Z")})],
        )
    text = str(caught.value)
    for part in (
        "samples of tiles are not among the samples, first ['A']",
        "1 samples have no tile, first ['B']",
        "values that are no class of it: ['pink']",
        "target age is no column of samples",
        "A is in folds train and test",
        "1 patient_ids are not in the study, first ['Z']",
    ):
        assert part in text
    assert not (tmp_path / "study.json").exists()


def test_checksums_are_those_of_the_files(tmp_path):
    writer = make_writer(tmp_path)
    add_slide(writer, "A")
    add_slide(writer, "B", tiles=3)
    study = writer.finish(samples=samples("A", "B"))
    files = study.meta["files"]
    assert set(files) > {"tiles/A.array_record", "tiles/B.array_record"}
    for name, entry in files.items():
        assert entry["sha256"] == sha256(tmp_path / name)
        assert entry["bytes"] == (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("tiles/A.array_record", lambda data: data[:-100], "bytes, "),
        ("tiles/A.array_record", lambda data: data[:-1] + b"?", "has other bytes than"),
        (".build/A.parquet", lambda data: data[:20], "has unreadable rows"),
    ],
)
def test_a_damaged_shard_is_written_again(tmp_path, caplog, file, damage, message):
    whole = make_writer(tmp_path)
    add_slide(whole, "A")
    content = (tmp_path / "tiles" / "A.array_record").read_bytes()
    (tmp_path / file).write_bytes(damage((tmp_path / file).read_bytes()))
    again = make_writer(tmp_path)
    assert not again.has_shard("A")
    assert message in caplog.text and "it is written again" in caplog.text
    add_slide(again, "A")
    assert again.has_shard("A") and make_writer(tmp_path).has_shard("A")
    assert (tmp_path / "tiles" / "A.array_record").read_bytes() == content


def test_a_shard_written_again_leaves_no_rows_of_the_earlier_one(tmp_path):
    writer = make_writer(tmp_path)
    add_slide(writer, "A", tiles=5)
    add_slide(writer, "A", tiles=2)
    study = writer.finish(samples=samples("A"))
    assert len(study) == len(study.tiles) == 2 and len(study.tile_bytes([1])) == 1


@pytest.mark.parametrize("linked", [True, False])
def test_a_shard_of_another_study_is_taken_over(tmp_path, monkeypatch, linked):
    first = make_writer(tmp_path / "a")
    add_slide(first, "A")
    source = first.finish(samples=samples("A"))
    shard = source.root / "tiles" / "A.array_record"
    if not linked:
        monkeypatch.setattr(os, "link", refuse_link)
    second = make_writer(tmp_path / "b")
    rows = source.tiles.assign(sample_id="P", patient_id="P")
    second.adopt("A", shard, rows)
    assert second.has_shard("A") and make_writer(tmp_path / "b").has_shard("A")
    study = second.finish(samples=samples("P"))
    assert study.tile_bytes([0, 1]) == source.tile_bytes([0, 1])
    assert study.tiles["sample_id"].tolist() == ["P", "P"]
    name = "tiles/A.array_record"
    assert study.meta["files"][name] == source.meta["files"][name]
    assert (study.root / name).samefile(shard) == linked
    with pytest.raises(StudyError, match="cannot name a shard"):
        second.adopt("../A", shard, rows)


def refuse_link(source, target):
    raise OSError(18, "Invalid cross-device link")
