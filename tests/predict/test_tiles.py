"""Inputs: what is seen of a tile, where it lies, and scales that do not fit."""

import dataclasses

import numpy as np
import pytest
from made_slides import slide, write_tiff
from PIL import Image

from pathjax.data.study import Study
from pathjax.predict import PredictError
from pathjax.predict.tiles import is_slide, open_input, view_of


def test_a_study_s_tiles_lie_at_their_centres(make_model, tiny_study):
    view = view_of(make_model())
    assert (view.mpp, view.px, view.resizes) == (1.0, 16, False)
    given = open_input(tiny_study.root, view, split="main", fold="test")
    assert len(given.source) == len(given) == 12
    assert given.source.tile_ids(np.array([0, 11])) == ["P10a0", "P11b2"]
    first = given.table(np.array([1])).iloc[0]
    assert (first["x"], first["y"], first["side"]) == (32 + 16, 16, 16)
    np.testing.assert_array_equal(np.concatenate(list(given.parts())), np.arange(12))
    table = given.table(np.arange(12))
    for run, name in enumerate(given.runs["slide_id"]):
        own = given.of_runs(np.array([run]))
        assert np.flatnonzero(table["slide_id"] == name).tolist() == own.tolist()
        assert set(given.run_of(own)) == {run}
    assert set(given.ids["slide_id"]) == {"P10a", "P10b", "P11a", "P11b"}
    batch = next(given.source.batches(np.arange(3), batch=4, px=16, prepare=crop))
    whole = open_input(tiny_study.root, view)
    other = next(whole.source.batches(np.array([60]), batch=1, px=16, prepare=crop))
    np.testing.assert_array_equal(batch["image"][0], other["image"][0])
    assert given.source.fingerprint != whole.source.fingerprint


def crop(tile):
    return tile[:16, :16]


def test_what_a_model_that_resizes_sees(make_model):
    model = make_model()
    asked = {"resize": 64, "crop": 48, "interpolation": "bilinear"}
    model.meta["preprocess"] = asked
    view = view_of(model)
    assert view.mpp == 0.5 and view.seen(32) == 24 and view.px == 48
    assert view_of(model, 0.7).mpp == 0.7


def test_another_scale_and_no_tiles_are_refused(make_model, tiny_study, monkeypatch):
    view = view_of(make_model())
    with pytest.raises(PredictError, match=r"1 um/px, and it was trained at 0\.5"):
        open_input(tiny_study.root, dataclasses.replace(view, mpp=0.5))
    unknown = open_input(tiny_study.root, dataclasses.replace(view, mpp=None))
    assert "not checked" in unknown.notes[0]
    with pytest.raises(PredictError, match="go together"):
        open_input(tiny_study.root, view, split="main")
    none = tiny_study.runs.iloc[:0]
    monkeypatch.setattr(Study, "fold_runs", lambda self, split, fold: none)
    with pytest.raises(PredictError, match="fold main/test of study tiny has no tile"):
        open_input(tiny_study.root, view, split="main", fold="test")


def test_a_slide_and_a_folder(make_model, tmp_path):
    view = view_of(make_model())
    name = "TCGA-AB-1234-01Z-00-DX1"
    path = write_tiff(tmp_path / f"{name}.tif", slide(500, 500), 0.5)
    given = open_input(path, view)
    assert set(given.ids["patient_id"]) == {"TCGA-AB-1234"}
    first = given.table(np.arange(1)).iloc[0]
    assert first["side"] == 32  # 16 px at 1 um/px on 0.5 um/px
    assert first["level0"] == pytest.approx(0.5)
    assert is_slide(path) and not is_slide(tmp_path)
    with pytest.raises(PredictError, match="give them with --mpp"):
        open_input(path, dataclasses.replace(view, mpp=None))
    folder = tmp_path / "tiles"
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "a_x8_y4.png")
    images = open_input(folder, view)
    assert images.table(np.arange(1))[["x", "y"]].iloc[0].tolist() == [8, 4]
    assert "has no scale and no patients" in images.notes[0]
