"""The contestants of `pathjax bench cox` fit the same folds; the peer's scores agree."""

import dataclasses

import numpy as np
import pytest

from pathjax.bench import cox

SMALL = cox.Options(rows=60, width=8, folds=2, seeds=2)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cox")
    cox.prepare(SMALL, folder)
    options = dataclasses.asdict(SMALL) | {"folder": str(folder)}
    return options, cox.Ours(options)


def test_ours_fits_every_seed_fold_and_strength(ours):
    _, contestant = ours
    concordance = np.array(contestant.info["concordance"])
    assert concordance.shape == (1, 2, 20) and 0.4 < concordance.min() < 1
    assert contestant.run(1) == 2 * 2 * 20


def test_the_summary_says_how_far_scores_are_apart():
    def made(label, rate, shift):
        return {
            "label": label,
            "items_per_second": {"median": rate},
            "cold_seconds": 2.0,
            "concordance": [[[0.6 + shift]]],
        }

    result = {
        "options": {"folds": 5, "seeds": 3},
        "contestants": {"pathjax": made("ours", 300, 0), "x": made("x", 3, 0.002)},
    }
    assert cox.summary(result) == [
        "pathjax: 2.0 s with imports and compilation",
        "ours: 1.0 s for 300 fits",
        "x: 100.0 s for 300 fits",
        "ratio to pathjax with compilation: 50.0",
        "concordance apart at most: 0.0020",
    ]


@pytest.mark.peer
def test_scikit_survival_has_the_same_concordance(ours):
    pytest.importorskip("sksurv")
    options, contestant = ours
    theirs = np.array(cox.Descent(options).info["concordance"])
    np.testing.assert_allclose(contestant.info["concordance"], theirs, atol=0.005)
