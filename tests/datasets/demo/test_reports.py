"""Report texts say synthetic and follow from the latents."""

import dataclasses

from pathjax.datasets.demo.latents import sample_patient
from pathjax.datasets.demo.reports import write_report

COHORT = [sample_patient(0, number) for number in range(200)]


def test_every_report_says_synthetic():
    assert all("synthetic" in write_report(0, one).lower() for one in COHORT)


def test_words_vary():
    assert len({write_report(0, one) for one in COHORT}) > 150


def test_findings_follow_the_latents():
    for one in COHORT:
        text = write_report(0, one)
        assert ("squamous" in text) == (one.cancer_type == 1)
        assert ("p53 abnormal" in text) <= one.tp53
        assert ("p53 wild-type" in text) <= (not one.tp53)
        assert ("loss of MLH1" in text) <= one.msi
        assert ("basal keratins" in text) <= one.basal
        assert ("uniform" in text or "Little" in text) <= (one.pleomorphism <= 0.35)


def test_the_grade_is_told():
    for grade, words in ((1, ("well", "G1")), (3, ("poorly", "G3"))):
        one = dataclasses.replace(COHORT[0], grade=grade)
        assert any(word in write_report(0, one) for word in words)
