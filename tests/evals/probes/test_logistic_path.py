"""The path's memory and starts; its minima are scikit-learn's in test_logistic.py."""

import functools

import jax
import numpy as np
import pytest

from pathjax.evals.probes.logistic_path import path_sweep


def test_a_strength_after_others_ends_where_it_ends_alone():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(150, 6)) * [1, 1, 1, 20, 1, 0.1] + 3).astype(np.float32)
    y = rng.integers(0, 3, 150).astype(np.int32)
    x[:, 0] += y
    weight = rng.poisson(1.0, (2, 1, 150)).astype(np.float32)
    sweep = jax.jit(
        functools.partial(
            path_sweep, classes=3, balanced=True, final=0, steps=300, tolerance=1e-5
        )
    )
    path = np.array([10, 1, 0.1, 0.01, 1e-3], np.float32)
    each = [sweep(x, y, weight, weight, path[i : i + 1], x) for i in range(5)]
    found = sweep(x, y, weight, weight, path, x)
    alone = np.concatenate([one.loss for one in each], axis=1)
    np.testing.assert_allclose(found.loss, alone, rtol=1e-4)
    assert float(found.gradient.max()) <= 1e-5
    # Weighed by what it is fitted on, the weakest is the best.
    assert found.choice.tolist() == [4, 4]
    np.testing.assert_allclose(found.prediction, each[4].prediction, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("select", [False, True])
def test_100_000_embeddings_need_little_more_than_themselves(select):
    """By the compiler's account; 9 classes, 5 seeds, with inner folds or a select fold."""
    rows, width, fits = 100_000, 1024, 1 if select else 6

    def like(*shape, dtype="float32"):
        return jax.ShapeDtypeStruct(shape, dtype)

    weights = like(5, fits, rows)
    options = {"classes": 9, "balanced": True, "final": fits - 1}
    compiled = (
        jax.jit(functools.partial(path_sweep, **options))
        .lower(
            *(like(rows, width), like(rows, dtype="int32"), weights, weights),
            *(like(8), like(1000, width)),
        )
        .compile()
    )
    memory = compiled.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    assert needed < 1.31 * 4 * rows * width
