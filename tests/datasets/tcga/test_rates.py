"""Rates are those of counting by hand; the printed ones those of a real cohort."""

import pandas as pd
import pytest

from pathjax.cli import main
from pathjax.datasets.tcga.rates import mutation_rates


def test_rates_by_gene_and_cancer_type():
    m, w = "mutated", "wild type"
    table = pd.DataFrame(
        {
            "cancer_type": ["LUAD", "LUAD", "BRCA", None, "BRCA"],
            "mutation:KRAS": [m, w, w, m, None],
            "mutation:KRAS_source": ["file"] * 5,
            "mutation:TP53": [m, m, m, None, w],
        }
    )
    rates = mutation_rates(table)
    assert rates.to_numpy().tolist() == [
        ["TP53", "all", 4, 3, 0.75],
        ["TP53", "BRCA", 2, 1, 0.5],
        ["TP53", "LUAD", 2, 2, 1.0],
        ["KRAS", "all", 4, 2, 0.5],
        ["KRAS", "BRCA", 1, 0, 0.0],
        ["KRAS", "LUAD", 2, 1, 0.5],
        ["KRAS", "unknown", 1, 1, 1.0],
    ]


def test_a_real_cohort_prints_its_rates(real_data, tmp_path, capsys):
    labels = real_data / "tcga_bulk" / "tcga_kirc_all_clean.csv.zip"
    out = tmp_path / "rates.csv"
    main(["data", "tcga-mutations", "--labels", str(labels), "--out", str(out)])
    printed = capsys.readouterr().out
    rates = pd.read_csv(out)
    every = rates[rates["cancer_type"] == "all"].set_index("gene")["mutated"]
    # The columns themselves, once a patient.
    raw = pd.read_csv(labels, low_memory=False)
    raw = raw[[c for c in raw if c.endswith("_mut")]].groupby(raw["case_id"]).max()
    wanted = raw.sum().loc[lambda count: count >= 30]
    assert every.to_dict() == pytest.approx(
        {name.removesuffix("_mut"): count for name, count in wanted.items()}
    )
    first, one = rates.iloc[0], rates.iloc[0]["gene"]
    assert f"{one}" in printed and f"{100 * first['rate']:.1f}% of" in printed


def test_what_the_files_disagree_on_is_told(tmp_path, capsys):
    files = {tmp_path / "a.csv": 1, tmp_path / "b.csv": 0}
    for path, status in files.items():
        rows = f"TCGA-3C-AALI,{status}\nTCGA-3C-AALJ,1\n"
        path.write_text(f"patient_id,KRAS_mut\n{rows}")
    words = ["data", "tcga-mutations", "--mutations", "KRAS", "--labels"]
    assert main([*words, *map(str, files)]) == 0
    told = capsys.readouterr().out
    assert "100.0% of 1" in told
    assert "1 labels on which the files disagree are left empty: TCGA-3C-AALI" in told
