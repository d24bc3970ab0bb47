"""launch/survival.sh: its commands are understood; the table is made of cells as they are written."""

import dataclasses

import numpy as np
import pytest
from modalities_made import made_cohort
from pathjax.launch import survival_tables

from pathjax.cli import build_parser
from pathjax.data.study import Target
from pathjax.modalities.run import Options, run
from pathjax.stats.survival import concordance


def survival_cohort():
    """Two cancer types with other baselines of risk; RNA tells it within each."""
    whole = made_cohort()
    cohort = dataclasses.replace(whole, modalities={"rna": whole.modalities["rna"]})
    rng = np.random.default_rng(1)
    kind = np.array(["BRCA", "LUAD"], object)[rng.integers(0, 2, 60)]
    risk = cohort.modalities["rna"].values[:, 1] / 3 + 2 * (kind == "LUAD")
    died, left = rng.exponential(20 * np.exp(-risk)), rng.uniform(5, 60, 60)
    samples = cohort.samples.assign(
        os=np.minimum(died, left), os_event=(died <= left) * 1.0, cancer_type=kind
    )
    targets = {
        "os": Target("os", "sample", "survival"),
        "cancer_type": Target("cancer_type", "sample", "class", ("BRCA", "LUAD")),
    }
    made = dataclasses.replace(cohort, samples=samples, targets=targets)
    return made.with_baselines()


@pytest.mark.slow
def test_the_table_has_the_cells_and_pairs_within_types(tmp_path, monkeypatch, capsys):
    cohort = survival_cohort()
    for name in ("brca", "all"):
        folder = tmp_path / f"os-{name}"
        run(cohort, [cohort.question("os")], folder, Options(folds=3))
    monkeypatch.setattr(survival_tables, "from_tables", lambda *_: cohort)
    survival_tables.main(tmp_path, tmp_path, ["brca"], False)
    table = (tmp_path / "survival.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines()[-5:] == table
    _, _, one, pan, within = (line.split(" | ") for line in table)
    assert one[1] == f"60, {int(cohort.samples['os_event'].sum())}"
    assert pan[2] == one[2] and pan[4] == one[4] != "" and one[3] == ""
    rows = survival_tables.predictions(
        tmp_path / "os-all", survival_tables.cells_of(tmp_path / "os-all")["rna"]
    )
    right = total = 0.0
    types = cohort.samples.set_index("sample_id")["cancer_type"]
    own = types.loc[rows["sample_id"]].to_numpy()
    for fold in range(3):
        for kind in ("BRCA", "LUAD"):
            inside = (rows["fold"] == fold) & (own == kind)
            truth, score = rows["truth"][inside], rows["score"][inside]
            event = truth[:, 1] > 0
            pairs = (event[:, None] & (truth[:, 0] > truth[:, :1])).sum()
            value = concordance(truth, score, np.ones((1, inside.sum())))[0]
            right, total = right + value * pairs, total + pairs
    assert within[2].startswith(f"{right / total:.3f} [")


def test_each_cohort_and_all_of_them_are_scored(cluster):
    cluster.fake("pathjax")
    cluster.fake("python")
    (cluster.root / "data").mkdir()
    for name in ("kirc", "luad"):
        (cluster.root / "data" / f"tcga_{name}_all_clean.csv.zip").touch()
    words = [str(cluster.root / "data"), str(cluster.root / "out")]
    done = cluster.run("survival.sh", *words, COHORTS="kirc luad", PEER="1")
    assert done.returncode == 0, done.stderr
    *calls, last = cluster.calls()
    scored = [build_parser().parse_args(call[1:]) for call in calls]
    found = [a for a in scored if a.run.__name__ == "run_modalities"]
    assert [one.out.name for one in found] == ["os-kirc", "os-luad", "os-all"]
    assert all(one.baselines and one.targets == ["os"] for one in found)
    assert [len(one.labels) for one in found] == [1, 1, 2]
    assert last[-3:] == ["kirc", "luad", "--peer"] and last[0] == "python"
    assert cluster.run("survival.sh").returncode == 2


@pytest.mark.peer
def test_scikit_survival_has_about_the_same_concordance_on_the_same_folds(tmp_path):
    pytest.importorskip("sksurv")
    cohort = survival_cohort()
    run(cohort, [cohort.question("os")], tmp_path, Options(folds=3, combinations=False))
    cell = survival_tables.cells_of(tmp_path)["rna"]
    theirs = survival_tables.peer(cohort, survival_tables.predictions(tmp_path, cell))
    assert theirs == pytest.approx(cell["scores"]["c_index"]["value"], abs=0.02)
