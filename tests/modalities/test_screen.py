"""Many targets at once: what is told is found, permuted labels are not, folds are patients'."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from modalities_made import made_cohort

from pathjax.data.study import Target
from pathjax.modalities import screen as screens
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.run import Options
from pathjax.modalities.screen import rank_z, screen, shares_above, shuffled

OPTIONS = Options(folds=3, least=5)


@pytest.fixture(scope="module")
def cohort():
    """RNA tells `kind`; `coin` is nobody's, and unknown of some."""
    whole = made_cohort()
    coin = np.array(["h", "t"], object)[np.random.default_rng(4).integers(0, 2, 60)]
    coin[:6] = None
    return dataclasses.replace(
        whole,
        samples=whole.samples.assign(coin=coin),
        targets={**whole.targets, "coin": Target("coin", "sample", "class")},
        modalities={"rna": whole.modalities["rna"]},
    )


@pytest.fixture(scope="module")
def done(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("screen")
    questions = [cohort.question(one) for one in ("kind", "coin")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens, "NULLS", 60)
        return out, screen(cohort, questions, out, OPTIONS)


def test_what_is_told_has_a_small_q_and_a_coin_has_not(done):
    out, result = done
    kind, coin = result["targets"]
    assert kind["scores"]["auroc"]["value"] > 0.9 and kind["p"] == pytest.approx(1 / 61)
    assert kind["q"] == pytest.approx(2 / 61) and coin["q"] > 0.05
    assert kind["n"] == 60 and coin["n"] == sum(coin["classes"].values()) == 54
    assert result["permuted"]["rna"]["labels"] == 60
    table = pd.read_csv(out / "screen.csv")
    assert (
        list(table["target"]) == ["kind", "coin"] and table["q"].is_monotonic_increasing
    )
    assert json.loads((out / "screen.json").read_text()) == result


def test_predictions_are_of_a_fold_that_no_fit_has_seen(done, cohort):
    """Another label in the test rows of a fold changes no prediction of them."""
    out, _ = done
    with np.load(out / "screen-rna.npz") as file:
        kept = dict(file)
    names = cohort.patients
    assert list(kept["sample_id"]) == list(cohort.samples["sample_id"])
    assert set(kept["fold"]) == {0, 1, 2} and len(set(names)) == len(names)
    other = kept["truth"].copy()
    other[:, kept["fold"] == 1] = 0
    modality = cohort.modalities["rna"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens, "NULLS", 60)
        again = screens._screened(
            *("rna", modality.values, other, names, OPTIONS),
            lambda *_, **__: None,
        )
    own = kept["fold"] == 1
    np.testing.assert_allclose(again.score[:, own], kept["score"][:, own], atol=1e-3)
    assert np.abs(again.score[0, ~own] - kept["score"][0, ~own]).max() > 0.05


def test_rank_sums_of_one_fold_are_wilcoxons():
    rng = np.random.default_rng(0)
    score, label = rng.normal(size=(4, 40)), rng.integers(0, 2, (4, 40))
    label[3, :9] = -1
    got = rank_z(score, label, np.zeros(40, int))
    wanted = [
        scipy.stats.ranksums(own[y == 1], own[y == 0]).statistic
        for own, y in zip(score, label, strict=True)
    ]
    np.testing.assert_allclose(got, wanted)
    # A fold whose scores are all higher changes nothing: pairs are of one fold.
    fold = np.arange(40) % 2
    np.testing.assert_allclose(
        rank_z(score + 9 * fold, label, fold), rank_z(score, label, fold)
    )


def test_labels_are_permuted_inside_folds():
    fold = np.repeat([0, 1, 2], 20)
    order = shuffled(fold, np.random.default_rng(0))
    assert sorted(order) == list(range(60)) and (fold[order] == fold).all()
    assert (order != np.arange(60)).sum() > 40


def test_p_counts_permuted_labels_and_the_target_itself():
    p = shares_above(np.array([3.0, 0.5, -9.0, 1.0]), np.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(p, [1 / 4, 2 / 4, 1, 2 / 4])


def test_targets_of_which_a_modality_has_too_few_are_named(cohort, tmp_path):
    rows = np.arange(12)
    small = dataclasses.replace(
        cohort.modalities["rna"], name="text", rows=rows,
        values=cohort.modalities["rna"].values[rows],
    )  # fmt: skip
    both = dataclasses.replace(cohort, modalities={"text": small})
    questions = [both.question(one) for one in ("kind", "coin")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens, "NULLS", 1)
        result = screen(both, questions, tmp_path, OPTIONS)
    assert [one["target"] for one in result["targets"]] == ["kind"]
    assert result["left_out"] == [
        "targets not asked of text, with which a class has fewer than 5 patients: coin"
    ]


def test_what_cannot_be_screened_is_named(cohort, tmp_path):
    with pytest.raises(ModalityError, match="size: --screen expected a target of two"):
        screen(cohort, [cohort.question("size")], tmp_path, OPTIONS)
    twice = made_cohort(30, per_patient=2)
    with pytest.raises(ModalityError, match="expected one sample of each"):
        screen(twice, [twice.question("kind")], tmp_path, OPTIONS)
