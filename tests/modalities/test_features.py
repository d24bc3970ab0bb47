"""The preparation: against scikit-learn, and blind to rows that are not trained on."""

import numpy as np
import pytest
from extras import extra

from pathjax.modalities.features import (
    Preparation,
    most_variable,
    prepare,
    principal_axes,
)

decomposition = extra("sklearn.decomposition")


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 20)) @ random.normal(size=(20, 20))
    train = np.arange(40) < 30
    return x.astype(np.float32), train


@pytest.mark.parametrize("n", [12, 40])  # fewer rows than columns, and more
def test_axes_are_scikit_learns(rows, n):
    x = rows[0][:n] - rows[0][:n].mean(axis=0)
    ours = principal_axes(x, 5)
    theirs = decomposition.PCA(5, svd_solver="full").fit(x).components_.T
    agree = np.abs((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(agree, 1, atol=1e-5)
    largest = ours[np.abs(ours).argmax(axis=0), range(5)]
    assert (largest > 0).all()


@pytest.mark.parametrize("name", ["rna", "slide"])
def test_other_rows_change_nothing_of_the_training_rows(rows, name):
    x, train = rows
    sizes = Preparation(genes=15, components=5)
    other = np.where(train[:, None], x, 100 * x + 3)
    ours, theirs = (prepare([(name, v)], train, sizes) for v in (x, other))
    np.testing.assert_array_equal(ours[train], theirs[train])
    assert ours.shape == (40, 5)


def test_modalities_stand_side_by_side_and_small_ones_are_not_reduced(rows):
    x, train = rows
    both = [("rna", x), ("text", x[:, :3])]
    assert prepare(both, train, Preparation()).shape == (40, 23)
    block = prepare(both, train, Preparation(2000, 7))
    assert block.shape == (40, 10)
    np.testing.assert_allclose(block[train, 7:].mean(axis=0), 0, atol=1e-5)
    # An embedding keeps its scale; genes have none in common.
    np.testing.assert_allclose(block[train, 7:].std(0), x[train, :3].std(0), rtol=1e-4)
    genes = prepare([("rna", x[:, :3])], train, Preparation())
    np.testing.assert_allclose(genes[train].std(axis=0), 1, atol=1e-5)


def test_constants_alone_leave_a_column_of_zeros(rows):
    x, train = rows
    same = [("type", np.where(train[:, None], 1.0, x))]
    np.testing.assert_array_equal(
        prepare(same, train, Preparation()), np.zeros((40, 1))
    )


def test_far_values_of_rna_are_drawn_in_and_constants_go(rows):
    x, train = rows
    x = x[:, :3].copy()
    x[0, 0], x[:, 1] = 1e6, 7.0
    block = prepare([("rna", x)], train, Preparation())
    assert block.shape == (40, 2) and np.abs(block[train]).max() < 6


def test_the_most_variable_are_in_their_own_order():
    x = np.array([[0, 0, 0], [3, 1, 2]], float)
    assert most_variable(x, 2).tolist() == [0, 2]
    assert most_variable(x, 5).tolist() == [0, 1, 2]
