"""Each published layout becomes a sound study; docs/benchmarks.md agrees with the sets."""

import dataclasses
from pathlib import Path

import pytest
from benchmark_tables import files_list, sets_table

from pathjax.data.check import check_study
from pathjax.data.images import decode_tile
from pathjax.data.tile_source import read_image
from pathjax.datasets.benchmarks import BENCHMARKS, BenchmarkError
from pathjax.datasets.benchmarks.build import build_benchmark, read_records
from pathjax.datasets.benchmarks.sets import BACH_VALIDATION, BREAKHIS_VALIDATION
from pathjax.evals.suites import load_tasks


@pytest.fixture
def built(trees, small, tmp_path):
    """Builds a set's small tree."""

    def build(name, **changes):
        trees[name](tmp_path / "files")
        return build_benchmark(
            small(name, **changes),
            tmp_path / "study",
            manual_dir=tmp_path / "files",
            cache=tmp_path / "cache",
            partial=True,
        )

    return build


def folds_of(study):
    """Fold -> {tile_id: label}."""
    found = {}
    for fold in study.split("benchmark").folds:
        tiles = study.tiles.iloc[study.fold_tiles("benchmark", fold)]
        found[fold] = dict(zip(tiles["tile_id"], tiles["label"], strict=True))
    return found


@pytest.mark.parametrize("name", BENCHMARKS)
def test_study_is_sound_and_fits_its_task(built, name):
    study = built(name)
    assert check_study(study).problems == ()
    assert study.targets["label"].classes == BENCHMARKS[name].classes
    assert study.meta["provenance"]["licence"] and not study.synthetic
    (task,) = load_tasks(name)
    assert task.study == study.name
    strange = [text for text in task.problems(study) if "class" not in text]
    assert strange == []  # small trees may lack classes in a fold
    assert sum(map(len, folds_of(study).values())) == len(study.tiles)


def test_bach_folds_are_eva_s_ranges_over_the_listing(built):
    study = built("bach")
    folds = folds_of(study)
    assert {fold: len(ids) for fold, ids in folds.items()} == {"train": 268, "val": 132}
    assert study.meta["provenance"]["counts"] == "as published"
    listing = [
        f"{prefix}{number:03d}"
        for prefix in ("b", "is", "iv", "n")
        for number in range(1, 101)
    ]
    expected = [listing[i] for start, end in BACH_VALIDATION for i in range(start, end)]
    assert list(folds["val"]) == expected
    assert folds["val"]["b042"] == "Benign" and folds["train"]["n100"] == "Normal"
    assert study.mpp == pytest.approx(0.42 * 1536 / 8)
    assert len(study.split("benchmark").folds["val"]) == 132  # an image, a patient


def test_bach_in_part_has_no_folds(trees, tmp_path, refuses):
    trees["bach"](tmp_path)
    photos = tmp_path / "ICIAR2018_BACH_Challenge" / "Photos"
    (photos / "Benign" / "b001.tif").unlink()
    refuses("bach", "has 399 images, expected 400")


def test_crc_folders_are_the_folds(built):
    folds = folds_of(built("crc"))
    assert {fold: len(ids) for fold, ids in folds.items()} == {"train": 18, "val": 18}
    assert folds["val"]["val/TUM-AAQEFMRI"] == "TUM"


def test_a_folder_that_is_no_class(trees, tmp_path, put_image, refuses):
    trees["crc"](tmp_path)
    put_image(tmp_path / "CRC-VAL-HE-7K" / "XXX" / "XXX-AAAAAAAA.tif")
    refuses("crc", r"folders XXX, which are not classes; expected")


def test_crc_msi_patients_slides_and_sites_are_in_the_names(built):
    study = built("crc-msi")
    tiles = study.tiles
    assert set(tiles["patient_id"]) == {"TCGA-CM-6170", "TCGA-AA-3841", "TCGA-AY-4070"}
    assert set(tiles["site"]) == {"CM", "AA", "AY"}
    assert "TCGA-CM-6170-01Z-00-DX1" in set(tiles["slide_id"])
    assert study.split("benchmark").folds["test"] == ("TCGA-AY-4070",)
    assert set(tiles["label"]) == {"MSS", "MSIMUT"}


