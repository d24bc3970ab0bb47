"""Counts have the moments they claim, and latents move the right genes."""

import dataclasses

import numpy as np
import pytest

from pathjax.datasets.demo.latents import CANCER_TYPES, TISSUES, sample_patient
from pathjax.datasets.demo.programmes import (
    FEWEST_GENES,
    MARKERS,
    PROGRAMMES,
    negative_binomial,
    sample_counts,
    sample_genes,
    scores,
)

GENES = sample_genes(0, 400)


@pytest.mark.parametrize(("mean", "dispersion"), [(5.0, 0.4), (200.0, 0.05)])
def test_negative_binomial_moments(mean, dispersion):
    n = 200_000
    counts = negative_binomial(
        np.random.default_rng(0), np.full(n, mean), np.full(n, dispersion)
    )
    variance = mean + dispersion * mean**2
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
    assert counts.var() == pytest.approx(variance, rel=0.03)
    # P(0) of the negative binomial, which neither Poisson nor a normal would give.
    zero = (1 + dispersion * mean) ** (-1 / dispersion)
    error = np.sqrt(zero * (1 - zero) / n)
    assert (counts == 0).mean() == pytest.approx(zero, abs=5 * error + 1e-9)


def test_symbols():
    assert len(set(GENES.symbols)) == 400
    assert {"MKI67", "CD3E", "COL1A1", "ADIPOQ", "MDM2", "ESR1"} < set(GENES.symbols)
    noise = [s.startswith("SYN") for s in GENES.symbols]
    assert sum(noise) > 150 and noise == [p == "noise" for p in GENES.programme]
    listed = [s.lstrip("-") for text in MARKERS.values() for s in text.split()]
    assert len(set(listed)) == len(listed)


def test_a_longer_panel_begins_like_a_shorter_one():
    short = sample_genes(0, FEWEST_GENES)
    assert short.symbols == GENES.symbols[:FEWEST_GENES]
    np.testing.assert_array_equal(short.loadings, GENES.loadings[:FEWEST_GENES])
    assert all(short.programme.count(name) == 2 for name in MARKERS)


def test_housekeeping_answers_to_nothing():
    rows = [p == "housekeeping" for p in GENES.programme]
    assert sum(rows) == 12 and not GENES.loadings[rows].any()


TISSUE_OF = {"stroma": "stroma", "adipose": "adipose", "immune": "lymphocytes"}
CHANGES = {
    "tp53_loss": ({"tp53": False, "pleomorphism": 0.2}, {"tp53": True}),
    "basal": ({"basal": False}, {"basal": True}),
    "msi": ({"msi": False}, {"msi": True}),
    "proliferation": ({"proliferation": 0.2}, {"proliferation": 0.7}),
    "mucin": ({"mucin": 0.1}, {"mucin": 0.5}),
    "hypoxia": ({"hypoxia": 0.2}, {"hypoxia": 0.7}),
    "differentiation": ({"differentiation": 0.2}, {"differentiation": 0.8}),
    **{
        name.replace("-", "_"): ({"cancer_type": (i + 1) % 4}, {"cancer_type": i})
        for i, name in enumerate(CANCER_TYPES)
    },
}


def composed(tissue, share):
    rest = (1 - share) / (len(TISSUES) - 1)
    return {"composition": tuple(share if t == tissue else rest for t in TISSUES)}


for _name in ("stroma", "adipose", "immune", "tumour", "normal"):
    _tissue = TISSUE_OF.get(_name, _name)
    CHANGES[_name] = (composed(_tissue, 0.1), composed(_tissue, 0.5))


def test_every_programme_has_a_change():
    assert set(CHANGES) == set(PROGRAMMES)


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_latents_shift_the_right_genes(programme):
    column = PROGRAMMES.index(programme)
    means = []
    for change in CHANGES[programme]:
        logs = []
        for number in range(12):
            patient = dataclasses.replace(sample_patient(0, number), **change)
            counts = sample_counts(0, patient, GENES)
            logs.append(np.log(counts / counts.sum() * 1e4 + 0.1))
        means.append(np.mean(logs, axis=0))
    shift = means[1] - means[0]
    rows = np.array([p == programme for p in GENES.programme])
    sign = np.sign(GENES.loadings[rows, column])
    assert (shift[rows] * sign > 0).mean() > 0.85
    still = np.abs(shift[[p == "housekeeping" for p in GENES.programme]])
    assert np.median(np.abs(shift[rows])) > 3 * np.median(still)


def test_scores_are_moderate():
    values = np.stack([scores(sample_patient(0, number)) for number in range(400)])
    assert np.abs(values).max() < 4
    assert (values.std(axis=0) > 0.3).all()
    assert (np.abs(values.mean(axis=0)) < 1).all()


def test_counts_depend_on_seed_and_patient_alone():
    one = sample_counts(0, sample_patient(0, 5), GENES)
    np.testing.assert_array_equal(one, sample_counts(0, sample_patient(0, 5), GENES))
    assert one.dtype == np.int32 and (one >= 0).all()
    libraries = [
        sample_counts(0, sample_patient(0, number), GENES).sum()
        for number in range(300)
    ]
    assert np.std(np.log(libraries)) == pytest.approx(0.35, rel=0.25)
