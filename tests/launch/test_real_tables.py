"""The tables of launch/real.sh, from files named as those of the real sets."""

import collections
import json

import pytest
from pathjax.launch import real_tables

from pathjax.evals.suites import load_tasks


@pytest.fixture
def data(tmp_path):
    patches = tmp_path / "idc_patches" / "9" / "0"
    patches.mkdir(parents=True)
    for x in range(1, 2500, 250):
        for y in (1, 51, 301, 551):
            label = int(x > 1000)
            (patches / f"9_idx5_x{x}_y{y}_class{label}.png").touch()
    regions = tmp_path / "monuseg"
    regions.mkdir()
    types = ["BRCA", "KIRC", "KIRP", "LUAD", "LUSC", "COAD"]
    for number in range(12):
        (regions / f"TCGA-XX-{number:04d}-01Z-00-DX1.jpg").touch()
    labels = tmp_path / "tcga_slide_labels"
    labels.mkdir()
    lines = [f"TCGA-XX-{n:04d},{types[n % 6]}\n" for n in range(11)]
    (labels / "tcga_patient_to_cancer_type.csv").write_text(
        "patient_id,cancer_type\n" + "".join(lines)
    )
    return tmp_path


def test_a_region_is_in_one_fold_and_every_fold_has_both_classes(data):
    rows = real_tables.idc(data)
    assert len(rows) == 40 and {row["patient_id"] for row in rows} == {"9"}
    folds = collections.defaultdict(set)
    seen = collections.defaultdict(set)
    for row in rows:
        across, down = (int((int(row[k]) * 4) // 1000) for k in ("pixel_x", "pixel_y"))
        assert row["slide_id"] == f"9 region {across},{down}"
        folds[row["slide_id"]].add(row["fold"])
        seen[row["fold"]].add(row["tissue"])
    assert all(len(names) == 1 for names in folds.values()) and len(folds) == 30
    assert len(seen) == 5
    assert all(classes == {"IDC", "non-IDC"} for classes in seen.values())


def test_a_patch_of_another_name_is_named(data):
    (data / "idc_patches" / "9" / "other.png").touch()
    with pytest.raises(SystemExit, match=r"other.png: expected PATIENT"):
        real_tables.idc(data)


def test_organs_follow_the_cancer_type_and_are_spread_over_folds(data):
    rows = {row["patient_id"]: row for row in real_tables.organ(data)}
    organs = [rows[f"TCGA-XX-{n:04d}"]["organ"] for n in range(12)]
    assert organs[:6] == ["breast", "kidney", "kidney", "lung", "lung", "colon"]
    assert organs[11] == ""  # without a label, so without an organ
    kidneys = [r["fold"] for r in rows.values() if r["organ"] == "kidney"]
    assert len(set(kidneys)) == 4


def test_the_tasks_are_tasks():
    file = real_tables.Path(real_tables.__file__).with_name("real_tasks.json")
    tasks = load_tasks(str(file))
    assert len(tasks) == len(json.loads(file.read_text()))
    assert {task.study for task in tasks} <= {"idc", "organ", "mob", "lung"}
