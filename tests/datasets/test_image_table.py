"""A study from a table of images: pixels, targets, folds, and rows left out."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pathjax.cli import main
from pathjax.data.check import check_study
from pathjax.data.study import StudyError
from pathjax.datasets.image_table import cut
from pathjax.datasets.registry import Images

ROWS = [
    # path, patient, mpp, fold, grade, age
    ("a.png", "P1", "0.5", "train", "G1", "60"),
    ("b.png", "P1", "0.5", "train", "G2", "60"),
    ("c.png", "P2", "0,25", "test", "NA", "71.5"),
]
COLUMNS = ("path", "Patient", "MPP", "fold", "grade", "age")


def build(folder, out="study", **options):
    defaults = {"targets": ("grade", "age:number"), "fold": "fold", "tile_px": 32}
    images = Images(**defaults | options)
    return images.build(folder / "table.csv", folder / out, lambda done, total: None)


def write(folder, rows=ROWS, columns=COLUMNS):
    frame = pd.DataFrame(rows, columns=list(columns))
    frame.to_csv(folder / "table.csv", index=False, sep=";")


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, side in (("a", 32), ("b", 100), ("c", 64)):
        pixels = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    write(tmp_path)
    return tmp_path


def test_rows_become_samples_and_images_become_tiles(folder):
    study = build(folder)
    assert not check_study(study).problems
    samples = study.samples.set_index("sample_id")
    assert list(samples.index) == ["a.png", "b.png", "c.png"]
    # pandas 3 reads a null as NaN
    assert samples["grade"].dropna().to_dict() == {"a.png": "G1", "b.png": "G2"}
    assert list(samples["age"]) == [60, 60, 71.5]
    # 100 px hold nine tiles of 32; 64 px at 0.25 are 32 at 0.5.
    tiles = study.tiles
    assert tiles.groupby("sample_id").size().to_dict() == {
        "a.png": 1,
        "b.png": 9,
        "c.png": 1,
    }
    assert sorted(set(tiles[tiles["sample_id"] == "b.png"]["x"])) == [2, 34, 66]
    assert study.split("folds").folds == {"train": ("P1",), "test": ("P2",)}
    assert study.meta["skipped"] == []


def test_the_same_build_again_gives_the_same_study(folder):
    first = build(folder)
    assert build(folder).fingerprint == first.fingerprint
    with pytest.raises(StudyError, match="begun with other parameters"):
        build(folder, tile_px=16)


def test_tiles_are_the_pixels_of_the_image():
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    tiles = cut(image, 1.0, 2, 1.0)
    assert [(x, y) for x, y, _ in tiles] == [
        *((0, 0), (2, 0), (4, 0)),
        *((0, 2), (2, 2), (4, 2)),
    ]
    np.testing.assert_array_equal(tiles[4][2], image[2:4, 2:4])
    assert cut(image, 1.0, 6, 1.0) == []


def test_another_mpp_is_resized_and_places_stay_in_the_image():
    image = np.full((40, 80, 3), 200, np.uint8)
    tiles = cut(image, 0.25, 10, 0.5)
    assert len(tiles) == 2 * 4
    assert (tiles[-1][0], tiles[-1][1]) == (60, 20)
    assert all((tile == 200).all() for *_, tile in tiles)


def test_rows_that_cannot_be_used_are_named_and_the_others_are_kept(folder):
    (folder / "bad.png").write_bytes(b"<html>not found</html>")
    rows = [
        *ROWS,
        ("bad.png", "P3", "0.5", "test", "G1", "50"),
        ("none.png", "P3", "0.5", "test", "G1", "50"),
        ("a.jpg", "P4", "250", "test", "G1", "50"),
    ]
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    rows.append(("small.png", "P2", "0.5", "test", "G1", "71.5"))
    Image.new("RGB", (8, 8)).save(folder / "small.png")
    write(folder, rows)
    study = build(folder)
    skipped = {item["what"]: item["reason"] for item in study.meta["skipped"]}
    assert len(study.samples) + len(skipped) == len(rows)
    assert "not a complete image" in skipped["bad.png (line 5)"]
    assert "No such file" in skipped["none.png (line 6)"]
    assert "expected micrometres per pixel, 0.05 to 20" in skipped["a.jpg (line 7)"]
    assert "smaller than a tile of 16 um" in skipped["small.png (line 8)"]
    assert study.split("folds").folds == {"train": ("P1",), "test": ("P2",)}


def replaced(row, column, value):
    rows = [list(one) for one in ROWS]
    rows[row][COLUMNS.index(column)] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (replaced(1, "Patient", ""), "patient_id is empty in 1 of 3 rows"),
        (replaced(2, "Patient", "p1"), "differ only by case"),
        (replaced(1, "fold", "test"), "images of 1 patients are in several folds"),
        (replaced(1, "path", "a.png"), "names 1 images twice, first a.png"),
        (replaced(0, "age", "old"), "expected numbers in column age, got 'old'"),
    ],
)
def test_tables_that_cannot_be_trusted_are_refused(folder, rows, message):
    write(folder, rows)
    with pytest.raises(ValueError, match=message):
        build(folder)


def test_targets_that_do_not_fit_are_refused(folder):
    for targets, message in (
        (("tumour",), "lacks the columns tumour"),
        (("age:years",), "expected age, age:number or age:survival"),
        (("age:survival",), "lacks the columns age_event"),
    ):
        with pytest.raises(ValueError, match=message):
            build(folder, targets=targets)


def test_several_images_of_a_sample_have_to_agree(folder):
    columns = (*COLUMNS, "sample")
    rows = [(*row, row[1]) for row in ROWS]
    write(folder, rows, columns)
    with pytest.raises(ValueError, match=r"sample P1 have 2 values of grade"):
        build(folder)
    study = build(folder, "other", targets=("age:number",))
    assert list(study.samples["sample_id"]) == ["P1", "P2"]
    assert len(study.tiles[study.tiles["sample_id"] == "P1"]) == 10


def test_folds_of_slides_declare_patients_of_several_folds(folder):
    rows = [(*row, slide) for row, slide in zip(ROWS, "aab", strict=False)]
    columns = (*COLUMNS, "slide_id")
    rows = [(row[0], "P1", *row[2:]) for row in rows]
    write(folder, rows, columns)
    split = build(folder).split("folds")
    assert split.unit == "slide_id" and split.shared_patients == ("P1",)
    assert split.folds == {"train": ("a",), "test": ("b",)}
    rows[1] = (*rows[1][:-1], "b")
    write(folder, rows, columns)
    with pytest.raises(ValueError, match="1 slides are in several folds, first b"):
        build(folder, "other")


def test_no_usable_image_is_an_error_that_says_why(folder):
    write(folder, [("x.png", "P1", "0.5", "train", "G1", "60")])
    with pytest.raises(StudyError, match=r"none of the 1 images.*x.png: .*No such"):
        build(folder)


def test_the_command_builds_from_real_patches(real_data, tmp_path, capsys):
    """Breast tiles of 50 px at about 1 um/px; the label is in the file's name."""
    paths = sorted((real_data / "idc_patches").rglob("*.png"))
    rows = [
        (str(path), path.parts[-3], "1.0", path.stem.rpartition("class")[2])
        for path in paths
    ]
    write(tmp_path, rows, ("path", "patient", "mpp", "idc"))
    words = ["--source", str(tmp_path / "table.csv"), "--out", str(tmp_path / "study")]
    words += ["--targets", "idc", "--tile-px", "48", "--mpp", "1.0", "--name", "idc"]
    assert main(["data", "images", *words]) == 0
    assert f"{len(paths)} tiles, {len(paths)} samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("patient_id", ["", "", ""], "patient_id is empty in every row"),
        ("sample_id", ["S1", "", "S3"], "sample_id is empty in 1 of 3 rows"),
        ("site", ["", "B", "NA"], "site is empty in 2 of 3 rows"),
    ],
)
def test_ids_that_some_rows_lack_are_refused(folder, column, cells, message):
    frame = pd.read_csv(folder / "table.csv", sep=";", dtype=str)
    frame = frame.rename(columns={"Patient": "patient_id"})
    frame[column] = cells
    frame.to_csv(folder / "table.csv", index=False)
    with pytest.raises(ValueError, match=message):
        build(folder)