def test_crc_msi_in_folders_per_fold_and_a_name_without_barcode(
    trees, small, tmp_path, put_image
):
    trees["crc-msi"](tmp_path)
    for fold in ("TRAIN", "TEST"):
        (tmp_path / f"CRC_DX_{fold}").mkdir()
        for label in ("MSS", "MSIMUT"):
            (tmp_path / f"CRC_DX_{fold}_{label}" / label).rename(
                tmp_path / f"CRC_DX_{fold}" / label
            )
    whole = small("crc-msi", counts={"train": 8, "test": 4})
    study = build_benchmark(whole, tmp_path / "out", manual_dir=tmp_path)
    assert len(study.tiles) == 12
    put_image(tmp_path / "CRC_DX_TEST" / "MSS" / "blk-AAAA-patient1.png")
    with pytest.raises(BenchmarkError, match="expected a name like blk"):
        build_benchmark(whole, tmp_path / "other", manual_dir=tmp_path)


def test_mhist_partition_is_the_fold(built):
    assert folds_of(built("mhist")) == {
        "train": {"MHIST_aaa": "SSA", "MHIST_aab": "HP"},
        "test": {"MHIST_aac": "HP", "MHIST_aad": "SSA"},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Partition", "Fold", "lacks the columns Partition"),
        ("aaa.png,SSA", "aaa.png,XX", "label 'XX'"),
        (",train", ",dev", "partition 'dev'"),
        ("MHIST_aaa.png", "../MHIST_aaa.png", "expected a file name"),
    ],
)
def test_mhist_table_is_checked(trees, tmp_path, refuses, old, new, message):
    trees["mhist"](tmp_path)
    table = tmp_path / "annotations.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    refuses("mhist", message)


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16"])
def test_mhist_table_saved_by_a_spreadsheet(trees, small, tmp_path, code):
    trees["mhist"](tmp_path)
    table = tmp_path / "annotations.csv"
    text = table.read_text().replace(",", ";").replace("\n", "\r\n")
    table.write_bytes(text.encode(code))
    paths = {"annotations": table, "images": tmp_path / "images"}
    records = read_records(small("mhist"), paths)
    assert [one.label for one in records] == ["SSA", "HP", "HP", "SSA"]


def test_breakhis_takes_40x_of_four_types_split_by_eva_s_patients(built):
    study = built("breakhis")
    patients = {
        fold: {one.removeprefix("breakhis:") for one in ids}
        for fold, ids in study.split("benchmark").folds.items()
    }
    assert patients == {
        "train": {"9133", "3411F", "16184", "13413", "2980"},
        "val": {"23060CD", "16184CD", "19979", "2773"},
    }
    assert all("-40-" in one for one in study.tiles["tile_id"])
    assert set(study.tiles["label"]) == {"TA", "MC", "F", "DC"}


def test_breakhis_every_listed_patient_is_held_out(trees, tmp_path):
    trees["breakhis"](tmp_path, {"F": sorted(BREAKHIS_VALIDATION)})
    slides = {"slides": tmp_path / "BreaKHis_v1" / "histology_slides"}
    records = read_records(BENCHMARKS["breakhis"], slides)
    assert len(BREAKHIS_VALIDATION) == 14 and len(records) == 28
    assert {record.fold for record in records} == {"val"}


def test_breakhis_unknown_type(trees, tmp_path, put_image, refuses):
    trees["breakhis"](tmp_path)
    slides = tmp_path / "BreaKHis_v1" / "histology_slides"
    put_image(slides / "breast" / "40X" / "SOB_B_XX-14-3411F-40-001.png")
    refuses("breakhis", "expected a name like SOB")


def test_gleason_array_is_the_fold_and_the_second_pathologist_is_not_read(built):
    folds = folds_of(built("gleason"))
    assert set(folds["val"].values()) == {"benign"}
    assert set(folds["train"].values()) == {"gleason_3", "gleason_4", "gleason_5"}
    assert folds["test"] == {"test/ZT80_38_A_1_2_patch_18_class_1": "gleason_3"}


