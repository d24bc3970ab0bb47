"""Results as `pathjax evaluate` writes them, for layouts; see tests/made_results.py."""

import dataclasses

import pytest

FOLDS = (25, 20, 15)


@pytest.fixture
def crossed():
    """An outcome as that of a cross-validation, with folds of other sizes."""

    def of(outcome, **changes):
        rounds = {
            f"fold{k}": {"n_test": count, "n_fit": 60 - count}
            for k, count in enumerate(FOLDS)
        }
        hyper = outcome.hyper | {"rounds": rounds}
        task = dataclasses.replace(outcome.task, fit=None, test="*")
        return dataclasses.replace(outcome, hyper=hyper, task=task, **changes)

    return of
