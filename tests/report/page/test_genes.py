"""Per-gene tables against NumPy's correlation."""

import numpy as np
import pytest

from pathjax.report.compare import load_runs
from pathjax.report.page.genes import gene_tables


def test_r_is_the_mean_over_seeds_and_null_for_a_constant_gene(run, tabled):
    scored = load_runs([run])
    (got,) = gene_tables(scored, tabled(run))
    assert got["task"] == "genes" and len(got["genes"]) == 7
    assert [(m["name"], m["base"]) for m in got["models"]] == [
        ("base", None),
        ("tuned", "base"),
        ("colour", None),
    ]
    tuned = [s.rows for s in scored if s.entry["model"] == "tuned" and s.rows is not
             None and s.entry["kind"] == "expression"]  # fmt: skip
    assert len(tuned) == 3
    for gene, r in enumerate(got["models"][1]["r"]):
        if gene == 2:
            assert r is None
            continue
        pairs = [
            (rows["truth"][:, gene], rows["prediction"][:, gene]) for rows in tuned
        ]
        want = np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs])
        assert r == pytest.approx(want, abs=1e-3)


def test_a_base_that_was_not_scored_on_genes(tmp_path, outcomes, tabled):
    root = tmp_path / "half"
    outcomes.write_model(root, "base", [outcomes.class_outcome("kind", 0.5, 1)])
    both = [
        outcomes.class_outcome("kind", 0.5, 2),
        outcomes.gene_outcome("genes", 1.0, 3),
    ]
    outcomes.write_model(root, "tuned", both, base="base", seed=0)
    (got,) = gene_tables(load_runs([root]), tabled(root))
    assert [(m["name"], m["base"]) for m in got["models"]] == [("tuned", None)]
