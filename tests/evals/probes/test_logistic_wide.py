"""Many labels at once: each as if it were fitted alone; minima are in test_logistic.py."""

import numpy as np
import pytest

from pathjax.evals.folds import FoldWeights, fold_weights
from pathjax.evals.probes.logistic import Logistic

PROBE = Logistic(l2=(10.0, 0.3, 0.01, 0.001), tolerance=1e-5)


def made(rows=60, width=90, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32) * 10.0 ** rng.integers(
        -1, 2, width
    )
    y = (
        x[:, :labels] / x[:, :labels].std(axis=0) + rng.normal(size=(rows, labels))
    ).T > 0.4
    return x.astype(np.float32), y.astype(np.int32)


@pytest.mark.parametrize(
    ("width", "seed"), [(90, 0), pytest.param(20, 3, marks=pytest.mark.slow)]
)
def test_each_label_is_fitted_as_alone(width, seed):
    """Also of labels that are not known of all rows, and of more rows than features.

    The seeds give labels that choose different strengths.
    """
    x, y = made(width=width, seed=seed)
    y[2, ::7] = -1
    test = np.arange(60) >= 45
    inner = fold_weights(np.arange(45), np.zeros(45, bool), seeds=1, folds=3)
    weights = FoldWeights(
        *(np.pad(part, ((0, 0), (0, 0), (0, 15))) for part in (inner.train, inner.val)),
        final=inner.final,
        folds=3,
    )
    found, strength = PROBE.fit_labels(x, np.where(test, -1, y), weights)
    assert found.shape == y.shape and len(set(strength.tolist())) > 1
    for place, label in enumerate(y):
        own = np.flatnonzero(label[:45] >= 0)
        alone = PROBE.fit_arrays(
            x[own], label[own],
            FoldWeights(inner.train[..., own], inner.val[..., own], inner.final, 3),
            x[test], classes=2, fit_values=label[own],
        )  # fmt: skip
        if len(own) == 45:  # else it is standardised by the rows that it knows alone
            assert strength[place] == PROBE.l2[int(alone.choice[0])]
            np.testing.assert_allclose(
                found[place, test], alone.prediction[0, :, 1], atol=2e-3
            )
        else:
            r = np.corrcoef(found[place, test], alone.prediction[0, :, 1])[0, 1]
            assert r > 0.95


def test_a_label_of_one_class_in_the_fit_predicts_it():
    x, y = made()
    y[0] = 1
    weights = fold_weights(np.arange(60), np.zeros(60, bool), seeds=1, folds=3)
    found, _ = PROBE.fit_labels(x, y, weights)
    np.testing.assert_allclose(found[0], 1)
    assert np.isfinite(found).all()
