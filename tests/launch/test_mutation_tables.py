"""launch/mutations.sh: its commands are understood; its tables are made of screens."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from modalities_made import made_cohort
from pathjax.launch import mutation_tables

from pathjax.cli import build_parser
from pathjax.modalities import screen as screens
from pathjax.modalities.run import Options


def test_q_is_over_all_cohorts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(screens, "NULLS", 20)
    nulls = []
    for seed, name in enumerate(("kirc", "luad")):
        whole = made_cohort(seed=seed)
        cohort = dataclasses.replace(whole, modalities={"rna": whole.modalities["rna"]})
        out = tmp_path / f"mutations-{name}"
        questions = [cohort.question(one) for one in ("kind", "other")]
        screens.screen(cohort, questions, out, Options(folds=3))
        nulls.append(np.load(out / "screen-rna.npz")["null"])
    mutation_tables.main(tmp_path, ["kirc", "luad"])
    table = pd.read_csv(tmp_path / "mutations.csv")
    assert sorted(table["cohort"]) == ["KIRC", "KIRC", "LUAD", "LUAD"]
    assert list(table["gene"][:2]) == ["kind", "kind"]
    null = np.concatenate(nulls)
    above = (null >= table["z"].to_numpy()[:, None]).sum(axis=1)
    np.testing.assert_allclose(table["p"], (1 + above) / (1 + len(null)), rtol=1e-3)
    # The two largest of four: p times 4 / 2.
    np.testing.assert_allclose(table["q"][:2], 2 * table["p"][:2], rtol=1e-3)
    printed = capsys.readouterr().out
    assert (tmp_path / "mutations.md").read_text() == printed
    assert "| KIRC | 60 | 2 | " in printed


def test_how_much_the_number_of_other_genes_tells():
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, -1]])
    # Other genes of the first: 1, 2 where it is mutated, 1, 0 where it is not; of the
    # third 2, 0 and 2.
    assert mutation_tables.told_by_burden(truth) == pytest.approx([0.875, 0.875, 0.25])


def test_each_cohort_is_screened(cluster):
    cluster.fake("pathjax")
    cluster.fake("python")
    (cluster.root / "data").mkdir()
    words = [str(cluster.root / "data"), str(cluster.root / "out")]
    done = cluster.run("mutations.sh", *words, COHORTS="kirc luad")
    assert done.returncode == 0, done.stderr
    *calls, last = cluster.calls()
    screened = [build_parser().parse_args(call[1:]) for call in calls][1::2]
    assert [one.out.name for one in screened] == ["mutations-kirc", "mutations-luad"]
    assert all(one.screen and one.targets == ["mutation:*"] for one in screened)
    assert last[0] == "python" and last[-2:] == ["kirc", "luad"]
    assert cluster.run("mutations.sh").returncode == 2
