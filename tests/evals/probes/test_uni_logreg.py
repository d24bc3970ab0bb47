"""UNI's probe against scipy's minimiser, scikit-learn and PyTorch's L-BFGS."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from extras import extra

from pathjax.evals import EvalError
from pathjax.evals.probes.base import FoldRows, Problem
from pathjax.evals.probes.uni_logreg import UniLogreg, uni_logreg

linear_model = extra("sklearn.linear_model")

WIDTH = 100


def made(classes, draw, rows=300):
    """Overlapping clouds, features of several scales and far from zero mean."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(draw)
    centres = fixed.normal(0, 0.3, (classes, WIDTH))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    x = (centres[y] + rng.normal(0, 1, (rows, WIDTH))) * 2.0 ** fixed.integers(
        -2, 3, WIDTH
    )
    return (x + 1).astype(np.float32), y.astype(np.int32)


def minimum(x, y, query, classes):
    """UNI's objective in float64 on features as they are."""
    x, query = x.astype(np.float64), query.astype(np.float64)
    cost, onehot = WIDTH * classes / 100, np.eye(classes)[y]

    def objective(flat):
        kernel, bias = flat[:-classes].reshape(WIDTH, classes), flat[-classes:]
        logp = scipy.special.log_softmax(x @ kernel + bias, axis=1)
        slope = (np.exp(logp) - onehot) / len(x)
        norm = np.linalg.norm(kernel)
        pull = kernel / norm / (2 * cost) if norm > 0 else 0 * kernel
        value = -(onehot * logp).sum() / len(x) + norm / (2 * cost)
        return value, np.concatenate([(x.T @ slope + pull).ravel(), slope.sum(axis=0)])

    found = scipy.optimize.minimize(
        objective, np.zeros((WIDTH + 1) * classes), jac=True, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9},
    ).x  # fmt: skip
    kernel = found[:-classes].reshape(WIDTH, classes)
    return query @ kernel + found[-classes:]


def centred(logits):
    """Without what softmax does not see."""
    logits = np.asarray(logits, np.float64)
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_logits_are_at_the_minimum_of_unis_objective(classes):
    (x, y), (query, _) = made(classes, 1), made(classes, 2)
    fit = uni_logreg(x, y, query, classes=classes)
    wanted = centred(minimum(x, y, query, classes))
    np.testing.assert_allclose(centred(fit.logits), wanted, atol=1e-4)
    assert 0 < int(fit.steps) < 1000


def test_thousands_of_rows_are_fitted_too():
    """From about 900 rows on XLA's CPU backend once gave NaN where the fit begins."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2048, 128)).astype(np.float32)
    y = x[:, :9].argmax(axis=1).astype(np.int32)
    fit = uni_logreg(x, y, x[:500], classes=9)
    assert (np.asarray(fit.logits).argmax(axis=1) == y[:500]).mean() > 0.8
    assert 0 < int(fit.steps) < 1000 and float(fit.gradient) <= 1e-7


def tiles(x):
    number = np.arange(len(x))
    return FoldRows(number, number, x, *[number.astype(str)] * 4)


def test_a_loss_that_is_not_finite_is_refused():
    (x, y), (query, _) = made(2, 1), made(2, 2)
    x[0] = np.inf
    problem = Problem({"fit": tiles(x), "test": tiles(query)}, {"fit": y}, classes=2)
    with pytest.raises(EvalError, match="a loss that is not finite"):
        UniLogreg(steps=5).fit(problem)


def test_of_few_features_it_says_that_it_has_not_converged():
    (x, y), (query, _) = made(2, 1), made(2, 2)
    fit = uni_logreg(x[:, :3], y, query[:, :3], classes=2)
    assert np.abs(fit.logits).max() < 0.1 and float(fit.gradient) > 1e-3


@pytest.mark.parametrize("classes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_squared_penalty_is_scikit_learns(classes):
    (x, y), (query, truth) = made(classes, 1), made(classes, 2)
    fit = uni_logreg(x, y, query, classes=classes, squared=True)
    model = linear_model.LogisticRegression(
        C=WIDTH * classes / 100, tol=1e-9, max_iter=20_000
    )
    model.fit(x.astype(np.float64), y)
    wanted = model.predict_proba(query.astype(np.float64))
    found = scipy.special.softmax(np.asarray(fit.logits), axis=1)
    np.testing.assert_allclose(found, wanted, atol=5e-4)
    assert abs(np.mean(found.argmax(1) == truth) - model.score(query, truth)) < 1e-3
    own = uni_logreg(x, y, query, classes=classes)
    assert np.abs(own.logits).max() < 0.8 * np.abs(fit.logits).max()


@pytest.mark.peer
@pytest.mark.parametrize("classes", [2, 4])
def test_logits_are_those_of_torchs_solver(classes):
    import torch

    (x, y), (query, truth) = made(classes, 1), made(classes, 2)
    layer = torch.nn.Linear(WIDTH, classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    solver = torch.optim.LBFGS(
        layer.parameters(), line_search_fn="strong_wolfe", max_iter=1000
    )
    features, labels = torch.tensor(x), torch.tensor(y, dtype=torch.int64)

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(features), labels)
        loss = loss + 0.5 * layer.weight.norm(p=2) / (WIDTH * classes / 100)
        loss.backward()
        return loss

    solver.step(closure)
    wanted = layer(torch.tensor(query)).detach().numpy()
    fit = uni_logreg(x, y, query, classes=classes)
    gap = np.abs(centred(fit.logits) - centred(wanted)).max()
    print(f"{classes} classes: logits {gap:.1e} apart")
    # Its solver stops where the loss changes by less than 1e-9; ours is within 1e-4 of
    # the minimum, by the test above.
    assert gap < 0.05
    found = np.asarray(fit.logits).argmax(axis=1)
    assert abs(np.mean(found == truth) - np.mean(wanted.argmax(1) == truth)) < 1e-3
