"""Patients: balanced types, associated labels, a patient independent of its cohort."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from pathjax.datasets.demo.latents import (
    CANCER_TYPES,
    TISSUES,
    Stream,
    sample_patient,
    stream,
)


@pytest.fixture(scope="module")
def cohort():
    return [sample_patient(3, number) for number in range(1200)]


@pytest.fixture(scope="module")
def table(cohort):
    frame = pd.DataFrame([one.numbers() for one in cohort])
    return frame.assign(
        site=[one.site for one in cohort], kind=[one.cancer_type for one in cohort]
    )


def test_a_patient_depends_on_seed_and_number_alone():
    assert sample_patient(0, 17) == sample_patient(0, 17)
    assert sample_patient(0, 17) != sample_patient(1, 17)
    first = stream(0, Stream.TILE, 1).random()
    assert first != stream(0, Stream.COUNTS, 1).random()


def test_types_are_balanced_in_every_block(cohort):
    kinds = np.array([one.cancer_type for one in cohort]).reshape(-1, 4)
    assert (np.sort(kinds, axis=1) == np.arange(4)).all()


def test_classes_are_not_rare(table):
    for label, low, high in (
        ("tp53", 0.4, 0.6),
        ("basal", 0.4, 0.6),
        ("msi", 0.2, 0.4),
    ):
        assert low < table[label].mean() < high, label
    assert table["grade"].value_counts(normalize=True).min() > 0.15


def test_composition_adds_up(cohort):
    parts = np.array([one.composition for one in cohort])
    assert parts.shape[1] == len(TISSUES) and (parts > 0).all()
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    assert all(one.purity == one.composition[0] for one in cohort)
    assert parts[:, 0].min() > 0.35 and parts[:, 0].max() < 0.83


@pytest.mark.parametrize(
    ("label", "latents"),
    [
        ("tp53", ("pleomorphism", "nuclear_size", "proliferation")),
        ("basal", ("chromatin", "basophilia", "proliferation")),
        ("msi", ("infiltration", "mucin", "lymphocytes")),
    ],
)
def test_labels_shift_their_latents(table, label, latents):
    for latent in latents:
        with_it, without = (table[latent][table[label] == k] for k in (1.0, 0.0))
        error = np.hypot(with_it.sem(), without.sem())
        assert with_it.mean() - without.mean() > 5 * error, latent


def test_types_are_spread_over_sites_but_not_evenly(table):
    counts = pd.crosstab(table["site"], table["kind"])
    assert counts.shape == (6, len(CANCER_TYPES)) and counts.to_numpy().min() > 10
    assert chi2_contingency(counts).pvalue < 1e-6


def test_ids_hold_the_site():
    one = sample_patient(0, 4)
    assert one.patient_id == f"DEMO-{one.site + 1:02d}-0005"
