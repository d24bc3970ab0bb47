"""What was added to a study survives that it is built again, or stops it."""

import json

import numpy as np
import pandas as pd
import pytest

from pathjax.data.add_split import add_split
from pathjax.data.check import check_study
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError
from pathjax.data.study_writer import StudyWriter
from pathjax.text.reports import Joined, add_reports

TILE = encode_jpeg(np.full((16, 16, 3), 120, np.uint8))


def build(root, *patients, splits=(), table=None):
    writer = StudyWriter(root, name="t", tile_px=16, mpp=0.5, synthetic=True)
    for name in patients:
        if not writer.has_shard(name):
            with writer.shard(name) as shard:
                shard.add(TILE, tile_id=name, sample_id=name, patient_id=name, site="s")
    if table is None:
        table = pd.DataFrame(
            {"sample_id": patients, "patient_id": patients, "site": "s"}
        )
    return writer.finish(samples=table, splits=list(splits))


HALVES = Split("halves", {"train": ("A",), "test": ("B",)})


def test_splits_and_reports_are_kept(tmp_path, caplog):
    study = build(tmp_path, "A", "B", splits=[Split("own", {"all": ("A", "B")})])
    study, _ = add_split(study, HALVES)
    texts = pd.DataFrame({"sample_id": ["A"], "text": ["A report."]})
    joined = Joined(texts, *(() for _ in range(len(Joined.__dataclass_fields__) - 1)))
    study, _ = add_reports(study, joined, {"table": "x.csv"})
    again = build(tmp_path, "A", "B", splits=[Split("own", {"all": ("A", "B")})])
    assert again.fingerprint == study.fingerprint
    assert again.meta["added"] == study.meta["added"]
    assert again.split("halves") == HALVES and again.split_names == ("halves", "own")
    assert list(again.reports()["text"]) == ["A report."]
    assert not caplog.messages
    more = build(tmp_path, "A", "B", "C")
    assert more.split_names == ("halves",)  # the builder makes no "own" any more
    assert "1 of the study's patient_ids are in none of its folds" in caplog.text
    assert check_study(more).problems == ()


def test_a_split_that_fits_no_longer_is_not_dropped(tmp_path):
    add_split(build(tmp_path, "A", "B"), HALVES)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(StudyError, match="halves: 1 patient_ids are not in the study"):
        build(tmp_path, "A")
    with pytest.raises(StudyError, match=r"splits/halves.json was added and would be"):
        build(tmp_path, "A", "B", splits=[Split("halves", {"all": ("A", "B")})])
    assert (tmp_path / "study.json").read_bytes() == before
    assert Study(tmp_path).split("halves") == HALVES


def test_columns_added_by_hand_are_not_dropped(tmp_path):
    build(tmp_path, "A")
    table = pd.read_parquet(tmp_path / "samples.parquet").assign(grade="G2")
    table.to_parquet(tmp_path / "samples.parquet", index=False)
    with pytest.raises(
        StudyError, match="differs from what was written, columns grade"
    ):
        build(tmp_path, "A")
    # Killed between the tables and study.json: the same build goes through.
    assert list(build(tmp_path, "A", table=table).samples["grade"]) == ["G2"]
    # A column that the builder leaves out is its own affair.
    assert "grade" not in build(tmp_path, "A").samples
    tiles = pd.read_parquet(tmp_path / "tiles.parquet").assign(necrosis=1.0)
    tiles.to_parquet(tmp_path / "tiles.parquet", index=False)
    with pytest.raises(
        StudyError, match="tiles.parquet was given the columns necrosis"
    ):
        build(tmp_path, "A")


def test_a_damaged_study_json_is_written_again(tmp_path, caplog):
    add_split(build(tmp_path, "A", "B"), HALVES)
    (tmp_path / "study.json").write_text("{")
    assert build(tmp_path, "A", "B").split_names == ()
    assert "added" not in json.loads((tmp_path / "study.json").read_text())
    assert "what was added to the study is not kept" in caplog.text
