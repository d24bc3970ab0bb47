import dataclasses
import json
import shutil

import numpy as np
import pytest
from made_visium import MPP, SIZE, density, picture, spots, write_visium
from PIL import Image

from pathjax.data.check import check_study
from pathjax.data.images import decode_tile
from pathjax.data.study import StudyError
from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions

OPTIONS = SpatialOptions(tile_px=16, tile_um=64.0)  # 32 px of the image


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    return [write_visium(root / f"S{i}", seed=i) for i in range(2)]


@pytest.fixture(scope="module")
def study(folders, tmp_path_factory):
    rows = [
        SampleRow(folders[0], patient="P1", site="north", labels={"grade": "G2"}),
        SampleRow(folders[1], patient="P2", labels={"grade": "G3", "age": "70"}),
    ]
    return build_spatial(rows, tmp_path_factory.mktemp("out") / "study", OPTIONS)


def test_a_sound_study_of_both(study):
    assert check_study(study).problems == ()
    samples = study.samples
    assert len(samples) == len(study) == 2 * 320
    assert samples["sample_id"].is_unique
    assert samples["sample_id"][0] == "S0_AAAAAAAA-1"
    assert set(zip(samples["patient_id"], samples["site"], strict=True)) == {
        ("P1", "north"),
        ("P2", "unknown"),
    }
    np.testing.assert_allclose(
        samples[["pixel_x", "pixel_y"]].to_numpy()[:320], spots()[2], atol=1e-3
    )
    assert (samples["source_mpp"] - MPP).abs().max() < 1e-4
    assert samples["upsampled"].sum() == 0
    assert study.targets["grade"].classes == ("G2", "G3")
    assert study.targets["age"].kind == "number" and samples["age"].isna().sum() == 320
    counts = study.expression().layers["counts"]
    np.testing.assert_array_equal(
        samples["total_counts"], np.asarray(counts.sum(axis=1)).ravel()
    )
    folds = study.split("patients").folds
    assert sorted(sum(folds.values(), ())) == ["P1", "P2"] and len(folds) == 2


def test_each_tile_is_the_image_around_its_spot(study):
    image = picture(density(0))
    tiles = study.tiles[study.tiles["slide_id"] == "S0"].set_index("sample_id")
    for row in (0, 57, 319):
        name = study.samples["sample_id"][row]
        x, y = spots()[2][row]
        place = study.tiles.index[study.tiles["sample_id"] == name]
        tile = decode_tile(study.tile_bytes(place)[0]).astype(float)
        left, top = round(x - 16), round(y - 16)
        assert abs(tiles.loc[name, "x"] - left) <= 1
        expected = image[top : top + 32, left : left + 32].mean(axis=(0, 1))
        assert np.abs(tile.mean(axis=(0, 1)) - expected).max() < 4
    assert (tiles["filled"] == 0).all()


def test_what_is_recorded(study):
    about = study.meta["provenance"]["samples"]["S0"]
    assert about["technology"] == "Visium" and about["organism"] == "human"
    assert about["mpp_evidence"] == {"spot pitch": 2.0, "scale factors": 2.0}
    assert about["image_px"] == list(SIZE) and about["warnings"] == []
    with Image.open(study.root / "thumbnails" / "S0.jpg") as thumbnail:
        scale = about["thumbnail_scale"]
        assert thumbnail.width == pytest.approx(SIZE[0] * scale, abs=1)


def test_a_killed_build_resumes_and_changed_positions_are_cut_again(folders, tmp_path):
    folder = shutil.copytree(folders[0], tmp_path / "S0")
    rows = [SampleRow(folder)]
    first = build_spatial(rows, tmp_path / "out", OPTIONS)
    shard = tmp_path / "out" / "tiles" / "S0.array_record"
    written = shard.stat().st_mtime_ns
    (tmp_path / "out" / "study.json").unlink()
    again = build_spatial(rows, tmp_path / "out", OPTIONS)
    assert shard.stat().st_mtime_ns == written
    assert again.fingerprint == first.fingerprint
    path = folder / "spatial" / "tissue_positions.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    fewer = build_spatial(rows, tmp_path / "out", OPTIONS)
    assert len(fewer) == 319
    with pytest.raises(StudyError, match="tile_px: 16 there, 8 now"):
        build_spatial(rows, tmp_path / "out", SpatialOptions(tile_px=8))


def test_a_sample_that_cannot_be_used_does_not_end_the_others(folders, tmp_path):
    broken = tmp_path / "broken"
    (broken / "spatial").mkdir(parents=True)
    rows = [SampleRow(folders[0]), SampleRow(broken)]
    study = build_spatial(rows, tmp_path / "out", OPTIONS)
    reasons = {entry["what"]: entry["reason"] for entry in study.meta["skipped"]}
    assert "lacks filtered_feature_bc_matrix.h5" in reasons[str(broken)]
    assert reasons["split patients"].startswith("all samples are of one patient")
    with pytest.raises(StudyError, match=r"lacks filtered_feature_bc_matrix\.h5"):
        build_spatial(
            rows, tmp_path / "out2", dataclasses.replace(OPTIONS, strict=True)
        )


def test_the_users_scale_overrules_the_evidence(folders, tmp_path):
    folder = shutil.copytree(folders[0], tmp_path / "S0")
    path = folder / "spatial" / "scalefactors_json.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"fiducial_diameter_fullres": 60.0})
    )
    with pytest.raises(StudyError, match="the manifest's column mpp decides"):
        build_spatial([SampleRow(folder)], tmp_path / "a", OPTIONS)
    study = build_spatial([SampleRow(folder, mpp=2.0)], tmp_path / "b", OPTIONS)
    assert study.samples["source_mpp"][0] == 2.0
