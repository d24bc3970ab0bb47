"""Missing values, useless samples, units, and unique names of rows."""

import numpy as np
import pytest
from tiny_rna import barcodes, tpm

from pathjax.data.tcga_barcodes import parse
from pathjax.datasets.tcga.rna_table import named, observations, table_from
from pathjax.datasets.tcga.tables import TcgaError

VALUES = tpm(6, 50)
IDS = [f"G{i}" for i in range(50)]


def table(values, ids=IDS, units=None):
    columns = barcodes(len(values))
    obs = observations(
        [parse(one) for one in columns], [""] * 6, [""] * 6, ["m.tsv"] * 6
    )
    return table_from(
        values.astype(np.float32),
        ids,
        obs,
        name="m.tsv",
        units=units,
        gene_map=None,
        keep_all=False,
        files=[("m.tsv", "0", 1)],
        skipped=[("before", "x")],
    )


def test_whole_matrix():
    made = table(VALUES)
    np.testing.assert_allclose(made.rna.X, np.log2(VALUES + 1), rtol=1e-5, atol=1e-6)
    assert made.units == "tpm"
    assert made.skipped == [("before", "x")] and made.files == [("m.tsv", "0", 1)]
    assert made.evidence[0].startswith("m.tsv: values from 0 to")


def test_samples_then_genes_with_missing_values_are_skipped():
    values = VALUES.copy()
    values[1, :30] = np.nan
    values[4] = np.nan
    values[5] = 0
    values[2, 7] = np.nan
    values[[0, 2, 3]] *= 1e6 / np.nansum(values[[0, 2, 3]], axis=1, keepdims=True)
    made = table(values, units="tpm")
    assert made.skipped[1:] == [
        ("TCGA-05-4001-01", "60% of its values are missing"),
        ("TCGA-05-4004-01", "100% of its values are missing"),
        ("TCGA-05-4005-01", "constant"),
    ]
    assert list(made.rna.obs["sample"]) == [f"TCGA-05-400{i}-01" for i in (0, 2, 3)]
    assert "G7" not in made.rna.var_names and made.rna.X.shape == (3, 49)
    assert made.genes == {"rows": 50, "kept": 49, "missing_values": 1}
    assert np.isfinite(made.rna.X).all()


def test_summary_rows_do_not_count_as_expression():
    values = np.concatenate([VALUES, np.full((6, 1), 9e6)], axis=1)
    made = table(values, [*IDS, "__no_feature"])
    assert made.units == "tpm" and made.rna.X.shape == (6, 50)
    assert made.genes == {"rows": 51, "kept": 50, "no_gene": 1}


def test_given_units_are_checked():
    assert table(VALUES / 2, units="tpm").evidence == ["m.tsv: given by the user"]
    with pytest.raises(TcgaError, match=r"m\.tsv is not in z-scores: no value is neg"):
        table(VALUES, units="z-score")


def test_infinite_values_and_nothing_left_are_errors():
    values = VALUES.copy()
    values[3, 9] = np.inf
    with pytest.raises(TcgaError, match=r"m\.tsv: G9 has an infinite value"):
        table(values)
    with pytest.raises(TcgaError, match="no sample with values.*TCGA-05-4000-01"):
        table(VALUES * np.nan)


def test_rows_are_named_by_sample_then_aliquot_then_number():
    samples = [
        ("TCGA-05-4244-01", ""),
        ("TCGA-05-4249-01A", "TCGA-05-4249-01A-01R-1107-07"),
        ("TCGA-05-4249-01A", "TCGA-05-4249-01A-02R-1107-07"),
        ("TCGA-05-4250-11A", ""),
        ("TCGA-05-4250-11A", ""),
        ("TCGA-05-4251-01A", "TCGA-05-4251-01A-01R-1107-07"),
    ]
    obs = named(
        observations(
            [parse(aliquot or sample) for sample, aliquot in samples],
            [aliquot for _, aliquot in samples],
            ["TCGA-LUAD"] * 6,
            ["f"] * 6,
        )
    )
    assert list(obs.index) == [
        "TCGA-05-4244-01",
        "TCGA-05-4249-01A-01R-1107-07",
        "TCGA-05-4249-01A-02R-1107-07",
        "TCGA-05-4250-11A#1",
        "TCGA-05-4250-11A#2",
        "TCGA-05-4251-01A",
    ]
    assert list(obs["sample"]) == [sample for sample, _ in samples]
    assert list(obs["case_id"][:2]) == ["TCGA-05-4244", "TCGA-05-4249"]
    assert list(obs["sample_type"]) == ["01", "01", "01", "11", "11", "01"]
    assert set(obs["site"]) == {"05"}
