import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.evals import EvalError
from pathjax.evals.folds import bootstrap_counts, fold_weights, inner_folds


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(2, 12),
    rows=st.integers(2, 60),
    seeds=st.integers(1, 4),
    folds=st.integers(2, 6),
    seed=st.integers(0, 5),
)
def test_no_group_is_on_both_sides_and_every_row_is_held_out(
    groups, rows, seeds, folds, seed
):
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, rows)])
    labels = rng.integers(0, 3, len(group))
    none = np.zeros(len(group), bool)
    plan = fold_weights(group, none, labels, seeds=seeds, folds=folds, seed=seed)
    assert plan.folds == min(folds, groups)
    assert plan.final == plan.folds
    for r in range(seeds):
        for f in range(plan.folds):
            if plan.val[r, f].any():
                trained = set(group[plan.train[r, f] > 0])
                held = set(group[plan.val[r, f] > 0])
                assert not trained & held
    assert ((plan.val > 0).sum(axis=1) <= 1).all()
    # Seed 0 is the full fit set: each row is held out exactly once.
    np.testing.assert_array_equal(plan.val[0].sum(axis=0), 1)
    np.testing.assert_array_equal(plan.train[0, plan.final], 1)


def test_bootstrap_draws_as_many_groups_as_there_are():
    groups = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 7])
    drawn = bootstrap_counts(groups, 50, np.random.default_rng(0))
    first = np.searchsorted(groups, np.arange(7))
    assert (drawn[:, first].sum(axis=1) == 7).all()
    for row in drawn:  # all rows of a group are drawn together
        assert all(len(set(row[groups == g])) == 1 for g in range(7))
    assert (drawn[0] == 1).all() and (drawn[1:] != 1).any()


def test_select_rows_choose_and_are_never_fitted():
    select = np.array([False] * 6 + [True] * 3)
    plan = fold_weights(np.arange(9), select, seeds=3, folds=5)
    assert plan.folds == 0 and plan.final == 0
    assert (plan.train[:, 0, select] == 0).all()
    np.testing.assert_array_equal(plan.val[:, 0], np.tile(select, (3, 1)))


def test_folds_are_even_in_classes():
    labels = np.array([0] * 20 + [1] * 10)
    fold = inner_folds(np.arange(30), labels, 5, np.random.default_rng(0))
    for one in range(5):
        assert (labels[fold == one] == 0).sum() == 4
        assert (labels[fold == one] == 1).sum() == 2


def test_same_seed_same_plan():
    arguments = (np.arange(20) // 2, np.zeros(20, bool))
    a = fold_weights(*arguments, seeds=3, folds=4, seed=1)
    b = fold_weights(*arguments, seeds=3, folds=4, seed=1)
    c = fold_weights(*arguments, seeds=3, folds=4, seed=2)
    np.testing.assert_array_equal(a.train, b.train)
    assert (a.train != c.train).any()


def test_one_group_without_a_select_fold_is_refused():
    with pytest.raises(EvalError, match="Name a select fold"):
        fold_weights(np.zeros(5, int), np.zeros(5, bool), seeds=1, folds=5)


def test_nothing_to_fit_is_refused():
    with pytest.raises(EvalError, match="no labelled row"):
        fold_weights(np.arange(3), np.ones(3, bool), seeds=1, folds=5)
    with pytest.raises(EvalError, match="at least 1 seed and 2 folds"):
        fold_weights(np.arange(3), np.zeros(3, bool), seeds=0, folds=5)
