"""Splits of a synthetic cohort by patient and by whole site."""

import itertools

import numpy as np

from pathjax.data.study import Split
from pathjax.datasets.demo.latents import CANCER_TYPES, Patient, Stream, stream
from pathjax.datasets.demo.stain import SITES

FOLDS = {"finetune": 0.5, "finetune_val": 0.1, "probe_fit": 0.2, "probe_test": 0.2}
# The folds of ten consecutive patients, so that each kind of patient is spread over the
# folds in proportion.
TURN = (0, 2, 0, 3, 0, 1, 0, 2, 0, 3)
FEWEST_PATIENTS = 2 * len(TURN)


def cohort_split(seed: int, patients: list[Patient]) -> Split:
    """Folds stratified by cancer type, and within it by MSI-like and TP53 status."""
    rng = stream(seed, Stream.SPLIT)
    chance = rng.permutation(len(patients))
    order = np.lexsort(
        (
            chance,
            [patient.tp53 for patient in patients],
            [patient.msi for patient in patients],
            [patient.cancer_type for patient in patients],
        )
    )
    start = int(rng.integers(len(TURN)))
    names = list(FOLDS)
    folds: dict[str, list[str]] = {name: [] for name in names}
    for place, number in enumerate(order):
        fold = names[TURN[(place + start) % len(TURN)]]
        folds[fold].append(patients[number].patient_id)
    return Split(
        name="cohort",
        folds={name: tuple(sorted(ids)) for name, ids in folds.items()},
        note="synthetic patients, stratified by cancer type, MSI-like and TP53 status",
    )


def site_split(patients: list[Patient]) -> Split | None:
    """Folds of whole sites, with sizes as close to FOLDS as sites allow.

    A probe is then tested on a stain that neither it nor fine-tuning has seen (Howard et
    al. 2021, doi:10.1038/s41467-021-24698-1). Of all 4^6 assignments of six sites to four
    folds, the one that best matches the folds' shares of every cancer type is used.
    Returns None if fewer sites than folds have patients.
    """
    count = np.zeros((len(SITES), len(CANCER_TYPES)))
    for patient in patients:
        count[patient.site, patient.cancer_type] += 1
    present = np.flatnonzero(count.sum(axis=1))
    if len(present) < len(FOLDS):
        return None
    share = count[present] / np.maximum(count.sum(axis=0), 1)  # [sites, types]
    expected = np.array(list(FOLDS.values()))[:, None]
    best, least = (), np.inf
    for way in itertools.product(range(len(FOLDS)), repeat=len(present)):
        if len(set(way)) < len(FOLDS):
            continue
        member = np.array(way) == np.arange(len(FOLDS))[:, None]
        off = float((((member @ share) - expected) ** 2 / expected).sum())
        if off < least - 1e-12:
            best, least = way, off
    owner = dict(zip(present.tolist(), best, strict=True))
    folds = {
        name: tuple(
            sorted(
                patient.patient_id
                for patient in patients
                if owner[patient.site] == index
            )
        )
        for index, name in enumerate(FOLDS)
    }
    return Split(
        name="sites",
        folds=folds,
        note="whole sites: probe_test holds sites that no other fold has seen",
    )
