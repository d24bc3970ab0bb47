"""Splits: nobody is tuned on and probed, sites stay together, small studies."""

import numpy as np
import pandas as pd
import pytest

from pathjax.data.tcga_barcodes import parse
from pathjax.datasets.tcga.splits import FRACTIONS, tcga_splits


def patients_of(ids, types):
    return pd.DataFrame(
        {
            "patient_id": list(ids),
            "site": [parse(one).site for one in ids],
            "cancer_type": list(types),
            "tp53": [("mutated", "wild type", None)[i % 3] for i in range(len(ids))],
        }
    )


@pytest.fixture(scope="module")
def cohort(real_data):
    """Every fifth patient of TCGA, with site and cancer type."""
    table = pd.read_csv(
        real_data / "tcga_slide_labels" / "tcga_patient_to_cancer_type.csv"
    )[::5]
    return patients_of(table["patient_id"], table["cancer_type"])


def sides(split):
    tuned = {*split.folds["train"], *split.folds["val"]}
    return tuned, {*split.folds["probe_fit"], *split.folds["probe_test"]}


@pytest.mark.parametrize("site_preserved", [True, False])
def test_nobody_is_tuned_on_and_probed(cohort, site_preserved):
    splits, faults = tcga_splits(cohort, site_preserved=site_preserved)
    named = {split.name: split for split in splits}
    assert list(named) == ["cohort", "cv5", "probe_cv"] and not faults
    tuned, probed = sides(named["cohort"])
    assert not tuned & probed and len(tuned | probed) == len(cohort)
    assert {one for ids in named["probe_cv"].folds.values() for one in ids} == probed
    everyone = [one for ids in named["cv5"].folds.values() for one in ids]
    assert sorted(everyone) == sorted(cohort["patient_id"])
    assert list(named["cv5"].folds) == [f"fold{i}" for i in range(5)]
    site = cohort.set_index("patient_id")["site"]
    owners = [set(site[list(ids)]) for ids in named["cohort"].folds.values()]
    shared = [a & b for i, a in enumerate(owners) for b in owners[:i]]
    assert not any(shared) if site_preserved else any(shared)
    for fold, share in FRACTIONS.items():
        part = len(named["cohort"].folds[fold]) / len(cohort)
        assert abs(part - share) < 0.02, fold
    types = cohort.set_index("patient_id")["cancer_type"]
    brca = types.index[types == "BRCA"]
    assert 0.4 < np.isin(brca, named["cohort"].folds["train"]).mean() < 0.6
    tp53 = cohort.set_index("patient_id")["tp53"]
    for ids in named["probe_cv"].folds.values():
        assert 0.25 < (tp53[list(ids)] == "mutated").mean() < 0.42


@pytest.mark.slow
def test_a_seed_gives_the_same_splits(cohort):
    one, _ = tcga_splits(cohort[:200], seed=1)
    again, _ = tcga_splits(cohort[:200], seed=1)
    other, _ = tcga_splits(cohort[:200], seed=2)
    assert one == again and one != other


def test_where_sites_cannot_be_kept_together_the_note_says_so():
    patients = patients_of([f"TCGA-A1-00{i:02d}" for i in range(20)], ["BRCA"] * 20)
    splits, faults = tcga_splits(patients)
    cohort = splits[0]
    assert not faults and cohort.name == "cohort"
    assert "could not be kept together: 1 sites (A1) cannot fill 4 folds" in cohort.note


def test_patients_without_any_label_are_split_all_the_same():
    ids = [f"TCGA-A{i % 6}-00{i:02d}" for i in range(24)]
    splits, faults = tcga_splits(patients_of(ids, [None] * 24).assign(tp53=None))
    assert not faults and "by whole sites" in splits[0].note


@pytest.mark.parametrize(("patients", "folds"), [(24, 2), (30, 3), (60, 5)])
def test_few_held_out_patients_are_in_few_folds(patients, folds):
    ids = [f"TCGA-A1-00{i:02d}" for i in range(patients)]
    splits, _ = tcga_splits(patients_of(ids, ["BRCA"] * patients))
    assert len(splits[2].folds) == folds
    assert min(map(len, splits[2].folds.values())) >= 4


def test_splits_with_too_few_patients_are_named():
    patients = patients_of([f"TCGA-A1-000{i}" for i in range(8)], ["BRCA"] * 8)
    splits, faults = tcga_splits(patients, site_preserved=False)
    assert [split.name for split in splits] == ["cohort", "cv5", "probe_cv"]
    assert not faults
    splits, faults = tcga_splits(patients[:5], site_preserved=False)
    assert [split.name for split in splits] == ["cv5"]
    assert "without any" in faults["cohort"] and "0 patients" in faults["probe_cv"]
    splits, faults = tcga_splits(patients[:3])
    assert not splits and set(faults) == {"cohort", "cv5", "probe_cv"}
