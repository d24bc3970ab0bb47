"""What the driver does whatever the set: counts, broken images, resuming."""

import json

import numpy as np
import pytest
from PIL import Image

from pathjax.cli import main
from pathjax.data.images import decode_tile
from pathjax.data.preprocess import Preprocess
from pathjax.data.study import Study, StudyError
from pathjax.datasets.benchmarks import BENCHMARKS, BenchmarkError, build
from pathjax.datasets.benchmarks.build import build_benchmark, stored_tile

COUNTS = {"train": 18, "val": 18}


@pytest.fixture
def files(trees, tmp_path):
    trees["crc"](tmp_path / "files")
    return tmp_path / "files"


def test_other_counts_than_published(files, tmp_path):
    with pytest.raises(BenchmarkError) as caught:
        build_benchmark(BENCHMARKS["crc"], tmp_path / "out", manual_dir=files)
    text = str(caught.value)
    assert "train 18 images for 100,000 published, val 18 images for 7,180" in text
    assert "--partial" in text


def test_a_partial_study_says_so(files, small, tmp_path):
    study = build_benchmark(
        small("crc"), tmp_path / "out", manual_dir=files, partial=True
    )
    assert "for 100,000 published" in study.meta["provenance"]["counts"]


def test_a_broken_image_is_named_and_skipped_also_after_an_interruption(
    files, small, tmp_path, monkeypatch
):
    broken = files / "NCT-CRC-HE-100K" / "MUC" / "MUC-AAQEFMRI.tif"
    broken.write_bytes(broken.read_bytes()[:40])
    crc = small("crc", counts=COUNTS)

    def killed(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_benchmark(crc, tmp_path / "a", manual_dir=files, progress=killed)
    decoded = []
    monkeypatch.setattr(
        build, "stored_tile", lambda *a: decoded.append(a) or stored_tile(*a)
    )
    study = build_benchmark(crc, tmp_path / "a", manual_dir=files)
    assert len(decoded) == 18  # the shard of train was whole
    (skipped,) = study.meta["skipped"]
    assert skipped["what"] == "train/MUC-AAQEFMRI" and skipped["reason"]
    assert len(study.tiles) == 35
    whole = build_benchmark(crc, tmp_path / "b", manual_dir=files)
    assert whole.fingerprint == study.fingerprint


def test_a_shard_of_broken_images_only(files, small, tmp_path):
    for path in (files / "CRC-VAL-HE-7K").rglob("*.tif"):
        path.write_bytes(b"II*\0")
    crc = small("crc", counts=COUNTS)
    study = build_benchmark(crc, tmp_path / "out", manual_dir=files)
    assert len(study.meta["skipped"]) == 18
    assert list(study.split("benchmark").folds) == ["train"]
    for path in files.rglob("*.tif"):
        path.write_bytes(b"")
    with pytest.raises(StudyError, match="no shard was written"):
        build_benchmark(crc, tmp_path / "none", manual_dir=files)


def test_shards_of_one_listing_are_not_mixed_with_another(files, small, tmp_path):
    crc = small("crc", counts=COUNTS)
    build_benchmark(crc, tmp_path / "out", manual_dir=files)
    (files / "CRC-VAL-HE-7K" / "ADI" / "ADI-AAQEFMRI.tif").unlink()
    with pytest.raises(StudyError, match="was begun with other parameters"):
        build_benchmark(crc, tmp_path / "out", manual_dir=files, partial=True)


def test_many_shards_hold_the_records_in_order(files, small, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PER_SHARD", 7)
    crc = small("crc", counts=COUNTS)
    study = build_benchmark(crc, tmp_path / "out", manual_dir=files)
    names = [shard["path"] for shard in study.meta["shards"]]
    assert names[:2] == [
        "tiles/train-0000.array_record",
        "tiles/train-0001.array_record",
    ]
    assert [shard["tiles"] for shard in study.meta["shards"]] == [7, 7, 4] * 2
    assert list(study.tiles["tile_id"][:2]) == [
        "train/ADI-AAQEFMRI",
        "train/ADI-YYYHKNMK",
    ]


def test_a_patient_in_two_folds_is_refused(trees, tmp_path, put_image, refuses):
    trees["bracs"](tmp_path)
    folder = tmp_path / "BRACS_RoI" / "latest_version" / "test" / "0_N"
    put_image(folder / "BRACS_264_N_99.png")
    refuses("bracs", "BRACS_264 of bracs is in the folds train")


def test_an_image_twice_is_refused(trees, tmp_path, put_image, refuses):
    trees["breakhis"](tmp_path)
    other = tmp_path / "BreaKHis_v1" / "histology_slides" / "copy" / "40X"
    put_image(other / "SOB_B_TA-14-3411F-40-001.png")
    refuses("breakhis", "occur more than once")


def test_no_image_at_all(tmp_path, refuses):
    for place in ("train_validation_patches_750", "test_patches_750/patho_1"):
        (tmp_path / place).mkdir(parents=True)
    refuses("gleason", "no image of gleason")


def test_stored_tiles_are_what_evaluation_would_make_of_the_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (46, 70, 3), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    data, side = stored_tile(path.read_bytes(), 22)
    assert side == 46
    expected = Preprocess(22, 22, "bilinear")(pixels)
    np.testing.assert_array_equal(decode_tile(data), expected)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_an_image_of_the_right_size_is_stored_as_published(tmp_path, form):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = tmp_path / "a"
    Image.fromarray(pixels).save(path, form)
    assert stored_tile(path.read_bytes(), 16) == (path.read_bytes(), 16)


def test_images_that_cannot_be_stored(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(ValueError, match="expected 8 bits per channel"):
        stored_tile(path.read_bytes(), 4)
    Image.new("RGB", (40, 40)).save(path)
    monkeypatch.setattr("pathjax.datasets.benchmarks.build.MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="40 x 40 px, more than 1,000"):
        stored_tile(path.read_bytes(), 4)


def test_the_command_line(trees, tmp_path, capsys):
    trees["mhist"](tmp_path / "files")
    words = ["data", "mhist", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "request it at" in capsys.readouterr().err
    words += ["--manual-dir", str(tmp_path / "files"), "--cache", str(tmp_path / "c")]
    assert main(words) == 1
    assert "train 2 images for 2,175 published" in capsys.readouterr().err
    assert main([*words, "--partial"]) == 0
    assert "4 tiles, 4 samples" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    study = Study(tmp_path / "out")
    assert study.tile_px == 224 and study.mpp == 2.0
    assert json.loads((study.root / "study.json").read_text())["name"] == "mhist"
