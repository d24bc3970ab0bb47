import pandas as pd
import pytest
from made_spots import picture, spots

from pathjax.datasets.spatial.anndata_file import sample_of
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.tables import join_samples, patient_split, sample_table


def table(name="S1", patient="P1", **labels):
    image = ImageSource.of_array(picture())
    sample = sample_of(spots(), name, name, SpatialOptions(), image=image,
                       patient=patient)  # fmt: skip
    return sample_table(sample, 2.0, 1.6, labels)


def test_a_row_for_each_spot():
    rows = table(grade="G2")
    assert list(rows["sample_id"][:2]) == ["S1_AAAC0000-1", "S1_AAAC0001-1"]
    assert set(rows["slide_id"]) == {"S1"} and rows["upsampled"].all()
    assert list(rows["total_counts"]) == list(spots().X.sum(axis=1))
    assert list(rows.columns[-2:]) == ["zone", "grade"]


def test_labels_become_numbers_or_classes():
    first = table("S1", grade="G2", age="61", flag="007")
    joined, targets = join_samples([first, table("S2", age="48.5", flag="x")])
    kinds = {target.name: (target.kind, target.classes) for target in targets}
    assert kinds == {
        "zone": ("class", ("lower", "upper")),
        "grade": ("class", ("G2",)),
        "age": ("number", ()),
        "flag": ("class", ("007", "x")),
        "total_counts": ("number", ()),
    }
    assert set(joined["age"]) == {61.0, 48.5}
    assert joined["grade"].isna().sum() == len(first)


@pytest.mark.parametrize(("patients", "test"), [(2, 1), (10, 2)])
def test_whole_patients_are_tested(patients, test):
    names = [f"P{number}" for number in range(patients)]
    (split,), missing = patient_split(pd.DataFrame({"patient_id": names * 3}))
    assert len(split.folds["test"]) == test and not missing
    assert sorted(split.folds["train"] + split.folds["test"]) == sorted(names)


def test_nothing_is_held_out_of_one_patient():
    (split,), missing = patient_split(pd.DataFrame({"patient_id": ["P1", "P1"]}))
    assert split.name == "all" and split.folds == {"train": ("P1",)}
    assert missing == [("split patients", "all samples are of one patient")]