@pytest.mark.parametrize(
    "name", ["ZT76_39_A_1_1_patch_1_class_4", "ZT99_1_A_1_1_patch_1_class_0", "x"]
)
def test_gleason_unknown_class_or_array(trees, tmp_path, put_image, refuses, name):
    trees["gleason"](tmp_path)
    put_image(tmp_path / "train_validation_patches_750" / f"{name}.jpg")
    refuses("gleason", "expected a name like ZT76")


def test_bracs_slides_and_mpp_of_each_tile(built):
    study = built("bracs")
    assert study.split("benchmark").folds == {
        "train": ("BRACS_264",),
        "val": ("BRACS_265",),
        "test": ("BRACS_266",),
    }
    # 12, 16, 20... wide and 16 high: the short side decides
    mpp = study.tiles["mpp"][study.tiles["slide_id"] == "BRACS_264"].tolist()
    assert mpp == [0.25 * min(12 + 4 * i, 16) / 8 for i in range(7)]
    assert study.mpp == 0.25 * 16 / 8


def test_pcam_keeps_pixels_and_takes_slides_from_the_meta_files(built):
    study = built("pcam")
    assert study.tile_px == 96 and study.mpp == 1.0
    folds = folds_of(study)
    assert list(folds) == ["train", "val", "test"]
    assert folds["val"]["val-000001"] == "tumor"
    assert folds["val"]["val-000002"] == "no_tumor"
    last = study.tiles.iloc[-1]
    assert (last.patient_id, last.x, last.y) == ("camelyon16_test_2", 80, 40)


def test_pcam_pixels_are_those_of_the_file(built, tmp_path):
    import h5py
    import numpy as np

    study = built("pcam")
    name = "camelyonpatch_level_2_split_test_x.h5"
    with h5py.File(tmp_path / "files" / name) as file:
        expected = file["x"][:]
    rows = study.fold_tiles("benchmark", "test")
    tiles = [decode_tile(data) for data in study.tile_bytes(rows)]
    np.testing.assert_array_equal(tiles, expected)


def test_pcam_broken_files(trees, small, tmp_path, refuses):
    import h5py

    trees["pcam"](tmp_path, meta=False)
    labels = tmp_path / "camelyonpatch_level_2_split_valid_y.h5"
    for key, values, message in (
        ("y", [0, 1, 2, 0, 1], r"labels \[2\], expected 0 and 1"),
        ("y", [0, 1], "for the 2 labels"),
        ("labels", [0, 1], "no dataset 'y'"),
    ):
        with h5py.File(labels, "w") as file:
            file[key] = values
        refuses("pcam", message, small("pcam"))
    labels.write_bytes(b"no")
    refuses("pcam", "not a complete HDF5 file", small("pcam"))


def test_real_colorectal_tiles(real_data, tmp_path):
    """One real tile per class, under the published names, as both folds."""
    files = sorted((real_data / "nct_crc_samples").glob("*.tif"))
    if not files:
        pytest.skip(f"no nct_crc_samples in {real_data}")
    for folder in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"):
        for file in files:
            place = tmp_path / folder / file.name.partition("-")[0]
            place.mkdir(parents=True)
            (place / file.name).symlink_to(file)
    crc = dataclasses.replace(BENCHMARKS["crc"], counts={"train": 9, "val": 9})
    study = build_benchmark(crc, tmp_path / "study", manual_dir=tmp_path)
    assert check_study(study).problems == ()
    assert study.tile_px == 224 and study.mpp == 0.5
    assert sorted(study.tiles["label"].unique()) == list(crc.classes)
    for file, data in zip(files, study.tile_bytes(range(9)), strict=True):
        assert (decode_tile(data) == read_image(file)).all()  # nothing is lost


DOCS = Path(__file__).parents[3] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("block", [sets_table, files_list])
def test_the_page_agrees_with_the_registry(block):
    assert block(BENCHMARKS.values()) in DOCS.read_text(encoding="utf-8"), (
        "run python tests/benchmark_tables.py and put its blocks there"
    )


def test_the_registry_is_complete():
    for name, one in BENCHMARKS.items():
        assert one.name == name
        assert one.scored in one.counts and "train" in one.counts
        assert len({part.key for part in one.parts}) == len(one.parts)
        assert all(len(part.md5) in (0, 32) for part in one.parts)
