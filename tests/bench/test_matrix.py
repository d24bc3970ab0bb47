"""The matrix-product rate is of the right order for the work it times."""

import numpy as np

from pathjax.bench.matrix import REPEATS, jax_matrix, rate


def test_rate_counts_the_products_and_their_operations(monkeypatch):
    clock = iter(np.arange(0, 100, 0.5))
    monkeypatch.setattr("pathjax.bench.matrix.time.perf_counter", lambda: next(clock))
    calls = []
    # Each product takes 0.5 s by this clock: 2 * 100^3 / 0.5 = 4e6 operations a second.
    assert np.isclose(rate(lambda: calls.append(1), side=100), 4e-3)
    assert len(calls) == REPEATS + 1


def test_jax_multiplies():
    assert jax_matrix(side=64)["jax"] > 0
