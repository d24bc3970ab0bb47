"""Building a study: whole shards, resumption, refusal of what does not fit."""

import numpy as np
import pandas as pd
import pytest

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, StudyError, Target
from pathjax.data.writer import StudyWriter

TILE = encode_jpeg(np.full((16, 16, 3), 120, np.uint8))


def make_writer(root, **build):
    return StudyWriter(
        root,
        name="t",
        tile_px=16,
        mpp=0.5,
        gene_id_type=None,
        synthetic=True,
        provenance={},
        build=build,
    )


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
                x=0,
                y=0,
                mpp=0.5,
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
    study = again.finish(samples=samples("A", "B"), targets=[], splits=[])
    assert study.tiles["tile_id"].tolist() == ["A0", "A1", "B0", "B1"]
    assert study.meta["skipped"] == [{"what": "C", "reason": "no image"}]
    assert (tmp_path / "tiles" / "A.array_record").stat().st_mtime_ns == before


def test_other_parameters_are_refused_by_name(tmp_path):
    make_writer(tmp_path, tile_um=112)
    make_writer(tmp_path, tile_um=112)
    with pytest.raises(StudyError, match="tile_um: 112 there, 56 wanted"):
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
        writer.finish(samples=samples(), targets=[], splits=[])


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
