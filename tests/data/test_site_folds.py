"""Sites stay whole, and the real patients of TCGA."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.data.site_folds import site_folds
from pathjax.data.study import StudyError


def cohort(seed, patients, sites):
    rng = np.random.default_rng(seed)
    site = np.concatenate([np.arange(sites), rng.integers(0, sites, patients - sites)])
    return pd.DataFrame(
        {
            "patient_id": [f"P{i:03d}" for i in range(patients)],
            "site": [f"S{i:02d}" for i in site],
            "y": rng.choice(["u", "v", "w"], patients, p=[0.6, 0.3, 0.1]),
        }
    )


def folds_by_site(table, made):
    fold = table["patient_id"].map(made.fold)
    assert fold.notna().all()
    return fold.groupby(table["site"]).nunique()


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 999), folds=st.integers(2, 4))
def test_no_site_is_in_two_folds(seed, folds):
    table = cohort(seed, 120, 9)
    made = site_folds(table, folds, labels=["y"], seed=seed)
    assert (folds_by_site(table, made) == 1).all()
    ids = [one for ids in made.split("s").folds.values() for one in ids]
    assert sorted(ids) == sorted(table["patient_id"])
    again = site_folds(
        table.sample(frac=1, random_state=1), folds, labels=["y"], seed=seed
    )
    assert again.split("s") == made.split("s")


def test_fractions_are_kept_and_a_class_of_one_site_is_told():
    table = cohort(0, 400, 40)
    table.loc[table["site"] == "S07", "y"] = "rare"
    shares = {"train": 0.6, "val": 0.1, "probe_fit": 0.15, "probe_test": 0.15}
    made = site_folds(table, shares, labels=["y"])
    assert (folds_by_site(table, made) == 1).all()
    sizes = made.counts.loc[("all patients", "")] / 400
    np.testing.assert_allclose(sizes, list(shares.values()), atol=0.02)
    assert made.notes[0] == "y rare is at site S07 only"
    assert "y rare" in made.notes[1] and "is not in" in made.notes[1]


def test_what_sites_do_not_allow_is_refused():
    table = cohort(0, 60, 4)
    with pytest.raises(StudyError, match="4 sites .* cannot fill 5 folds"):
        site_folds(table, 5)
    large = table.assign(site=np.where(np.arange(60) < 40, "BIG", table["site"]))
    with pytest.raises(StudyError, match=r"\(fold0: 20 of 60\): BIG \(40\)"):
        site_folds(large, 3)
    assert (
        site_folds(large, {"a": 0.7, "b": 0.3}).counts.loc["all patients"].min().min()
    )
    with pytest.raises(StudyError, match="1 patients have no site, first P003"):
        site_folds(table.assign(site=table["site"].where(table.index != 3)), 2)
    with pytest.raises(StudyError, match="lack the columns site"):
        site_folds(table[["patient_id", "y"]], 2)


@pytest.mark.slow
def test_all_of_tcga_takes_seconds(real_data):
    table = pd.read_csv(
        real_data / "tcga_slide_labels" / "tcga_patient_to_cancer_type.csv"
    )
    table["site"] = table["patient_id"].str[5:7]
    assert table["site"].nunique() == 722 and table["cancer_type"].nunique() == 33
    began = time.process_time()
    made = site_folds(table, 5, labels=["cancer_type"])
    assert time.process_time() - began < 30  # 2 to 3 s when nothing else runs
    assert (folds_by_site(table, made) == 1).all()
    # LAML is at one site; what remains are sites that hold most of a small cohort.
    assert made.notes[0] == "cancer_type LAML is at site AB only"
    assert made.deviation < 7.76
    sizes = made.counts.loc[("all patients", "")]
    assert sizes.max() - sizes.min() <= 1
    breast = made.counts.loc[("cancer_type", "BRCA")]
    assert breast.max() - breast.min() <= 1
