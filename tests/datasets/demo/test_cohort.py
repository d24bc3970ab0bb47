"""Folds: disjoint, complete, stratified; sites kept whole."""

import collections
import dataclasses

import pytest

from pathjax.datasets.demo.cohort import FOLDS, cohort_split, site_split
from pathjax.datasets.demo.latents import sample_patient

COHORT = [sample_patient(0, number) for number in range(240)]
BY_ID = {one.patient_id: one for one in COHORT}


@pytest.mark.parametrize("split", [cohort_split(0, COHORT), site_split(COHORT)])
def test_every_patient_is_in_one_fold(split):
    assert list(split.folds) == list(FOLDS)
    ids = [one for fold in split.folds.values() for one in fold]
    assert len(ids) == len(set(ids)) == 240 and set(ids) == set(BY_ID)
    assert all(split.folds.values())


def test_cohort_folds_have_their_sizes_and_strata():
    split = cohort_split(0, COHORT)
    for name, share in FOLDS.items():
        fold = [BY_ID[one] for one in split.folds[name]]
        assert len(fold) == pytest.approx(share * 240, abs=1)
        kinds = collections.Counter(one.cancer_type for one in fold)
        assert max(kinds.values()) - min(kinds.values()) <= 4, name
        for flag in ("msi", "tp53"):
            part = sum(getattr(one, flag) for one in fold) / len(fold)
            whole = sum(getattr(one, flag) for one in COHORT) / 240
            assert abs(part - whole) < 0.12, (name, flag)


def test_another_seed_gives_other_folds():
    assert cohort_split(0, COHORT).folds == cohort_split(0, COHORT).folds
    assert cohort_split(0, COHORT).folds != cohort_split(1, COHORT).folds


def test_sites_are_kept_whole_and_sizes_near():
    split = site_split(COHORT)
    owner = {}
    for name, ids in split.folds.items():
        for one in ids:
            assert owner.setdefault(BY_ID[one].site, name) == name
        assert len(ids) == pytest.approx(FOLDS[name] * 240, abs=20)


def test_too_few_sites_give_no_site_split():
    same = [dataclasses.replace(one, site=one.number % 3) for one in COHORT[:30]]
    assert site_split(same) is None
    folds = cohort_split(0, same).folds
    assert sum(len(ids) for ids in folds.values()) == 30
