"""Cross-validated tasks: each fold once, by a probe that has not seen its patients."""

import dataclasses

import numpy as np
import pytest

from pathjax.data.study import Split
from pathjax.evals import EvalError
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.stats.correlation import per_gene_pearson
from pathjax.stats.metrics import balanced_accuracy

STATUS = Task("status", "made", "status", "classification", "three", None, "*")
GENES = Task("genes", "made", None, "expression", "three", None, "*", genes=4)
QUICK = {"seeds": 2, "folds": 3}


@pytest.fixture(scope="module")
def crossed(study):
    """The study with three folds of ten patients, which nobody is outside of."""
    everyone = sorted(study.tiles["patient_id"].unique())
    three = Split("three", {f"fold{i}": tuple(everyone[i::3]) for i in range(3)})

    class Crossed:
        split_names = (*study.split_names, "three")

        def split(self, name):
            return three if name == "three" else study.split(name)

        def fold_tiles(self, split, fold):
            ids = self.split(split).folds[fold]
            return np.flatnonzero(study.tiles["patient_id"].isin(ids))

        def __getattr__(self, name):
            return getattr(study, name)

        def __len__(self):
            return len(study)

    return Crossed()


def test_each_patient_is_predicted_by_a_probe_of_the_other_folds(crossed, features):
    outcome = run_task(STATUS, crossed, features, **QUICK)
    assert outcome.n_patients == 30 and len(set(outcome.unit)) == outcome.n == 114
    assert outcome.value == balanced_accuracy(outcome.truth, outcome.prediction) > 0.9
    for fold in ("fold0", "fold1", "fold2"):
        others = tuple(f"fold{i}" for i in range(3) if f"fold{i}" != fold)
        patients = crossed.split("three").folds
        alone = Split(
            "three", {"fit": patients[others[0]] + patients[others[1]], "test": patients[fold]}
        )  # fmt: skip

        class Alone:
            split_names = ("three",)

            def split(self, name, alone=alone):
                return alone

            def fold_tiles(self, split, fold, alone=alone):
                ids = alone.folds[fold]
                return np.flatnonzero(crossed.tiles["patient_id"].isin(ids))

            def __getattr__(self, name):
                return getattr(crossed, name)

            def __len__(self):
                return len(crossed)

        plain = dataclasses.replace(STATUS, fit="fit", test="test")
        one = run_task(plain, Alone(), features, **QUICK)
        mine = np.isin(outcome.patient, patients[fold])
        np.testing.assert_array_equal(outcome.unit[mine], one.unit)
        np.testing.assert_array_equal(outcome.prediction[mine], one.prediction)
        assert outcome.hyper["rounds"][fold]["strength"] == one.hyper["strength"]


def test_r_is_taken_within_folds_and_of_the_genes_each_chose(crossed, features):
    outcome = run_task(GENES, crossed, features, **QUICK)
    assert set(outcome.stratum) == {0, 1, 2} and outcome.combine == "within"
    chosen = ~np.isnan(outcome.truth)
    for fold in range(3):
        inside = chosen[outcome.stratum == fold]
        assert (inside == inside[0]).all() and inside[0].sum() == 4
    r = per_gene_pearson(outcome.truth, outcome.prediction, outcome.stratum)
    assert (
        outcome.value == pytest.approx(np.nanmean(r), abs=1e-6) and outcome.value > 0.5
    )
    mean = run_task(GENES, crossed, features, over_folds="mean", **QUICK)
    by_fold = [
        np.nanmean(per_gene_pearson(mean.truth[part], mean.prediction[part])[None], 1)
        for part in (mean.stratum == fold for fold in range(3))
    ]
    if chosen.all():  # else a gene's mean is over the folds that chose it
        assert mean.value == pytest.approx(np.mean(by_fold))


def test_what_cannot_be_crossed_is_refused(crossed, features):
    bad = dataclasses.replace(STATUS, fit="fold0")
    assert "takes no fit and select fold" in bad.problems(crossed)[0]
    with pytest.raises(EvalError, match="not for retrieval"):
        run_task(dataclasses.replace(bad, kind="retrieval"), crossed, features)


def test_a_site_on_both_sides_is_refused_where_sites_are_to_be_preserved(
    crossed, features
):
    asked = dataclasses.replace(STATUS, site_preserved=True)
    with pytest.raises(EvalError, match=r"1 sites are in fit and test, first \['S'\]"):
        run_task(asked, crossed, features, **QUICK)


def test_folds_that_can_be_asked_for_other_sites_are_one_score(crossed, features):
    """Site Z is in one fold only: it is a class of the other folds' fits, and not tested."""
    samples = crossed.samples.copy()
    number = samples["patient_id"].str[1:].astype(int).to_numpy()
    samples["site"] = np.where(number % 2, "B", "D")
    samples.loc[number == 0, "site"] = "Z"
    samples.loc[np.isin(number, (3, 1)), "site"] = "C"

    class Sited:
        def __getattr__(self, name):
            return samples if name == "samples" else getattr(crossed, name)

        def __len__(self):
            return len(crossed)

    site = dataclasses.replace(STATUS, target="site", metric="site_accuracy")
    outcome = run_task(site, Sited(), features, **QUICK)
    names = np.array(outcome.columns)
    assert sorted(names) == ["B", "C", "D", "Z"]
    truth = samples.set_index("sample_id")["site"][outcome.unit]
    np.testing.assert_array_equal(names[outcome.truth], truth)
    assert set(outcome.patient[truth == "C"]) == {"P01", "P03"}
    assert "P00" not in outcome.patient and outcome.value > 0.3
    assert set(np.unique(outcome.prediction)) <= set(range(4))