def test_a_blank_column_of_samples_is_none(folder):
    frame = pd.read_csv(folder / "table.csv", sep=";", dtype=str)
    frame.assign(sample_id="", site="").to_csv(folder / "table.csv", index=False)
    study = build(folder)
    assert list(study.samples["sample_id"]) == ["a.png", "b.png", "c.png"]
    assert set(study.samples["site"]) == {"unknown"}


def test_a_patient_without_a_fold_is_said_and_fails_under_strict(folder):
    rows = [ROWS[0], ROWS[1], (*ROWS[2][:3], "NA", *ROWS[2][4:])]
    write(folder, rows)
    with pytest.raises(ValueError, match="--strict.*1 patients are in no fold: P2"):
        build(folder, strict=True)
    split = build(folder, out="again").split("folds")
    assert split.folds == {"train": ("P1",)}
    assert split.note == "1 patients are in no fold: P2"


def test_under_strict_a_bad_row_or_column_ends_the_build(folder):
    build(folder, out="whole", strict=True)
    write(folder, [*ROWS[:2], ("no.png", *ROWS[2][1:])])
    with pytest.raises(ValueError, match="--strict.*no.png"):
        build(folder, strict=True)
    assert not (folder / "study" / "study.json").exists()


@pytest.mark.slow
def test_survival_of_months_and_events_from_table_to_report(tmp_path):
    """Brighter images have sooner events; patients have one or two images."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(24):
        for image in range(1 + number % 2):
            pixels = random.integers(0, 20 + 9 * number, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}{image}.png")
            months, event = str(50 - 2 * number), str(int(number % 4 > 0))
            name = f"{number}{image}.png"
            rows.append((name, f"P{number}", "0.5", "", months, event))
    columns = ("path", "Patient", "MPP", "fold", "os", "os_event")
    write(tmp_path, rows, columns)
    study = build(tmp_path, targets=("os:survival",), fold=None)
    assert study.targets["os"].kind == "survival" and not check_study(study).problems
    assert main(["data", "show", str(study.root)]) == 0
    root = str(study.root)
    split = ["--name", "three", "--folds", "3", "--stratify", "os"]
    assert main(["data", "split", root, *split]) == 0
    task = {
        "name": "OS",
        "study": study.name,
        "target": "os",
        "kind": "survival",
        "split": "three",
        "fit": None,
        "test": "*",
    }
    (tmp_path / "task.json").write_text(json.dumps([task]))
    evaluated = ["evaluate", "colours=handcrafted", "--study", root]
    tasks, out = str(tmp_path / "task.json"), str(tmp_path / "out")
    assert main([*evaluated, "--tasks", tasks, "--out", out]) == 0
    assert main(["report", out]) == 0
    text = (tmp_path / "out" / "report" / "table.md").read_text()
    assert "C-index, chance 50.0" in text
    assert "Survival of 24 patients, 18 with the event" in text
    assert (tmp_path / "out" / "report" / "survival.png").is_file()
    write(tmp_path, [(*row[:5], str(int(row[5]) + 1)) for row in rows], columns)
    with pytest.raises(ValueError, match="os: expected events 1 and censored 0, got 1"):
        build(tmp_path, "other", targets=("os:survival",), fold=None)
