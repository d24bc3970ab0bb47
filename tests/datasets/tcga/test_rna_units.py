"""Every scale is recognised from values, converted exactly, or refused."""

import numpy as np
import pytest
from tiny_rna import tpm

from pathjax.datasets.tcga.genes import reconcile
from pathjax.datasets.tcga.rna_units import UNITS, contradiction, convert, recognise
from pathjax.datasets.tcga.tables import TcgaError

TPM = tpm(30, 400)
COUNTS = np.random.default_rng(1).poisson(np.minimum(TPM, 30_000)).astype(float)
NORMAL = np.random.default_rng(2).normal(size=(30, 400))
CENTRED = NORMAL * np.linspace(0.1, 4, 400)


def as_file(values):
    """Four decimals and float32, as values come from a matrix."""
    return np.round(values, 4).astype(np.float32)


CASES = {
    "tpm": (TPM, "matrix.tsv"),
    "count": (COUNTS, "matrix.tsv"),
    "fpkm": (TPM / 3, "luad_fpkm.tsv"),
    "log2-tpm-1": (np.log2(TPM + 1), "TCGA-LUAD.star_tpm.tsv.gz"),
    "log2-tpm-0.001": (np.log2(TPM + 0.001), "tcga_RSEM_gene_tpm.gz"),
    "log2-fpkm-1": (np.log2(TPM / 3 + 1), "TCGA-LUAD.star_fpkm.tsv.gz"),
    "log2-fpkm-0.001": (np.log2(TPM / 3 + 0.001), "tcga_RSEM_gene_fpkm.gz"),
    "log2-count-1": (np.log2(COUNTS + 1), "TCGA-LUAD.star_counts.tsv.gz"),
    "log2-norm-count-1": (np.log2(TPM * 20 + 1), "TCGA.LUAD.sampleMap%2FHiSeqV2.gz"),
    "z-score": (NORMAL, "matrix.tsv"),
    "mean-normalised": (CENTRED, "TCGA.LUAD.sampleMap%2FHiSeqV2_PANCAN.gz"),
}
# Recognised by the values alone, whatever the file is called.
BY_VALUE = ("tpm", "count", "log2-tpm-1", "log2-tpm-0.001", "log2-count-1", "z-score")


def test_every_scale_has_a_case():
    assert set(CASES) == set(UNITS)


@pytest.mark.parametrize("unit", CASES)
def test_recognised(unit):
    values, name = CASES[unit]
    found, evidence = recognise(as_file(values), name)
    assert found == unit and evidence
    assert contradiction(unit, as_file(values)) is None


@pytest.mark.parametrize("unit", [*BY_VALUE, "mean-normalised"])
def test_recognised_without_a_name(unit):
    assert recognise(as_file(CASES[unit][0]), "matrix")[0] == unit


@pytest.mark.parametrize("unit", [one for one in CASES if one not in BY_VALUE][:-1])
def test_not_guessed_without_a_name(unit):
    with pytest.raises(TcgaError, match="cannot determine the units.*--units"):
        recognise(as_file(CASES[unit][0]), "matrix")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((5, 9)),
        NORMAL[:5],  # too few samples for a spread
        NORMAL + 3,
        np.log2(TPM[:, :200] + 1),  # a part of the genes: no longer a million
        np.log2(TPM + 0.001)[:, :200],
    ],
)
def test_ambiguous_values_are_refused(values):
    with pytest.raises(TcgaError, match="cannot determine"):
        recognise(as_file(values), "matrix")


def test_the_name_decides_only_among_possible_scales():
    assert recognise(as_file(np.log2(TPM + 1)), "fpkm.tsv")[0] == "log2-tpm-1"
    with pytest.raises(TcgaError):
        recognise(as_file(np.log2(TPM / 3 + 1)), "tpm_and_fpkm.tsv")


@pytest.mark.parametrize(
    ("unit", "other", "reason"),
    [
        ("log2-tpm-1", "log2-tpm-0.001", "smallest value is -9.96"),
        ("log2-tpm-1", "tpm", "too large for a log2"),
        ("count", "tpm", "not whole"),
        ("z-score", "tpm", "no value is negative"),
        ("tpm", "z-score", "smallest value is -"),
    ],
)
def test_contradictions(unit, other, reason):
    assert reason in contradiction(unit, as_file(CASES[other][0]))


IDS = [f"ENSG{i:011d}" for i in range(400)]


@pytest.mark.parametrize(
    "unit", ["tpm", "fpkm", "log2-tpm-1", "log2-tpm-0.001", "log2-fpkm-1"]
)
def test_becomes_log2_of_tpm_plus_1(unit):
    # Unrounded: what is tested is the formula, not the printing.
    x, counts = convert(unit, CASES[unit][0].astype(np.float32), reconcile(IDS))
    assert counts is None and x.dtype == np.float32
    np.testing.assert_allclose(x, np.log2(TPM + 1), atol=2e-5)


def test_toils_printed_zero_is_exactly_zero():
    values = as_file(np.log2(TPM + 0.001))
    assert values.min() == np.float32(-9.9658)
    x, _ = convert("log2-tpm-0.001", values, reconcile(IDS))
    assert (x[TPM == 0] == 0).all() and (x[TPM > 0.01] > 0).all()
    # Printing leaves half of 1e-4 in log2(TPM+0.001), and less in log2(TPM+1).
    np.testing.assert_allclose(x, np.log2(TPM + 1), atol=5.1e-5)


@pytest.mark.parametrize("unit", ["count", "log2-count-1"])
def test_counts_are_kept_and_normalised(unit):
    values = CASES[unit][0].astype(np.float32)
    x, counts = convert(unit, values, reconcile(IDS))
    np.testing.assert_array_equal(counts, COUNTS)
    assert counts.dtype == np.int32
    expected = np.log1p(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(x, expected, rtol=1e-5)


def test_copies_are_added_before_the_logarithm():
    ids = ["A", "A", *IDS[2:]]
    x, _ = convert("tpm", TPM.astype(np.float32), reconcile(ids))
    np.testing.assert_allclose(x[:, 0], np.log2(TPM[:, 0] + TPM[:, 1] + 1), rtol=1e-6)


def test_z_scores_are_not_added():
    genes = reconcile(["A", "A", *IDS[2:]])
    with pytest.raises(TcgaError, match="1 genes occur more than once, first A"):
        convert("z-score", NORMAL.astype(np.float32), genes)
    x, _ = convert("z-score", NORMAL.astype(np.float32), reconcile(IDS))
    np.testing.assert_array_equal(x, NORMAL.astype(np.float32))
